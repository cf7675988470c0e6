"""Courses over time: a line a subject, the range of values about it, phases and events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from statistics import median
from typing import Any, Final

from perfcheck.report.charts.axis import Axis, Spec, coloured, known, layered, rounded, seconds, told, zoomed
from perfcheck.report.document import Chart

HEIGHT: Final = 220
_SHADE: Final = 0.1
_LEAST_NAMED: Final = 0.07
"""Share of the time that a phase needs for its name to have room."""
_BAND: Final = 0.22
_ROOM: Final = 1.06
"""Times the largest value: where the scale ends."""
_GAP: Final = 4
"""Times the usual distance of two values: further apart, a line breaks."""

_ENDS: Final = (("low", "smallest"), ("high", "largest"))

Column = list[float | int | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One subject's course: a mean for each moment of the chart; NaN where there is none.

    `low` and `high` are the smallest and the largest of the values that the mean is of, where it is of several.
    """

    name: str
    mean: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase of the scenario, in seconds."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The moments that all lines of a chart share, in seconds, with what is to be told of them.

    `events` has a text for each moment, "" for none.
    """

    t_s: Sequence[float]
    phases: Sequence[Phase] = ()
    events: Sequence[str] = ()

    def phase_at(self, t_s: float) -> str | None:
        """Return the name of the phase of a moment."""
        return next((one.name for one in self.phases if one.begin_s <= t_s < one.end_s), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a chart is called: `quantity` and `unit` (of the catalogue) are those of its values."""

    name: str
    title: str
    quantity: str
    unit: str
    summary: str = ""


def lines(labels: Labels, moments: Moments, series: Sequence[Line], *, colours: Sequence[str] = ()) -> Chart:
    """Return the chart; `colours` are names that keep their colours over several charts, those of `series` among them.

    A subject without a colour of its own is added to them.
    """
    axis = Axis.of(labels.quantity, labels.unit, chain.from_iterable(one.high or one.mean for one in series))
    names = [one.name for one in series]
    domain = list(dict.fromkeys([*colours, *names]))
    columns: dict[str, Column] = {"t": [rounded(moment) for moment in moments.t_s]}
    layers: list[Spec] = [*_phases(moments, columns)]
    y = {"type": "quantitative", "axis": {"title": axis.upright}, **_scale(axis, series)}
    for number, one in enumerate(series):
        layers += _line(axis, y, number, one, coloured(one.name, domain, legend=names), columns)
    if any(moments.events):
        columns["events"] = [text or None for text in moments.events]
        layers.append(_events())
    layers.append(_hover(axis, series, columns))
    _level(columns)
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(axis, series),
        spec=layered(layers, height=HEIGHT), columns=columns,
    )  # fmt: skip


def _scale(axis: Axis, series: Sequence[Line]) -> Spec:
    """Return a scale from 0 to a little more than the largest value, so that no line is at the edge."""
    values = [
        value for one in series for value in (*one.mean, *(one.low or ()), *(one.high or ())) if math.isfinite(value)
    ]
    largest = axis.shown([_ROOM * max(values, default=0.0)])[0]
    return {} if min(values, default=0.0) < 0 else {"scale": {"domain": [0, largest or 1], "nice": False}}


def _line(axis: Axis, y: Spec, number: int, one: Line, colour: Spec, columns: dict[str, Column]) -> list[Spec]:
    mean, gap = f"mean{number}", f"gap{number}"
    columns[mean] = [*axis.shown(one.mean)]
    gaps = _gaps(columns[mean])
    transform = [known(mean)]
    if any(gaps):
        columns[gap] = [*gaps]
        transform = [{"filter": f"isValid(datum.{mean}) || datum.{gap} === 1"}]
    layers: list[Spec] = []
    if one.low is not None and one.high is not None:
        low, high = f"low{number}", f"high{number}"
        columns[low], columns[high] = [*axis.shown(one.low)], [*axis.shown(one.high)]
        layers.append({
            "mark": {"type": "area", "opacity": 1, "fillOpacity": _BAND, "clip": True, "tooltip": None},
            "transform": transform,
            "encoding": {"x": seconds(), "y": {**y, "field": low}, "y2": {"field": high}, "color": colour},
        })  # fmt: skip
    layers.append({
        "mark": {"type": "line", "clip": True, "strokeWidth": 1.75, "tooltip": None},
        "transform": transform,
        "encoding": {"x": seconds(), "y": {**y, "field": mean}, "color": colour},
    })  # fmt: skip
    return layers


