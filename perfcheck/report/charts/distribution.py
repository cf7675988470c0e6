"""Distributions: what share of the values is not larger than each, of two sides or more on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from perfcheck.report.charts.axis import NUMBERS, Axis, Spec, known, layered, rounded, told
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart

HEIGHT: Final = 200
POINTS: Final = 120
"""Steps of one curve at most."""
LONG_TAIL: Final = 8
"""Times the median: beyond them the scale is logarithmic."""
MARKED: Final = (50, 90, 99)
"""Percentiles that are marked, as far as there are enough values for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All values of one side: `now`, `baseline`; in the metric's unit."""

    name: str
    values: Sequence[float]


def cdf(labels: Labels, sides: Sequence[Side]) -> Chart:
    """Return the cumulative distributions of the sides, as steps, with percentiles marked."""
    axis = Axis.of(labels.quantity, labels.unit, chain.from_iterable(side.values for side in sides))
    columns: dict[str, list[float | int | str | None]] = {
        "side": [], "value": [], "share": [], "percentile": [], "mark": [],
    }  # fmt: skip
    for side in sides:
        ordered = np.sort(np.asarray(side.values, float)[np.isfinite(side.values)])
        for share, value in _steps(ordered):
            _add(columns, side.name, axis, value, share)
        for percentile in MARKED:
            # Of fewer values the percentile is the largest one.
            if len(ordered) * (100 - percentile) >= 100:
                value = float(np.percentile(ordered, percentile, method="inverted_cdf"))
                _add(columns, side.name, axis, value, percentile, percentile)
    names = [side.name for side in sides]
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(axis, sides),
        spec=layered(_layers(axis, names, logarithmic=_is_long(sides)), height=HEIGHT), columns=columns,
    )  # fmt: skip


def _is_long(sides: Sequence[Side]) -> bool:
    """Whether the largest value is so far from the median that an even scale would show nothing of the others."""
    values = np.concatenate([np.asarray(side.values, float) for side in sides]) if sides else np.zeros(0)
    values = values[np.isfinite(values)]
    return len(values) > 0 and float(values.min()) > 0 and float(values.max()) > LONG_TAIL * float(np.median(values))


def _steps(ordered: np.ndarray) -> list[tuple[float, float]]:
    """Return (share in per cent, value) of so many of the values, the smallest and the largest among them."""
    count = len(ordered)
    if count == 0:
        return []
    places = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    return [(100 * (place + 1) / count, float(ordered[place])) for place in places.tolist()]


def _add(
    columns: dict[str, list[float | int | str | None]], side: str, axis: Axis, value: float, share: float,
    percentile: int | None = None,
) -> None:  # fmt: skip
    columns["side"].append(side)
    columns["value"].append(axis.shown([value])[0])
    columns["share"].append(rounded(share))
    columns["percentile"].append(percentile)
    columns["mark"].append(None if percentile is None else f"p{percentile}")


def _layers(axis: Axis, names: Sequence[str], *, logarithmic: bool) -> list[Spec]:
    scale = {"type": "log", "nice": False} if logarithmic else {"zero": False, "nice": True}
    x = {
        "field": "value", "type": "quantitative", "scale": scale,
        "axis": {"title": f"{axis.title}, logarithmic" if logarithmic else axis.title, "grid": False, "tickCount": 8},
    }  # fmt: skip
    y = {
        "field": "share", "type": "quantitative", "scale": {"domain": [0, 100]},
        "axis": {"title": "values not larger (%)", "values": [0, 25, 50, 75, 100]},
    }  # fmt: skip
    colour = {
        "field": "side", "type": "nominal", "scale": {"domain": list(names)},
        "legend": {"title": None, "symbolType": "stroke"} if len(names) > 1 else None,
    }  # fmt: skip
    tooltip = [
        told("side", "of", text=True), told("value", axis.titled("value")),
        {"field": "share", "title": "values not larger (%)", "type": "quantitative", "format": NUMBERS},
    ]  # fmt: skip
    curve = {
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.75, "clip": True, "tooltip": None},
        "transform": [{"filter": "datum.percentile === null"}],
        "encoding": {"x": x, "y": y, "color": colour},
    }
    near = {
        "params": [{
            "name": "hover",
            "select": {
                "type": "point", "fields": ["side", "value"], "nearest": True, "on": "pointermove",
                "clear": "pointerout",
            },
        }],
        "mark": {"type": "point", "filled": True, "size": 60, "clip": True},
        "transform": [{"filter": "datum.percentile === null"}],
        "encoding": {
            "x": x, "y": y, "color": colour, "tooltip": tooltip,
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
        },
    }  # fmt: skip
    marked = {
        "mark": {"type": "point", "filled": False, "size": 45, "opacity": 1, "tooltip": None},
        "transform": [known("percentile")],
        "encoding": {"x": x, "y": y, "color": colour},
    }
    named = {
        "mark": {"type": "text", "align": "left", "dx": 7, "dy": 8, "fontSize": 10, "tooltip": None},
        "transform": [known("percentile")],
        "encoding": {"x": x, "y": y, "color": colour, "text": {"field": "mark", "type": "nominal"}},
    }
    return [curve, marked, named, near]


def _summary(axis: Axis, sides: Sequence[Side]) -> str:
    return "; ".join(_median(axis, side) for side in sides if len(side.values)) or "no values"


def _median(axis: Axis, side: Side) -> str:
    middle, largest = (axis.text(float(found(side.values))) for found in (np.median, np.max))
    return f"{side.name}: {len(side.values):,} values, median {middle}, largest {largest}"
