"""Distributions as small bars on one line for a terminal, several of them on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow import Histogram

BARS: Final = " ▁▂▃▄▅▆▇█"
"""From nothing to the most; anything at all is at least the second."""
_TAIL: Final = 0.001
"""Shares of the values that may lie off either end of the scale: the end columns have them."""


def bars(histograms: Sequence[Histogram], columns: int) -> tuple[tuple[str, ...], tuple[float, float]]:
    """Return a bar chart of so many characters for each histogram, and the ends of their common logarithmic scale."""
    filled = [one for one in histograms if one.count]
    if not filled:
        return ("",) * len(histograms), (0.0, 0.0)
    low = min(_reached(one, _TAIL) for one in filled)
    high = max(_reached(one, 1 - _TAIL) for one in filled)
    # 0 has no place on a logarithmic scale.
    least = min(next(edge for edge in one.edges if edge > 0) for one in filled)
    low, high = _spread(max(low, least), high)
    return tuple(_line(one, low, high, columns) if one.count else "" for one in histograms), (low, high)


def _values(histogram: Histogram) -> npt.NDArray[np.float64]:
    """Return the value that stands for each bucket, its lower edge, and those for what is off either end."""
    return np.concatenate(([histogram.minimum], histogram.edges[:-1], [histogram.maximum]))


def _counts(histogram: Histogram) -> npt.NDArray[np.float64]:
    return np.concatenate(([histogram.below], histogram.counts, [histogram.above])).astype(np.float64)


def _reached(histogram: Histogram, share: float) -> float:
    """Return the lower edge of the bucket at which a share of the values is reached."""
    reached = np.cumsum(_counts(histogram))
    return float(_values(histogram)[int(np.searchsorted(reached, max(share * reached[-1], 1)))])


def _spread(low: float, high: float) -> tuple[float, float]:
    """Return the ends so far apart that a column is not finer than a bucket."""
    return (low, high) if high >= 2 * low else (low / math.sqrt(2), max(high, low) * math.sqrt(2))


def _line(histogram: Histogram, low: float, high: float, columns: int) -> str:
    share = np.log(np.maximum(_values(histogram), low) / low) / math.log(high / low)
    column = np.clip((share * columns).astype(int), 0, columns - 1)
    sums = np.bincount(column, weights=_counts(histogram), minlength=columns)
    heights = np.ceil(sums / sums.max() * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)
