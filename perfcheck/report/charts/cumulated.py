"""The distribution of a histogram: what share of the values is not larger, by the edges of its buckets."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from perfcheck.analyse.histogram import quantile
from perfcheck.model.flow import Histogram
from perfcheck.report.charts.axis import Axis, Spec, layered, rounded, told, zoomed
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart

HEIGHT: Final = 200
POINTS: Final = 160
MARKED: Final = (50, 90, 99, 99.9)
_WIDE: Final = 8
"""Times the smallest value: beyond them the scale is logarithmic."""
_NEAR_PCT: Final = 7
_NEAR_SHARE: Final = 0.08
"""Marks that are nearer in height, and nearer across as a share of the axis, would have their names on one another."""


def cumulated(labels: Labels, histogram: Histogram) -> Chart:
    """Return the cumulative distribution of at least one value, with percentiles marked."""
    axis = Axis.of(labels.quantity, labels.unit, [histogram.maximum])
    points = steps(histogram)
    marks = _marks(histogram)
    middles = [quantile(histogram, share / 100) for share in marks]
    columns: dict[str, list[float | int | str | None]] = {
        "value": [*axis.shown([value for value, _ in points]), *axis.shown(middles)],
        "share": [*(rounded(share) for _, share in points), *marks],
        "mark": [*([None] * len(points)), *(f"p{share:g}" for share in marks)],
    }  # fmt: skip
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(axis, histogram),
        spec=layered(_layers(axis, histogram), height=HEIGHT), columns=columns,
    )  # fmt: skip


def steps(histogram: Histogram) -> list[tuple[float, float]]:
    """Return (value, share in per cent of the values that are not larger) from the smallest value to the largest.

    Few of many buckets are left out: of those that a step of the curve would be too small for to be seen.
    """
    edges = np.asarray([*histogram.edges[1:], max(histogram.maximum, histogram.edges[-1])])
    counts = np.asarray([*histogram.counts, histogram.above], np.int64)
    reached = histogram.below + np.cumsum(counts)
    filled = np.flatnonzero(counts)
    if len(filled) > POINTS:
        shares = np.linspace(0, len(filled) - 1, POINTS).round().astype(int)
        filled = filled[np.unique(shares)]
    values = np.clip(edges[filled], histogram.minimum, histogram.maximum)
    found = zip(values.tolist(), (100 * reached[filled] / histogram.count).tolist(), strict=True)
    first = (histogram.minimum, 100 * histogram.below / histogram.count)
    return [first, *found]


def _marks(histogram: Histogram) -> list[float]:
    """Return the percentiles to be marked: those that enough values tell, and whose names do not overlap."""
    found: list[float] = []
    for share in MARKED:
        if histogram.count * (100 - share) < 100:
            break
        near = found and share - found[-1] < _NEAR_PCT
        if near and _across(histogram, share) - _across(histogram, found[-1]) < _NEAR_SHARE:
            continue
        found.append(share)
    return found


def _across(histogram: Histogram, share: float) -> float:
    """Return how far along the axis a percentile is, from 0 to 1."""
    ends = [histogram.minimum, quantile(histogram, share / 100), histogram.maximum]
    low, value, high = map(math.log, ends) if _is_wide(histogram) else ends
    return (value - low) / (high - low) if high > low else 0.0


def _is_wide(histogram: Histogram) -> bool:
    return histogram.minimum > 0 and histogram.maximum > _WIDE * histogram.minimum


def _layers(axis: Axis, histogram: Histogram) -> list[Spec]:
    wide = _is_wide(histogram)
    x = {
        "field": "value", "type": "quantitative",
        "scale": {"type": "log", "nice": False} if wide else {"zero": False, "nice": True},
        "axis": {"title": axis.title, "grid": False},
    }  # fmt: skip
    y = {
        "field": "share", "type": "quantitative", "scale": {"domain": [0, 100]},
        "axis": {"title": "values not larger (%)", "values": [0, 25, 50, 75, 100]},
    }  # fmt: skip
    tooltip = [told("value", axis.titled("value")), told("share", "values not larger (%)")]
    hover = {
        "name": "hover",
        "select": {"type": "point", "encodings": ["x"], "nearest": True, "on": "pointermove", "clear": "pointerout"},
    }  # fmt: skip
    curve = {
        "mark": {"type": "line", "interpolate": "linear", "clip": True, "tooltip": None},
        "transform": [{"filter": "datum.mark === null"}], "encoding": {"x": x, "y": y},
    }  # fmt: skip
    near = {
        "params": [hover, zoomed()],
        "mark": {"type": "point", "filled": True, "size": 60, "clip": True},
        "transform": [{"filter": "datum.mark === null"}],
        "encoding": {
            "x": x, "y": y, "tooltip": tooltip,
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
        },
    }  # fmt: skip
    marked = {
        "mark": {"type": "point", "filled": False, "size": 45, "opacity": 1},
        "transform": [{"filter": "datum.mark !== null"}], "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }  # fmt: skip
    named = {
        "mark": {"type": "text", "align": "left", "dx": 7, "dy": 8, "fontSize": 10, "tooltip": None},
        "transform": [{"filter": "datum.mark !== null"}],
        "encoding": {"x": x, "y": y, "text": {"field": "mark", "type": "nominal"}},
    }
    return [curve, marked, named, near]


def _summary(axis: Axis, histogram: Histogram) -> str:
    p50, p99, most = map(axis.text, (quantile(histogram, 0.5), quantile(histogram, 0.99), histogram.maximum))
    return f"{histogram.count:,} values: median {p50}, p99 {p99}, largest {most}"
