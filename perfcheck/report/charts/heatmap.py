"""A distribution over time: time across, values up on a scale of powers, and how many there were as shades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.histogram import quantile
from perfcheck.model.flow import Histogram
from perfcheck.report.charts.axis import Axis, Spec, layered, rounded, seconds, told, zoomed
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart

HEIGHT: Final = 240
MOST_ROWS: Final = 36
MOST_COLUMNS: Final = 80
_FINE_POWERS: Final = 5
_SHADES: Final = (0.3, 0.97)
"""Of the scheme of colours: its darkest ones could not be seen on dark paper."""
_STEPS: Final = (4, 2, 1)
"""Rows an octave: the finest that needs no more than `MOST_ROWS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The values of some time, in seconds."""

    begin_s: float
    end_s: float
    values: Histogram


def heatmap(labels: Labels, slices: Sequence[Slice]) -> Chart:
    """Return the chart; each value is counted once, in the cell of its bucket's middle."""
    filled = [one for one in slices if one.values.count]
    scale = edges_of([one.values for one in filled])
    axis = Axis.of(labels.quantity, labels.unit, scale)
    names = ("begin", "end", "low", "high", "count", "share")
    columns: dict[str, list[float | int | str | None]] = {name: [] for name in names}
    for begin_s, end_s, counts in _columns(filled, scale):
        whole = int(counts.sum())
        for row in np.flatnonzero(counts).tolist():
            cell = (begin_s, end_s, scale[row] / axis.divisor, scale[row + 1] / axis.divisor)
            for name, value in zip(names, (*cell, int(counts[row]), 100 * int(counts[row]) / whole), strict=True):
                columns[name].append(value if isinstance(value, int) else rounded(value))
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(axis, filled),
        spec=layered([_cells(axis, _ticks(columns["low"], columns["high"]))], height=HEIGHT), columns=columns,
    )  # fmt: skip


def edges_of(histograms: Sequence[Histogram]) -> list[float]:
    """Return edges at even steps of powers of two that hold all values."""
    if not histograms:
        return [1.0, 2.0]
    low = max(min(one.minimum for one in histograms), 1e-3)
    high = max(*(one.maximum for one in histograms), low) if len(histograms) > 1 else max(histograms[0].maximum, low)
    step = next((each for each in _STEPS if math.log2(high / low) * each < MOST_ROWS - 2), None)
    per_octave = float(step) if step is not None else (MOST_ROWS - 2) / math.log2(high / low)
    first, last = math.floor(math.log2(low) * per_octave), math.floor(math.log2(high) * per_octave) + 1
    return [2 ** (number / per_octave) for number in range(first, last + 1)]


def counted(histogram: Histogram, scale: Sequence[float]) -> npt.NDArray[np.int64]:
    """Return how many of a histogram's values are in each row; what is off its scale is in the first or last row."""
    rows = len(scale) - 1
    middles = (np.asarray(histogram.edges[:-1]) + np.asarray(histogram.edges[1:])) / 2
    kept = np.clip(middles, histogram.minimum, histogram.maximum)
    places = np.clip(np.searchsorted(scale, kept, side="right") - 1, 0, rows - 1)
    found = np.zeros(rows, np.int64)
    np.add.at(found, places, np.asarray(histogram.counts, np.int64))
    found[0] += histogram.below
    found[-1] += histogram.above
    return found


def _columns(
    slices: Sequence[Slice], scale: Sequence[float]
) -> list[tuple[float, float, npt.NDArray[np.int64]]]:  # fmt: skip
    """Return begin, end and counts of each column: of one slice, or of several where there are many."""
    each = -(-len(slices) // MOST_COLUMNS) or 1
    return [
        (group[0].begin_s, group[-1].end_s, np.sum([counted(one.values, scale) for one in group], axis=0))
        for group in (slices[first : first + each] for first in range(0, len(slices), each))
    ]


def _ticks(lows: Sequence[object], highs: Sequence[object]) -> list[float]:
    """Return round numbers within all cells: 1, 2 and 5 of each power of ten, of many powers 1 alone."""
    low = min((each for each in lows if isinstance(each, (int, float))), default=1.0)
    high = max((each for each in highs if isinstance(each, (int, float))), default=1.0)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= _FINE_POWERS else (1,)
    ticks = (float(f"{step}e{power}") for power in powers for step in steps)
    return [tick for tick in ticks if low <= tick <= high]


def _cells(axis: Axis, ticks: Sequence[float]) -> Spec:
    x = seconds("begin")
    y = {
        "field": "low", "type": "quantitative", "scale": {"type": "log", "base": 2, "nice": False},
        "axis": {
            "title": axis.upright, "grid": False, "values": list(ticks), "format": "~s" if not axis.unit else ",.4~r",
        },
    }  # fmt: skip
    return {
        "params": [zoomed()],
        "mark": {"type": "rect", "clip": True, "stroke": None},
        "encoding": {
            "x": x, "x2": {"field": "end"}, "y": y, "y2": {"field": "high"},
            "color": {
                "field": "share", "type": "quantitative",
                "scale": {"type": "sqrt", "domainMin": 0, "scheme": {"name": "viridis", "extent": list(_SHADES)}},
                "legend": {"title": "samples (%)", "gradientLength": 160, "titleOrient": "left"},
            },
            "tooltip": [
                told("begin", "from (s)"), told("end", "to (s)"), told("low", axis.titled("value from")),
                told("high", axis.titled("value to")), told("count", "samples"), told("share", "share (%)"),
            ],
        },
    }  # fmt: skip


def _summary(axis: Axis, slices: Sequence[Slice]) -> str:
    if not slices:
        return "no values"
    medians = [quantile(one.values, 0.5) for one in slices]
    count = sum(one.values.count for one in slices)
    between = axis.text(min(medians), max(medians))
    return f"{count:,} values; the median of each part of the time is {'from ' if ' to ' in between else ''}{between}"
