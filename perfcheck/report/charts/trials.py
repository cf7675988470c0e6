"""Values of single trials as dots, a row for each side, with each side's median."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import median
from typing import Final

from perfcheck.report.charts.axis import Axis, Spec, known, layered, told
from perfcheck.report.charts.distribution import Side
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart

ROW: Final = 34
"""Pixels of height of a side."""
_EDGE: Final = 8
"""Pixels about the scale, so that no dot lies on the names of the sides."""
LEAST_SPAN: Final = 0.1
"""Share of the largest value that the scale spans at least."""


def trials(labels: Labels, sides: Sequence[Side]) -> Chart:
    """Return the dots of all sides on one axis."""
    axis = Axis.of(labels.quantity, labels.unit, chain.from_iterable(side.values for side in sides))
    columns: dict[str, list[float | int | str | None]] = {"side": [], "trial": [], "value": [], "median": []}
    for side in sides:
        if not len(side.values):
            continue
        columns["side"] += [side.name] * (len(side.values) + 1)
        columns["trial"] += [*range(1, len(side.values) + 1), None]
        columns["value"] += [*axis.shown(side.values), None]
        columns["median"] += [*([None] * len(side.values)), *axis.shown([median(side.values)])]
    names = [side.name for side in sides if len(side.values)]
    domain = axis.shown(_domain([value for side in sides for value in side.values]))
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(axis, sides),
        spec=layered(_layers(axis, names, domain), height=ROW * max(len(names), 1)), columns=columns,
    )  # fmt: skip


def _domain(values: Sequence[float]) -> list[float]:
    """Return the ends of the scale: wide enough that noise does not look like a change."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    least = LEAST_SPAN * max(abs(low), abs(high)) or 1.0
    margin = max(high - low, least) * 0.06
    wanting = max(least - (high - low), 0.0) / 2
    return [low - wanting - margin if low < 0 else max(low - wanting - margin, 0.0), high + wanting + margin]


def _layers(axis: Axis, names: Sequence[str], domain: Sequence[float | None]) -> list[Spec]:
    def x(field: str) -> Spec:
        return {
            "field": field, "type": "quantitative", "axis": {"title": axis.title, "grid": True, "tickCount": 6},
            "scale": {"zero": False, "nice": False, "domain": list(domain), "padding": _EDGE},
        }  # fmt: skip

    y = {"field": "side", "type": "nominal", "sort": list(names), "axis": {"title": None, "labelLimit": 160}}
    colour = {"field": "side", "type": "nominal", "scale": {"domain": list(names)}, "legend": None}
    of = told("side", "of", text=True)
    middle = {
        "mark": {"type": "tick", "thickness": 2.5, "size": ROW * 0.7, "opacity": 1},
        "transform": [known("median")],
        "encoding": {
            "x": x("median"), "y": y, "color": colour, "tooltip": [of, told("median", axis.titled("median"))],
        },
    }  # fmt: skip
    dots = {
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.65},
        "transform": [known("value")],
        "encoding": {
            "x": x("value"), "y": y, "color": colour,
            "tooltip": [of, told("trial", "trial"), told("value", axis.titled("value"))],
        },
    }  # fmt: skip
    return [middle, dots]


def _summary(axis: Axis, sides: Sequence[Side]) -> str:
    return "; ".join(_side(axis, side) for side in sides if len(side.values)) or "no values"


def _side(axis: Axis, side: Side) -> str:
    middle = axis.text(median(side.values))
    if len(side.values) == 1:
        return f"{side.name}: {middle}"
    return f"{side.name}: {len(side.values)} trials, {axis.text(min(side.values), max(side.values))}, median {middle}"
