"""A summary of a history: its levels, its trend, the values beyond its limits; pure, and advisory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perfcheck.compare.changepoints import ChangePoint, change_points
from perfcheck.compare.ranks import Floats, median
from perfcheck.compare.trends import (
    CUSUM_LIMIT,
    WINDOW,
    Excursion,
    Limits,
    Trend,
    cusum,
    excursions,
    rolling_limits,
    trend,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Points `first` to `last` lie about one level, their median."""

    first: int
    last: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One history of n values: `upper` and `lower` are the cumulative sums over the last level alone, in deviations."""

    values: Floats
    changes: tuple[ChangePoint, ...]
    levels: tuple[Level, ...]
    trend: Trend
    limits: Limits
    excursions: tuple[Excursion, ...]
    upper: Floats
    lower: Floats

    @property
    def drifted_up(self) -> int | None:
        """Where the sum of what lies above the last level passed its limit first; None: nowhere."""
        return self._passed(self.upper)

    @property
    def drifted_down(self) -> int | None:
        """Where the sum of what lies below the last level passed its limit first; None: nowhere."""
        return self._passed(self.lower)

    def _passed(self, sums: Floats) -> int | None:
        # The first points set the centre and the deviation: they cannot be judged by them.
        beyond = np.flatnonzero(sums[WINDOW:] > CUSUM_LIMIT)
        return self.levels[-1].first + WINDOW + int(beyond[0]) if beyond.size else None


def outlook(values: Sequence[float] | Floats) -> Outlook:
    """Look at a history of at least one value, oldest first."""
    history: Floats = np.asarray(values, dtype=np.float64)
    changes = change_points(history)
    bounds = [0, *(change.index for change in changes), len(history)]
    levels = tuple(
        Level(first=first, last=after - 1, value=float(median(history[first:after])))
        for first, after in pairwise(bounds)
    )
    upper, lower = cusum(history[levels[-1].first :])
    return Outlook(
        values=history, changes=changes, levels=levels, trend=trend(history), limits=rolling_limits(history),
        excursions=excursions(history), upper=upper, lower=lower,
    )  # fmt: skip
