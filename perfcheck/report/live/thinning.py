"""A course of any length in a bounded number of stretches: when they are too many, neighbours become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Thinning(Generic[T]):
    """Stretches of equal numbers of items, at most `most`; the last may still grow.

    `join` makes one item of two neighbours, so that whatever it adds up is the same however often it was thinned.
    """

    def __init__(self, most: int, join: Callable[[T, T], T]) -> None:
        """Begin with nothing; ValueError for an odd or too small number of stretches."""
        if most < 2 or most % 2:
            raise ValueError(f"expected an even number of stretches, got {most}")
        self._most = most
        self._join = join
        self._stretches: list[T] = []
        self._each = 1
        self._in_last = 0

    def add(self, item: T) -> None:
        """Add the next item."""
        if self._stretches and self._in_last < self._each:
            self._stretches[-1] = self._join(self._stretches[-1], item)
            self._in_last += 1
            return
        if len(self._stretches) == self._most:
            pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
            self._stretches = [self._join(before, after) for before, after in pairs]
            self._each *= 2
        self._stretches.append(item)
        self._in_last = 1

    @property
    def each(self) -> int:
        """How many items are in a stretch that is full."""
        return self._each

    def __iter__(self) -> Iterator[T]:
        """Yield the stretches in their order."""
        return iter(self._stretches)

    def __len__(self) -> int:
        """Return how many stretches there are."""
        return len(self._stretches)
