"""What a few draws from a jitter's distribution can look like: bounds that a link as asked hardly ever leaves."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from statistics import NormalDist
from typing import Final

from perfcheck.lab.links.impair.jitter import COHERENCE, CUT, OFFSETS

RARE: Final = 1e-4
"""Probability with which a jitter as asked is found not to be, on either side."""
STEPS: Final = 200
HALVINGS: Final = 20
_NORMAL: Final = NormalDist()


class Spread:
    """A jitter's distribution, in spreads around the delay."""

    def __init__(self, distribution: str) -> None:
        """Take the distribution's name."""
        self._name = distribution
        self.coherence = COHERENCE[distribution]

    def quantile(self, share: float) -> float:
        """Return the offset below which this share (0 < share < 1) lies."""
        return OFFSETS[self._name](_NORMAL.inv_cdf(share))

    @property
    def median(self) -> float:
        """The offset of the median: 0, or below it where the tail is on one side."""
        return self.quantile(0.5)

    @property
    def lowest(self) -> float:
        """The smallest offset."""
        return {"uniform": -1.0, "normal": -CUT, "pareto": -2 / 3}[self._name]

    @property
    def highest(self) -> float:
        """The largest offset."""
        return 1.0 if self._name == "uniform" else CUT

    @property
    def swing(self) -> float:
        """By how much two packets may differ, but for one in a thousand on each side."""
        return 2.0 if self._name == "uniform" else self.quantile(0.999) - self.quantile(0.001)

    def share_below(self, offset: float) -> float:
        """Return the distribution function, without the cut."""
        if self._name == "uniform":
            return min(1.0, max(0.0, (offset + 1) / 2))
        if self._name == "normal":
            return _NORMAL.cdf(offset)
        return 1 - (1.5 + 0.75 * offset) ** -3 if offset > self.lowest else 0.0

    def medians(self, draws: int) -> tuple[float, float]:
        """Return the bounds that the median of so many independent draws hardly ever leaves."""
        most = (draws + 1) // 2
        share = _growing(
            lambda p: sum(comb(draws, k) * p**k * (1 - p) ** (draws - k) for k in range(most, draws + 1)), 0.5
        )
        return self.quantile(share), self.quantile(1 - share)

    def least_range(self, draws: int) -> float:
        """Return the range within which so many independent draws hardly ever all lie; 0 for fewer than two."""
        if draws < 2:
            return 0.0
        shares = [(step + 0.5) / STEPS for step in range(STEPS)]
        smallest = [(share, self.quantile(share)) for share in shares]

        def within(width: float) -> float:
            """Return the probability of it: each draw may be the smallest, at any place, and the others above it."""
            above = (self.share_below(place + width) - share for share, place in smallest)
            return sum(draws * part ** (draws - 1) for part in above) / STEPS

        return _growing(within, self.highest - self.lowest)


def _growing(probability: Callable[[float], float], highest: float) -> float:
    """Return where (0..highest) a probability that grows reaches RARE."""
    low, high = 0.0, highest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if probability(middle) > RARE else (middle, high)
    return low
