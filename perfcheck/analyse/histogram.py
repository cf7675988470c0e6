"""Statistics of log-linear histograms, from the buckets' edges and counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfcheck.model.flow import Histogram

QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p999": 0.999}


def merge(histograms: Iterable[Histogram]) -> Histogram | None:
    """Add histograms of the same unit and edges up; None where there is none with a value in it.

    Raises ValueError when edges or units differ: their sum would be of neither.
    """
    filled = [histogram for histogram in histograms if histogram.count]
    if not filled:
        return None
    first = filled[0]
    if any((other.unit, other.edges) != (first.unit, first.edges) for other in filled[1:]):
        raise ValueError("histograms of different units or edges cannot be merged")
    counts = np.sum([histogram.counts for histogram in filled], axis=0)
    return Histogram(
        unit=first.unit,
        edges=first.edges,
        counts=tuple(int(count) for count in counts),
        below=sum(histogram.below for histogram in filled),
        above=sum(histogram.above for histogram in filled),
        minimum=min(histogram.minimum for histogram in filled),
        maximum=max(histogram.maximum for histogram in filled),
        total=sum(histogram.total for histogram in filled),
    )


def quantile(histogram: Histogram, share: float) -> float:
    """Return the value below which `share` (0..1) of all values lie, interpolated inside its bucket.

    Values off the scale are taken to lie evenly between the exact minimum (or maximum) and the
    scale's end. ValueError for an empty histogram.
    """
    if not histogram.count:
        raise ValueError("an empty histogram has no quantiles")
    edges, counts = _with_tails(histogram)
    reached = np.concatenate(([0.0], np.cumsum(counts)))
    wanted = share * reached[-1]
    bucket = min(int(np.searchsorted(reached, wanted, side="left")) - 1, len(counts) - 1)
    bucket = _first_filled(counts, max(bucket, 0))
    within = (wanted - reached[bucket]) / counts[bucket]
    value = edges[bucket] + within * (edges[bucket + 1] - edges[bucket])
    return float(min(max(value, histogram.minimum), histogram.maximum))


def statistics(histogram: Histogram | None) -> dict[str, float]:
    """Return every stat of model.metric.STATS of a histogram; nothing for an empty one."""
    if histogram is None or not histogram.count:
        return {}
    found = {name: quantile(histogram, share) for name, share in QUANTILES.items()}
    exact = {"mean": histogram.total / histogram.count, "min": histogram.minimum, "max": histogram.maximum}
    return found | exact


def _with_tails(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges and counts with the values off either end as buckets of their own."""
    edges = np.asarray(histogram.edges, dtype=float)
    counts = np.asarray(histogram.counts, dtype=float)
    low = min(histogram.minimum, edges[0])
    high = max(histogram.maximum, edges[-1])
    return np.concatenate(([low], edges, [high])), np.concatenate(([histogram.below], counts, [histogram.above]))


def _first_filled(counts: NDArray[np.float64], start: int) -> int:
    bucket = start
    while not counts[bucket]:
        bucket += 1
    return bucket
