"""Where RTT, congestion window and retransmissions of a connection go: pure functions over its series.

They look at the whole series, and say nothing of a short one. A movement counts where ranks go with time
(Mann-Kendall), and where its size (Theil-Sen) is above floors and stands out of the scatter around the line: round
trips are not independent of one another, so that ranks alone would see trends in noise.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST_POINTS: Final = 8
ALPHA: Final = 0.01
DEVIATIONS: Final = 3.3
"""What chance exceeds once in a thousand series: many connections are looked at, each second."""
RTT_FLOOR_US: Final = 200.0
RTT_SHARE: Final = 0.10
"""Of the median: a smaller change of the RTT over the whole series is stable."""
CWND_SHARE: Final = 0.20
SCATTERS: Final = 2.0
"""A movement is more than this many deviations of the points around it."""
CLEAR: Final = 5.0
"""One of more deviations than this is no chance, also where points resemble their neighbours: a curve is no noise."""
FLAT_SHARE: Final = 0.05
SWING_SHARE: Final = 0.25
"""Of the larger of its two ends: what a swing of the window has at least; a loss takes 30 % (CUBIC) or half of it."""
LEAST_SWINGS: Final = 3
LASTING_SHARE: Final = 0.5
BURST_SHARE: Final = 0.8
BURST_INTERVALS: Final = 0.2
IMPROVED: Final = 1 / 3
LEAST_RETRANS: Final = 6
_MOST_POINTS: Final = 120
_DEVIATION_OF_MAD: Final = 1.4826


class Movement(StrEnum):
    """Where RTT goes."""

    RISING = "rising"
    FALLING = "falling"
    STABLE = "stable"
    UNKNOWN = "too short to tell"


class CwndTrend(StrEnum):
    """What the congestion window does. `limited`: it stays as it is, so that something else sets the pace."""

    GROWING = "growing"
    SHRINKING = "shrinking"
    OSCILLATING = "oscillating"
    LIMITED = "limited"
    VARYING = "varying"
    UNKNOWN = "too short to tell"


class RetransTrend(StrEnum):
    """How retransmissions come."""

    NONE = "none"
    BURSTS = "in bursts"
    LASTING = "lasting"
    IMPROVING = "improving"
    SCATTERED = "scattered"
    UNKNOWN = "too short to tell"


def movement(
    times: Floats, values: Floats, *, floor: float = RTT_FLOOR_US, share: float = RTT_SHARE
) -> Movement:  # fmt: skip
    """Return where values go: changes below `floor`, or below `share` of the median, are stable."""
    times, values = thinned(times, values)
    if len(values) < LEAST_POINTS:
        return Movement.UNKNOWN
    if np.ptp(values) <= max(floor, share * abs(float(np.median(values)))):
        return Movement.STABLE
    slope, deviations = _slope(times, values)
    change = slope * float(np.ptp(times))
    rest = values - slope * times
    scatter = _DEVIATION_OF_MAD * float(np.median(np.abs(rest - np.median(rest))))
    least = max(floor, share * abs(float(np.median(values))), SCATTERS * scatter)
    if abs(change) < CLEAR * scatter:
        deviations *= _independence(rest)
    if not (abs(change) > least and deviations > DEVIATIONS):
        return Movement.STABLE
    return Movement.RISING if change > 0 else Movement.FALLING


def _slope(times: Floats, values: Floats) -> tuple[float, float]:
    """Return the median slope of all pairs of points, and how many deviations the pairs' signs are from chance."""
    first, second = np.triu_indices(len(values), 1)
    steps = values[second] - values[first]
    slope = float(np.median(steps / (times[second] - times[first])))
    _, ties = np.unique(values, return_counts=True)
    sizes = np.concatenate(([len(values)], ties)).astype(np.float64)
    spread = sizes * (sizes - 1) * (2 * sizes + 5) / 18
    variance = spread[0] - spread[1:].sum()
    return slope, float(abs(np.sign(steps).sum()) / np.sqrt(variance)) if variance > 0 else 0.0


