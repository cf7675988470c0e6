"""A metric's history: its trend, its control limits, the values beyond them. This is advice: it never fails a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import rankdata

from perfcheck.compare.changepoints import block_length, shuffled_blocks
from perfcheck.compare.ranks import Floats, median

ALPHA: Final = 0.01
WINDOW: Final = 20
SIGMAS: Final = 3.0
CUSUM_SLACK: Final = 0.5
_RESOLUTION: Final = 1e-12
CUSUM_LIMIT: Final = 5.0
"""Slack and limit in standard deviations: sees a lasting shift of one in about ten points (Page 1954)."""

_PERMUTATIONS: Final = 999
_MOST_POINTS: Final = 1_000
_LEAST_POINTS: Final = 8
_SEED: Final = 20_240_131


class Movement(StrEnum):
    """Where a history goes."""

    RISING = "rising"
    FALLING = "falling"
    STABLE = "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A history's movement, with the whole change from its begin to its end along the fitted line, in its unit."""

    movement: Movement
    change: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Mean and deviation of the window before each point (NaN until the window is full), as (n,)."""

    mean: Floats
    deviation: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Excursion:
    """Points `first` to `last` lie beyond the limits; `lasting`: they still did at the end of the history."""

    first: int
    last: int
    above: bool
    lasting: bool


def trend(values: Sequence[float] | Floats, *, alpha: float = ALPHA) -> Trend:
    """Fit Theil's line (median of slopes) and test whether ranks go with time, blocks permuted for dependence.

    Fewer than eight points, or no variation, are stable with p-value 1.
    """
    history: Floats = np.asarray(values, dtype=np.float64)
    points = _thinned(history)
    if len(points) < _LEAST_POINTS or not np.ptp(points):
        return Trend(movement=Movement.STABLE, change=0.0, p_value=1.0)
    time = np.arange(len(points)) - (len(points) - 1) / 2
    ranks = rankdata(points) - (len(points) + 1) / 2
    slope = _theil_slope(points)
    rng = np.random.default_rng(_SEED)
    length = block_length(ranks - time * float(time @ ranks) / float(time @ time))
    orders = shuffled_blocks(ranks, length, _PERMUTATIONS, rng)
    reached = int(np.sum(np.abs(orders @ time) >= abs(float(ranks @ time)) * (1 - 1e-12)))
    p_value = (1 + reached) / (1 + _PERMUTATIONS)
    moves = p_value <= alpha and slope != 0
    movement = (Movement.RISING if slope > 0 else Movement.FALLING) if moves else Movement.STABLE
    return Trend(movement=movement, change=slope * (len(points) - 1), p_value=p_value)


def rolling_limits(values: Sequence[float] | Floats, window: int = WINDOW) -> Limits:
    """Return mean and deviation of the `window` points before each point, itself left out."""
    history: Floats = np.asarray(values, dtype=np.float64)
    mean = np.full(len(history), np.nan)
    deviation = np.full(len(history), np.nan)
    if len(history) > window:
        before = sliding_window_view(history, window)[:-1]
        mean[window:] = before.mean(axis=1)
        deviation[window:] = before.std(axis=1, ddof=1)
    return Limits(mean=mean, deviation=deviation)


def excursions(values: Sequence[float] | Floats, window: int = WINDOW) -> tuple[Excursion, ...]:
    """Find the stretches beyond three deviations of the window before them: bursts that pass, and shifts that last.

    The limits stand still during a stretch: a shift must not become its own normal. A window after a shift
    that lasts, limits are the new level's, and what leaves those is found as well.
    """
    history: Floats = np.asarray(values, dtype=np.float64)
    found: list[Excursion] = []
    limits = rolling_limits(history, window)
    beyond = np.abs(history - limits.mean) > SIGMAS * limits.deviation
    start = window
    while True:
        later = np.flatnonzero(beyond[start:])
        if not later.size:
            return tuple(found)
        first = start + int(later[0])
        above = bool(history[first] > limits.mean[first])
        reach = SIGMAS * limits.deviation[first]
        offset = (history[first:] - limits.mean[first]) * (1 if above else -1)
        back = np.flatnonzero(offset <= reach)
        last = first + int(back[0]) - 1 if back.size else len(history) - 1
        lasting = not back.size
        found.append(Excursion(first=first, last=last, above=above, lasting=lasting))
        # Points whose window still holds a burst have limits that it has widened: they are not judged by it.
        start = first + window if lasting else last + 1


def cusum(values: Sequence[float] | Floats, reference: int = WINDOW) -> tuple[Floats, Floats]:
    """Return the upper and lower cumulative sums in deviations, each (n,); beyond CUSUM_LIMIT the level has shifted.

    Centre and deviation come from the first `reference` points, the latter from the median step
    between neighbours, which a shift among them hardly moves.
    """
    history: Floats = np.asarray(values, dtype=np.float64)
    if not len(history):
        return history, history
    first = history[:reference]
    steps = np.abs(np.diff(first))
    deviation = float(np.median(steps)) / 0.954 if steps.size else 0.0
    if not deviation:
        deviation = float(np.std(first))
    # What floating point cannot tell from the values themselves is no deviation, and would overflow as a divisor.
    deviation = max(deviation, _RESOLUTION * float(np.abs(history).max())) or 1.0
    scaled = (history - float(median(first))) / deviation
    return _one_sided(scaled), _one_sided(-scaled)


def _one_sided(scaled: Floats) -> Floats:
    """Return C_i = max(0, C_(i-1) + z_i - slack): the running sum less its lowest value so far."""
    total = np.concatenate([[0.0], np.cumsum(scaled - CUSUM_SLACK)])
    return np.asarray(total - np.minimum.accumulate(total))[1:]


def _theil_slope(points: Floats) -> float:
    rows, columns = np.triu_indices(len(points), 1)
    return float(median((points[columns] - points[rows]) / (columns - rows)))


def _thinned(history: Floats) -> Floats:
    """Medians of equal groups of a long history."""
    size = -(-len(history) // _MOST_POINTS)
    if size <= 1:
        return history
    return median(history[: len(history) // size * size].reshape(-1, size))
