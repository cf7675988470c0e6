"""A metric's history: a dot a run, its levels, the limits of the runs before, and cumulative sums of the last level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from perfcheck.compare.outlook import Outlook
from perfcheck.compare.trends import CUSUM_LIMIT, SIGMAS, WINDOW, Excursion
from perfcheck.report.charts.axis import Axis, Spec, known, layered, rounded, told, zoomed
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart
from perfcheck.report.theme import paint

HEIGHT: Final = 280
SUMS_HEIGHT: Final = 130
MOST_DOTS: Final = 2_000
"""Longer histories are drawn by every so manieth run; what was found rests on all of them."""
RUN: Final = "run"
BEYOND: Final = "beyond 3 sigma"
LEVEL: Final = "level"
BAND: Final = "rolling mean and 3 sigma"
CHANGE: Final = "change of level"
_COLOURS: Final = {
    RUN: paint("series-1"), BEYOND: paint("bad"), LEVEL: paint("ink"), BAND: paint("series-6"),
    CHANGE: paint("warning"),
}  # fmt: skip
_MARGIN: Final = 0.3
_SPAN: Final = 0.05
"""Room about the runs, as a share of their range, and of the value where all are alike."""
_LIMIT: Final = "limit"
_ABOVE: Final = "above the last level"
_BELOW: Final = "below the last level"

Column = list[float | int | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What is to be told of each run beside its value: `when` it was, and its `name`."""

    when: Sequence[str]
    name: Sequence[str]


def history(labels: Labels, outlook: Outlook, runs: Runs) -> Chart:
    """Return the chart of the values of all runs, oldest first."""
    axis = Axis.of(labels.quantity, labels.unit, outlook.values.tolist())
    places = drawn(outlook)
    beyond = {index for each in outlook.excursions for index in news(each)}
    limits, reach = outlook.limits, SIGMAS * outlook.limits.deviation
    level_of = np.searchsorted([level.first for level in outlook.levels], np.arange(len(outlook.values)), side="right")
    changed = {change.index for change in outlook.changes}
    columns: dict[str, Column] = {
        "run": [place + 1 for place in places], "when": [runs.when[place] for place in places],
        "name": [runs.name[place] for place in places], "value": [*axis.shown(outlook.values[places].tolist())],
        "kind": [BEYOND if place in beyond else RUN for place in places],
        "level": [*axis.shown([outlook.levels[int(level_of[place]) - 1].value for place in places])],
        "number": [int(level_of[place]) for place in places],
        "mean": [*axis.shown(limits.mean[places].tolist())],
        "low": [*axis.shown((limits.mean - reach)[places].tolist())],
        "high": [*axis.shown((limits.mean + reach)[places].tolist())],
        "change": [place + 0.5 if place in changed else None for place in places],
    }  # fmt: skip
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary,
        spec=layered(
            _value_layers(
                axis, runs, _drawn_names(outlook, columns), list(map(rounded, _ends_of(outlook, axis.divisor)))
            ),
            height=HEIGHT,
        ),
        columns=columns,
    )  # fmt: skip


def sums(labels: Labels, outlook: Outlook, runs: Runs) -> Chart | None:
    """Return the cumulative sums over the last level, on the same axis of runs; None where it has too few runs."""
    if len(outlook.upper) <= WINDOW:
        return None
    first, last = outlook.levels[-1].first, len(outlook.values)
    places = [place for place in drawn(outlook) if place >= first]
    columns: dict[str, Column] = {
        "run": [place + 1 for place in places], "when": [runs.when[place] for place in places],
        "upper": [rounded(float(outlook.upper[place - first])) for place in places],
        "lower": [rounded(float(outlook.lower[place - first])) for place in places],
        "limit": [CUSUM_LIMIT] * len(places),
    }  # fmt: skip
    highest = max(2 * CUSUM_LIMIT, float(outlook.upper.max()), float(outlook.lower.max()))
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary,
        spec=layered(_sums_layers(last, rounded(highest)), height=SUMS_HEIGHT), columns=columns,
    )  # fmt: skip


def drawn(outlook: Outlook) -> list[int]:
    """Return which runs are drawn: all of a short history, else the ends of its levels and others evenly between."""
    count = len(outlook.values)
    if count <= MOST_DOTS:
        return list(range(count))
    ends = _ends(outlook)[:MOST_DOTS]
    return sorted({*ends, *np.linspace(0, count - 1, MOST_DOTS - len(ends)).round().astype(int).tolist()})


def news(excursion: Excursion) -> range:
    """Return the runs to point out: all of a burst, and of a shift those before its level was the usual one."""
    last = min(excursion.last, excursion.first + WINDOW - 1) if excursion.lasting else excursion.last
    return range(excursion.first, last + 1)


def _drawn_names(outlook: Outlook, columns: Mapping[str, Column]) -> list[str]:
    """Return what the legend names: that of which there is any."""
    there = {
        RUN: True, BEYOND: BEYOND in columns["kind"], LEVEL: True,
        BAND: any(each is not None for each in columns["mean"]), CHANGE: bool(outlook.changes),
    }  # fmt: skip
    return [name for name, is_there in there.items() if is_there]


