"""The runs of two sides, a dot each: interleaved pairs are joined by a line, so that each pair's own change is seen."""

from __future__ import annotations

from itertools import chain
from statistics import median
from typing import Final

from perfcheck.report.charts.axis import Axis, Spec, known, layered, told
from perfcheck.report.charts.distribution import Side
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.trials import trials
from perfcheck.report.document import Chart
from perfcheck.report.theme import SERIES

HEIGHT: Final = 190


def pairs(labels: Labels, before: Side, after: Side) -> Chart:
    """Return each pair's two values side by side in the order of measuring; where they are not of like number, dots."""
    if len(before.values) != len(after.values):
        return trials(labels, [before, after])
    axis = Axis.of(labels.quantity, labels.unit, chain(before.values, after.values))
    columns: dict[str, list[float | int | str | None]] = {
        "pair": [*range(1, len(before.values) + 1)], "before": [*axis.shown(before.values)],
        "after": [*axis.shown(after.values)],
        "change": [_change_pct(a, b) for a, b in zip(before.values, after.values, strict=True)],
        "beforemedian": [*axis.shown([median(before.values)])] * len(before.values) if before.values else [],
        "aftermedian": [*axis.shown([median(after.values)])] * len(after.values) if after.values else [],
    }  # fmt: skip
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(axis, before, after),
        spec=layered(_layers(axis, before.name, after.name), height=HEIGHT), columns=columns,
    )  # fmt: skip


def _layers(axis: Axis, before: str, after: str) -> list[Spec]:
    x: Spec = {
        "field": "pair", "type": "ordinal",
        "axis": {"title": "pair, in the order of measuring", "labelAngle": 0, "grid": False},
    }  # fmt: skip
    y: Spec = {"type": "quantitative", "axis": {"title": axis.upright}, "scale": {"zero": False, "nice": True}}
    scale: Spec = {"domain": [before, after], "range": [SERIES[0], SERIES[1]]}
    tooltip = [
        told("pair", "pair"), told("before", axis.titled(before)), told("after", axis.titled(after)),
        told("change", "change (%)"),
    ]  # fmt: skip
    joined = {
        "mark": {"type": "rule", "strokeWidth": 1.25, "opacity": 0.6}, "transform": [known("before"), known("after")],
        "encoding": {"x": x, "y": {**y, "field": "before"}, "y2": {"field": "after"}, "tooltip": tooltip},
    }  # fmt: skip
    medians: list[Spec] = [
        {
            "mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1, "opacity": 0.8, "tooltip": None},
            "encoding": {"x": x, "y": {**y, "field": field}, "color": _colour(name, scale)},
        }
        for field, name in (("beforemedian", before), ("aftermedian", after))
    ]
    dots: list[Spec] = [
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1}, "transform": [known(field)],
            "encoding": {"x": x, "y": {**y, "field": field}, "color": _colour(name, scale), "tooltip": tooltip},
        }
        for field, name in (("before", before), ("after", after))
    ]  # fmt: skip
    return [joined, *medians, *dots]


def _colour(name: str, scale: Spec) -> Spec:
    return {"datum": name, "type": "nominal", "scale": scale, "legend": {"title": None, "symbolType": "circle"}}


def _change_pct(before: float, after: float) -> float | None:
    return round(100 * (after / before - 1), 3) if before else None


def _summary(axis: Axis, before: Side, after: Side) -> str:
    if not before.values:
        return "no values"
    unit = f" {axis.unit}" if axis.unit else ""
    middles = axis.shown([median(before.values), median(after.values)])
    higher = sum(b > a for a, b in zip(before.values, after.values, strict=True))
    return (
        f"{len(before.values)} pairs: median {middles[0]:,}{unit} of {before.name}, {middles[1]:,}{unit} of "
        f"{after.name}; {after.name} is higher in {higher} of them"
    )
