"""Which candidate is judged next, and what the verdicts so far say; no input or output.

The search is git's: of all candidates that may be the first bad one, the one is judged whose verdict halves them best.
One that cannot be judged is skipped and its neighbour taken, further away with each one that is skipped as well.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from perfcheck.model.bisection import Finding

GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""Multiples of it, without their whole parts, fill the range from 0 to 1 more evenly than chance does."""


class Order(Protocol):
    """What comes before what."""

    def between(self, goods: Collection[str], bad: str) -> Sequence[str]:
        """Return what comes before `bad` and is not in a good one: that first whose verdict halves it best."""

    def listed(self, goods: Collection[str], bad: str) -> Sequence[str]:
        """Return the same ones and `bad`, the oldest first."""


@dataclass(frozen=True, slots=True)
class ListOrder:
    """The order of a list, the oldest first; names are unique."""

    names: tuple[str, ...]

    def between(self, goods: Collection[str], bad: str) -> Sequence[str]:
        """Return what lies between the last good one before `bad`, and `bad`; the middle first."""
        inside = self.listed(goods, bad)[:-1]
        middle = (len(inside) - 1) / 2
        order = sorted(range(len(inside)), key=lambda place: (abs(place - middle), place))
        return [inside[place] for place in order]

    def listed(self, goods: Collection[str], bad: str) -> Sequence[str]:
        """Return what lies there, and `bad`, in the list's order."""
        place = {name: index for index, name in enumerate(self.names)}
        low = max(place[good] for good in goods if place[good] < place[bad])
        return self.names[low + 1 : place[bad] + 1]


class Search:
    """A search between a good and a bad candidate."""

    def __init__(self, order: Order, good: str, bad: str) -> None:
        """Take the order and its two ends, whose verdicts are taken for certain."""
        self._order = order
        self._goods = [good]
        self._bad = bad
        self._skipped: set[str] = set()

    def note(self, candidate: str, finding: Finding) -> None:
        """Take the finding on a candidate that `next` gave."""
        match finding:
            case Finding.GOOD:
                self._goods.append(candidate)
            case Finding.BAD:
                self._bad = candidate
            case Finding.SKIPPED:
                self._skipped.add(candidate)

    def next(self) -> str | None:
        """Return the candidate to judge next; None where no verdict could tell more."""
        inside = self._inside()
        left = [name for name in inside if name not in self._skipped]
        skipped = len(inside) - len(left)
        if not left or not skipped:
            return left[0] if left else None
        # What does not build or boot comes in runs. What lies between two that were skipped is tried last; from the
        # others the distance doubles, but a good half of them stays aside.
        around = self._not_between_skipped(left)
        if around:
            return around[min((1 << min(skipped - 1, 30)) - 1, (len(around) - 1) // 2)]
        return left[int((skipped * GOLDEN) % 1 * len(left))]

    def _not_between_skipped(self, left: Sequence[str]) -> Sequence[str]:
        place = {name: index for index, name in enumerate(self._order.listed(self._goods, self._bad))}
        skipped = [place[name] for name in self._skipped if name in place]
        return [name for name in left if not min(skipped) < place[name] < max(skipped)]

    def suspects(self) -> tuple[str, ...]:
        """Return the candidates of which one is the first bad one, in their order."""
        return tuple(self._order.listed(self._goods, self._bad))

    def most_left(self) -> int:
        """Return how many more verdicts are needed if none is skipped."""
        left = sum(name not in self._skipped for name in self._inside())
        return math.ceil(math.log2(left + 1))

    def _inside(self) -> Sequence[str]:
        return self._order.between(self._goods, self._bad)