def _ends_of(outlook: Outlook, divisor: float) -> tuple[float, float]:
    """Return the ends of the axis of values: about all runs, however wide the limits are after a change."""
    low, high = float(outlook.values.min()), float(outlook.values.max())
    margin = _MARGIN * (high - low) or _SPAN * abs(high) or 1.0
    return (low - margin) / divisor, (high + margin) / divisor


def _ends(outlook: Outlook) -> list[int]:
    return sorted({end for level in outlook.levels for end in (level.first, level.last)})


def _value_layers(
    axis: Axis, runs: Runs, names: Sequence[str], ends: Sequence[float | int | None]
) -> list[Spec]:  # fmt: skip
    x = _runs_axis(runs)
    y = {"type": "quantitative", "axis": {"title": axis.upright}, "scale": {"domain": list(ends), "nice": False}}
    reach = {
        "mark": {"type": "area", "fillOpacity": 0.2, "clip": True, "tooltip": None}, "transform": [known("mean")],
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": _colour(BAND, names)},
    }  # fmt: skip
    mean: Spec = {
        "mark": {"type": "line", "opacity": 0.6, "strokeWidth": 1, "clip": True, "tooltip": None},
        "transform": [known("mean")],
        "encoding": {"x": x, "y": {**y, "field": "mean"}, "color": _colour(BAND, names)},
    }
    level = {
        "mark": {"type": "line", "strokeWidth": 2, "clip": True, "tooltip": None},
        "encoding": {
            "x": x, "y": {**y, "field": "level"}, "detail": {"field": "number", "type": "nominal"},
            "color": _colour(LEVEL, names),
        },
    }  # fmt: skip
    change = {
        "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5, "clip": True, "tooltip": None},
        "transform": [known("change")],
        "encoding": {"x": {**x, "field": "change"}, "color": _colour(CHANGE, names)},
    }  # fmt: skip
    dots = {
        "params": [zoomed()],
        "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1, "clip": True},
        "encoding": {
            "x": x, "y": {**y, "field": "value"},
            "color": {"field": "kind", "type": "nominal", "scale": _scale(names), "legend": {"title": None}},
            "tooltip": [
                told("name", "run", text=True), told("when", "of", text=True), told("value", axis.titled("value")),
                told("level", axis.titled("level")), told("kind", "is", text=True),
            ],
        },
    }  # fmt: skip
    return [*([reach, mean] if BAND in names else []), level, *([change] if CHANGE in names else []), dots]


def _sums_layers(runs: int, highest: float | int | None) -> list[Spec]:
    x = {"field": "run", "type": "quantitative", "axis": {"title": "run", "format": "d", "grid": False},
         "scale": {"domain": [0.5, runs + 0.5], "nice": False}}  # fmt: skip
    y = {"type": "quantitative", "axis": {"title": "sum (sigma)"}, "scale": {"domain": [0, highest]}}
    scale = {"domain": [_ABOVE, _BELOW, _LIMIT], "range": [_COLOURS[RUN], _COLOURS[CHANGE], _COLOURS[BEYOND]]}
    curves: list[Spec] = [
        {
            "mark": {"type": "line", "strokeWidth": 1.75, "clip": True, "tooltip": None},
            "encoding": {
                "x": x, "y": {**y, "field": field},
                "color": {"datum": name, "type": "nominal", "scale": scale, "legend": {"title": None}},
            },
        }
        for field, name in (("upper", _ABOVE), ("lower", _BELOW))
    ]  # fmt: skip
    limit = {
        "mark": {"type": "line", "strokeDash": [2, 3], "clip": True, "tooltip": None},
        "encoding": {
            "x": x,
            "y": {**y, "field": "limit"},
            "color": {"datum": _LIMIT, "type": "nominal", "scale": scale, "legend": {"title": None}},
        },
    }
    hover = {
        "name": "hover",
        "select": {"type": "point", "encodings": ["x"], "nearest": True, "on": "pointermove", "clear": "pointerout"},
    }  # fmt: skip
    rule = {
        "params": [hover, zoomed()],
        "mark": {"type": "rule", "color": "gray", "clip": True},
        "encoding": {
            "x": x,
            "tooltip": [told("run", "run"), told("when", "of", text=True), told("upper", f"{_ABOVE} (sigma)"),
                        told("lower", f"{_BELOW} (sigma)"), told("limit", "limit (sigma)")],
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 0.8}, "value": 0},
        },
    }  # fmt: skip
    return [*curves, limit, rule]


def _runs_axis(runs: Runs) -> Spec:
    """Return the axis of runs side by side: they come in bunches, so that an axis of time would hide most of them."""
    count = len(runs.when)
    first, last = runs.when[0], runs.when[-1]
    # In two lines it has room under a chart that stands beside another one, or on a phone.
    title = f"run, of {first}" if count == 1 else [f"run, from {first}", f"to {last} (UTC)"]
    return {
        "field": "run", "type": "quantitative", "scale": {"domain": [0.5, count + 0.5], "nice": False},
        "axis": {"title": title, "format": "d", "grid": False, "tickMinStep": 1},
    }  # fmt: skip


def _colour(name: str, names: Sequence[str]) -> Spec:
    return {"datum": name, "type": "nominal", "scale": _scale(names), "legend": {"title": None}}


def _scale(names: Iterable[str]) -> Spec:
    domain = list(names)
    return {"domain": domain, "range": [_COLOURS[name] for name in domain]}
