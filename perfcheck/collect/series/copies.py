"""Copies of mapped memory, tick by tick, that are decoded together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.series.source import BATCH

MOST_BYTES: Final = 1 << 22
"""Of one kind of copies: with many CPUs fewer ticks are decoded together."""


class Copies:
    """Copies of all elements of a mapped array, which lie side by side."""

    def __init__(self, memory: npt.NDArray[Any]) -> None:
        """Take the array; nothing is copied yet."""
        self._memory = memory
        self._bytes = memory.reshape(-1).view(np.uint8)
        room = min(max(MOST_BYTES // max(self._bytes.size, 1), 1), BATCH)
        self._copied = np.empty((room, self._bytes.size), np.uint8)
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether there is no room for another copy."""
        return self._count == len(self._copied)

    def take(self) -> None:
        """Copy the array as it is now."""
        # Bytes are copied at once, structs member by member.
        self._copied[self._count] = self._bytes
        self._count += 1

    def taken(self) -> npt.NDArray[Any]:
        """Return the copies, the first index being the tick's; the next `take` writes over them."""
        count, self._count = self._count, 0
        return self._copied[:count].view(self._memory.dtype).reshape(count, *self._memory.shape)
