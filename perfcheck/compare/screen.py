"""The screen of a run against a stored baseline: shift and interval of the runs, session noise included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from perfcheck.compare.noise import session_reach
from perfcheck.compare.ranks import Floats, differences, interval, shift, two_sample_depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Error levels, one-sided: of the ranks of runs, and of the distance of sessions.

    `suspicious`: an estimate beyond the margin is left open even where noise would explain it.
    """

    runs: float
    sessions: float
    suspicious: bool


SCREEN: Final = Level(runs=0.05, sessions=0.01, suspicious=False)
"""For the first look; what trips here gets more runs."""

CONFIRM: Final = Level(runs=0.005, sessions=0.002, suspicious=True)
"""For the fresh runs of a metric that tripped."""

_MOST_RUNS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Hodges-Lehmann shift of the current runs against the baseline's, with its interval, as arrays (...).

    The interval is the wider, on each side, of the rank interval of the runs and the reach of
    session noise; infinite where there are too few runs for any interval of that level.
    """

    shift: Floats
    low: Floats
    high: Floats
    session_reach: Floats


def estimate(baseline: Sequence[Floats], current: Floats, level: Level, *, least_depth: int = 0) -> Estimate:
    """Compare sessions (..., runs) of a baseline with the current runs (..., runs).

    `least_depth` 1: where there are too few runs for an interval of this level, the widest there is.
    """
    pooled = np.concatenate(baseline, axis=-1)
    ordered = differences(pooled, current)
    centre = shift(ordered)
    depth = max(two_sample_depth(pooled.shape[-1], current.shape[-1], level.runs), least_depth)
    low, high = interval(ordered, depth)
    reach = session_reach(baseline, current, level.sessions)
    return Estimate(
        shift=centre,
        low=np.minimum(low, centre - reach),
        high=np.maximum(high, centre + reach),
        session_reach=reach,
    )


def runs_for_level(baseline_runs: int, level: Level, *, least: int) -> int:
    """Return how many current runs, at least `least`, have a rank interval of this level against so many."""
    runs = least
    while not two_sample_depth(baseline_runs, runs, level.runs) and runs < _MOST_RUNS:
        runs += 1
    return runs