def _independence(rest: Floats) -> float:
    """Return what to multiply deviations by, since points that resemble their neighbours count as fewer (Bayley 1946).

    Ranks stand for the values, so that one outlier does not decide.
    """
    ranks = np.argsort(np.argsort(rest)) - (len(rest) - 1) / 2
    alike = min(max(float(ranks[1:] @ ranks[:-1]) / float(ranks @ ranks), 0.0), 0.99)
    return float(np.sqrt((1 - alike) / (1 + alike)))


def cwnd_trend(times: Floats, values: Floats) -> CwndTrend:
    """Return what a congestion window does."""
    times, values = _there(times, values)
    if len(values) < LEAST_POINTS:
        return CwndTrend.UNKNOWN
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    if high - low <= FLAT_SHARE * middle:
        return CwndTrend.LIMITED
    if swings(values, SWING_SHARE) >= LEAST_SWINGS:
        return CwndTrend.OSCILLATING
    found = movement(times, values, floor=0.0, share=CWND_SHARE)
    if found is Movement.RISING:
        return CwndTrend.GROWING
    return CwndTrend.SHRINKING if found is Movement.FALLING else CwndTrend.VARYING


def retrans_trend(retrans: Floats, segments: Floats) -> RetransTrend:
    """Return how retransmissions come, from those of each interval and the segments with data that were sent."""
    there = ~np.isnan(retrans) & ~np.isnan(segments)
    retrans, segments = retrans[there], segments[there]
    total = float(retrans.sum())
    if len(retrans) < LEAST_POINTS:
        return RetransTrend.UNKNOWN
    if total == 0:
        return RetransTrend.NONE
    hit = retrans > 0
    if _has_improved(retrans, segments):
        return RetransTrend.IMPROVING
    if hit.mean() >= LASTING_SHARE:
        return RetransTrend.LASTING
    worst = np.sort(retrans)[::-1][: max(1, round(BURST_INTERVALS * len(retrans)))]
    if worst.sum() >= BURST_SHARE * total and total >= LEAST_RETRANS and worst[0] > 1:
        return RetransTrend.BURSTS
    return RetransTrend.SCATTERED


def _has_improved(retrans: Floats, segments: Floats) -> bool:
    """Return whether the second half has a far smaller share of retransmissions than the first, beyond chance."""
    from scipy.stats import binom

    half = len(retrans) // 2
    before, after = float(retrans[:half].sum()), float(retrans[half:].sum())
    sent_before, sent_after = float(segments[:half].sum()), float(segments[half:].sum())
    if before + after < LEAST_RETRANS or sent_before <= 0 or sent_after <= 0:
        return False
    if np.count_nonzero(retrans[:half]) < LEAST_POINTS // 2:
        return False  # one burst that is over
    fair = sent_after / (sent_before + sent_after)
    is_smaller = after * sent_before <= IMPROVED * before * sent_after
    return bool(is_smaller and binom.cdf(round(after), round(before + after), fair) < ALPHA)


def swings(values: Floats, share: float) -> int:
    """Return how often a series turned after it went `share` of the larger end or more in one direction."""
    found, direction = 0, 0
    low = high = values[0]
    for value in values[1:]:
        low, high = min(low, value), max(high, value)
        if direction >= 0 and high - value >= share * high and value < high:
            found += direction > 0
            direction, low = -1, value
            high = value
        elif direction <= 0 and value - low >= share * value and value > low:
            found += direction < 0
            direction, high = 1, value
            low = value
    return found


def thinned(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return a series without absent values, a long one as medians of equal groups."""
    times, values = _there(times, values)
    size = -(-len(values) // _MOST_POINTS)
    if size <= 1:
        return times, values
    whole = len(values) // size * size
    return np.median(times[:whole].reshape(-1, size), axis=1), np.median(values[:whole].reshape(-1, size), axis=1)


def _there(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    there = np.isfinite(values)
    return times[there], values[there].astype(np.float64)