def _gaps(column: Column) -> list[int | None]:
    """Return 1 where a line must break: within what is missing for much longer than values are usually apart."""
    there = [place for place, value in enumerate(column) if value is not None]
    steps = [after - before for before, after in pairwise(there)]
    found: list[int | None] = [None] * len(column)
    if steps:
        usual = median(steps)
        for before, step in zip(there, steps, strict=False):
            if step > _GAP * usual:
                found[before + 1] = 1
    return found


def _phases(moments: Moments, columns: dict[str, Column]) -> list[Spec]:
    """Return a band for every other phase, a rule where each begins, and its name."""
    if not moments.phases:
        return []
    columns["phase"] = [moments.phase_at(moment) for moment in moments.t_s]
    span_s = max(one.end_s for one in moments.phases) - min([*moments.t_s, *(one.begin_s for one in moments.phases)])
    columns["from"] = [rounded(one.begin_s) for one in moments.phases]
    columns["to"] = [rounded(one.end_s) for one in moments.phases]
    columns["shade"] = [_SHADE if number % 2 else 0 for number in range(len(moments.phases))]
    columns["named"] = [
        one.name if one.end_s - one.begin_s >= _LEAST_NAMED * span_s else "" for one in moments.phases
    ]  # fmt: skip
    x, transform = seconds("from"), [known("from")]
    return [
        {
            "mark": {"type": "rect", "color": "gray", "clip": True, "tooltip": None}, "transform": transform,
            "encoding": {
                "x": x, "x2": {"field": "to"},
                "opacity": {"field": "shade", "type": "quantitative", "scale": None, "legend": None},
            },
        },
        {
            "mark": {"type": "rule", "color": "gray", "strokeDash": [3, 3], "clip": True, "tooltip": None},
            "transform": transform, "encoding": {"x": x},
        },
        {
            "mark": {
                "type": "text", "align": "left", "baseline": "bottom", "dx": 2, "dy": -3, "clip": False,
                "tooltip": None,
            },
            "transform": transform,
            "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "named", "type": "nominal"}},
        },
    ]  # fmt: skip


def _events() -> Spec:
    return {
        "mark": {
            "type": "point", "shape": "triangle-up", "size": 32, "filled": True, "opacity": 1, "color": "#d1495b",
            "clip": True, "yOffset": -5, "tooltip": None,
        },
        "transform": [{"filter": "datum.events !== null"}],
        "encoding": {"x": seconds(), "y": {"value": "height"}},
    }  # fmt: skip


def _hover(axis: Axis, series: Sequence[Line], columns: Mapping[str, Any]) -> Spec:
    """Return the rule that follows the pointer and tells all values of the nearest moment."""
    tooltip = [told("t", "time (s)")]
    if "phase" in columns:
        tooltip.append(told("phase", "phase", text=True))
    for number, one in enumerate(series):
        tooltip.append(told(f"mean{number}", axis.titled(one.name)))
        if one.low is not None:
            tooltip += [told(f"{end}{number}", axis.titled(f"{one.name}, {word}")) for end, word in _ENDS]
    if "events" in columns:
        tooltip.append(told("events", "events", text=True))
    hover = {
        "name": "hover",
        "select": {"type": "point", "encodings": ["x"], "nearest": True, "on": "pointermove", "clear": "pointerout"},
    }  # fmt: skip
    return {
        "params": [hover, zoomed()],
        "mark": {"type": "rule", "color": "gray", "clip": True},
        "transform": [known("t")],
        "encoding": {
            "x": seconds(), "tooltip": tooltip,
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 0.8}, "value": 0},
        },
    }  # fmt: skip


def _level(columns: dict[str, Column]) -> None:
    """Make all columns as long as the longest."""
    longest = max(len(column) for column in columns.values())
    for column in columns.values():
        column.extend([None] * (longest - len(column)))


def _summary(axis: Axis, series: Sequence[Line]) -> str:
    """Return each line's range in words."""
    return "; ".join(_range(axis, one) for one in series) or "no values"


def _range(axis: Axis, one: Line) -> str:
    highest = [value for value in one.high or one.mean if math.isfinite(value)]
    lowest = [value for value in one.low or one.mean if math.isfinite(value)]
    if not highest or not lowest:
        return f"{one.name}: no values"
    return f"{one.name}: {axis.text(min(lowest), max(highest))}"
