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
    low, high = _spread(low, high)
    return tuple(_line(one, low, high, columns) if one.count else "" for one in histograms), (low, high)


def _middles(histogram: Histogram) -> npt.NDArray[np.float64]:
    edges = np.asarray(histogram.edges, float)
    middles: npt.NDArray[np.float64] = (edges[:-1] + np.maximum(edges[1:] - 1, edges[:-1])) / 2
    return middles


def _reached(histogram: Histogram, share: float) -> float:
    """Return the middle of the bucket at which a share of the values is reached."""
    values = np.concatenate(([histogram.minimum], _middles(histogram), [histogram.maximum]))
    counts = np.concatenate(([histogram.below], histogram.counts, [histogram.above]))
    reached = np.cumsum(counts)
    return float(values[int(np.searchsorted(reached, max(share * reached[-1], 1)))])


def _spread(low: float, high: float) -> tuple[float, float]:
    """Return the ends so far apart that a column is not finer than a bucket."""
    low = max(low, 1.0)
    return (low, high) if high >= 2 * low else (low / math.sqrt(2), max(high, low) * math.sqrt(2))


def _line(histogram: Histogram, low: float, high: float, columns: int) -> str:
    values = np.concatenate(([histogram.minimum], _middles(histogram), [histogram.maximum]))
    counts = np.concatenate(([histogram.below], histogram.counts, [histogram.above]))
    share = np.log(np.maximum(values, low) / low) / math.log(high / low)
    column = np.clip((share * columns).astype(int), 0, columns - 1)
    sums = np.bincount(column, weights=counts, minlength=columns)
    heights = np.ceil(sums / sums.max() * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)
