"""From log-linear histograms to the buckets of Prometheus: nothing is told more precisely than it was measured.

A classic bucket joins whole buckets of ours, so that its count is exact. Its bound `le` is an edge of ours; of whole
numbers (segments, packets, bytes) it is the last number below that edge. A native bucket takes each of ours whole, by
its middle: that is off by half of one of ours at most (1.6 %), and native buckets of schema 4 are 4.4 % wide.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow import Histogram

MOST_BOUNDS: Final = 19
"""With +Inf there are 20 classic buckets."""
SCHEMA: Final = 4
"""Of native histograms: 2^4 buckets in each octave. Ours are 32, so that none of ours is split."""
_WHOLE: Final = frozenset({"segs", "packets", "bytes", "count"})
"""Units of whole numbers."""
_DIGITS: Final = 15
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classic:
    """Upper bounds in the base unit, and how many values each has, those below included; +Inf has them all."""

    bounds: tuple[float, ...]
    cumulative: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """Counts by the index of exponential buckets, in order; `zeros` are values of at most `zero_threshold`."""

    counts: tuple[tuple[int, int], ...]
    zeros: int
    zero_threshold: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accumulated:
    """A histogram over a run, in the unit of the catalogue: `scale` makes it the base unit.

    `least` is where classic buckets begin. `total` is exact, as that of each interval is.
    """

    scale: float
    least: float
    unit: str = ""
    edges: tuple[float, ...] = (0.0,)
    counts: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    below: int = 0
    above: int = 0
    total: float = 0.0

    def plus(self, histogram: Histogram) -> Accumulated:
        """Return it with an interval's values; where the buckets are others than before, as after a restart."""
        before = self
        if (histogram.edges, histogram.unit) != (self.edges, self.unit):
            before = Accumulated(
                scale=self.scale, least=self.least, unit=histogram.unit, edges=histogram.edges,
                counts=np.zeros(len(histogram.counts), np.int64),
            )  # fmt: skip
        if not histogram.count:
            return before
        return replace(
            before, counts=before.counts + np.asarray(histogram.counts, np.int64), below=before.below + histogram.below,
            above=before.above + histogram.above, total=before.total + max(histogram.total, 0.0),
        )  # fmt: skip

    @property
    def count(self) -> int:
        """How many values went in."""
        return int(self.counts.sum()) + self.below + self.above

    @property
    def sum(self) -> float:
        """All values added up, in the base unit."""
        return rounded(self.total * self.scale)

    def classic(self) -> Classic:
        """Return the buckets that any Prometheus takes."""
        reached = self.below + np.concatenate(([0], np.cumsum(self.counts)))
        places = bounds_at(self.edges, self.least)
        last = 1 if self.unit in _WHOLE else 0
        return Classic(
            bounds=tuple(rounded((self.edges[place] - last) * self.scale) for place in places),
            cumulative=tuple(reached[list(places)].tolist()),
        )

    def native(self) -> Native:
        """Return exponential buckets of `SCHEMA`."""
        indexes = _indexes(self.edges, self.scale)
        counts = np.append(self.counts, self.above)
        zeros = self.below
        found: dict[int, int] = {}
        for place in np.flatnonzero(counts).tolist():
            index, number = indexes[place], int(counts[place])
            if index is None:
                zeros += number
            else:
                found[index] = found.get(index, 0) + number
        return Native(
            counts=tuple(sorted(found.items())), zeros=zeros,
            zero_threshold=rounded(_least_edge(self.edges) * self.scale / 2),
        )  # fmt: skip


@functools.lru_cache(maxsize=64)
def bounds_at(edges: tuple[float, ...], least: float) -> tuple[int, ...]:
    """Return the places of the edges that bound classic buckets: from `least` on, each twice the one before or more."""
    places: list[int] = []
    for place, edge in enumerate(edges):
        if len(places) == MOST_BOUNDS:
            break
        if edge > 0 and edge >= least and (not places or edge >= 2 * edges[places[-1]]):
            places.append(place)
    return tuple(places)


def exponential_index(value: float) -> int:
    """Return the native bucket of a value above 0: that with 2^((index-1)/16) < value <= 2^(index/16)."""
    # log2 of a bucket's bound may be off in the last digit.
    return math.ceil(round(math.log2(value) * 2**SCHEMA, 9))


@functools.lru_cache(maxsize=64)
def _indexes(edges: tuple[float, ...], scale: float) -> tuple[int | None, ...]:
    """Return the native bucket of each bucket of ours, and of what is above all; None: zero."""
    # Times and numbers are whole multiples of a scale's smallest step, which the bucket of 0 has for itself.
    step = edges[1] if edges[0] == 0 and len(edges) > 1 else 0.0
    middles = [(low + high - step) / 2 for low, high in itertools.pairwise(edges)]
    return tuple(
        exponential_index(middle * scale) if middle > 0 else None for middle in (*middles, edges[-1])
    )  # fmt: skip


def _least_edge(edges: tuple[float, ...]) -> float:
    return next((edge for edge in edges if edge > 0), 0.0)


def rounded(value: float) -> float:
    """Return the value without the noise of a conversion: 0.000128, not 0.00012799999999999999."""
    return float(f"{value:.{_DIGITS}g}")
