"""Changes of several metrics in per cent, each with its interval and with the margin within which it does not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.output.rows import interval_text, signed_pct
from perfcheck.report.charts.axis import Spec, known, layered, rounded, told
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart, Tone
from perfcheck.report.theme import TONES, paint

ROW: Final = 26
"""Pixels of height of a metric."""
LEAST_REACH_PCT: Final = 2.0
_MOST_REACH: Final = 6.0
"""Times the largest margin: what reaches further does not make all others too small to be seen."""
_FAR_PCT: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One metric's change; `detail` is the line of its values, `word` its verdict."""

    metric: str
    group: str
    change_pct: float | None
    interval_pct: tuple[float, float] | None
    margin_pct: float | None
    word: str
    tone: Tone
    detail: str = ""


def forest(labels: Labels, changes: Sequence[Change]) -> Chart:
    """Return the chart: a row a metric, in the order given; what reaches beyond the axis ends there, and is said."""
    low, high = _reach(changes)
    columns: dict[str, list[float | int | str | None]] = {name: [] for name in _COLUMNS}
    for one in changes:
        ends = one.interval_pct or (None, None)
        margin = one.margin_pct
        row: dict[str, float | int | str | None] = {
            "metric": one.metric, "group": one.group, "verdict": one.word, "detail": one.detail,
            "change": _rounded(one.change_pct), "low": _rounded(ends[0]), "high": _rounded(ends[1]),
            "worse": None if margin is None else _within(-margin, low, high),
            "better": None if margin is None else _within(margin, low, high),
            "at": _within(one.change_pct, low, high),
            "from": _within(ends[0], low, high), "to": _within(ends[1], low, high),
            "margin": _rounded(margin), "cut": _cut(one, low, high),
        }  # fmt: skip
        for name, value in row.items():
            columns[name].append(value)
    tones = {one.word: one.tone for one in changes}
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or "; ".join(map(_words, changes)),
        spec=layered(
            _layers([one.metric for one in changes], tones, (low, high)), height=ROW * max(len(changes), 1)
        ),
        columns=columns,
    )  # fmt: skip


_COLUMNS: Final = (
    "metric", "group", "verdict", "detail", "change", "low", "high", "worse", "better", "at", "from", "to", "margin",
    "cut",
)  # fmt: skip


def _reach(changes: Sequence[Change]) -> tuple[float, float]:
    """Return the ends of the axis: all intervals, but none so far that the margins would vanish."""
    margins = [one.margin_pct for one in changes if one.margin_pct is not None]
    ends = [end for one in changes for end in (*(one.interval_pct or ()), one.change_pct) if end is not None]
    most = max(_MOST_REACH * max(margins, default=LEAST_REACH_PCT), _FAR_PCT)
    least = max([LEAST_REACH_PCT, *margins])
    low = min([-1.2 * least, *(1.08 * end for end in ends)])
    high = max([1.2 * least, *(1.08 * end for end in ends)])
    return max(low, -most), min(high, most)


def _within(value: float | None, low: float, high: float) -> float | int | None:
    return None if value is None else rounded(min(max(value, low), high))


def _rounded(value: float | None) -> float | int | None:
    return None if value is None else rounded(value)


def _cut(one: Change, low: float, high: float) -> str | None:
    """Return an arrow where a change lies beyond the axis."""
    if one.change_pct is None or low <= one.change_pct <= high:
        return None
    return f"{one.change_pct:+.0f} % ▸" if one.change_pct > high else f"◂ {one.change_pct:+.0f} %"


def _layers(metrics: Sequence[str], tones: dict[str, Tone], ends: tuple[float, float]) -> list[Spec]:
    y = {
        "field": "metric", "type": "nominal", "sort": list(metrics),
        "axis": {"title": None, "labelLimit": 220, "grid": False, "ticks": False, "domain": False},
    }  # fmt: skip
    colour = {
        "field": "verdict", "type": "nominal",
        "scale": {"domain": list(tones), "range": [TONES[tone] for tone in tones.values()]},
        "legend": {"title": None},
    }  # fmt: skip
    tooltip = [
        told("metric", "metric", text=True), told("verdict", "verdict", text=True), told("change", "change (%)"),
        told("low", "interval from (%)"), told("high", "interval to (%)"), told("margin", "margin (%)"),
        told("detail", "values", text=True),
    ]  # fmt: skip

    def x(field: str) -> Spec:
        return {
            "field": field, "type": "quantitative", "scale": {"domain": list(map(rounded, ends)), "nice": False},
            "axis": {"title": "change (%)", "grid": True},
        }  # fmt: skip

    margin = {
        "mark": {"type": "bar", "height": ROW - 6, "color": paint("neutral"), "fillOpacity": 0.2, "tooltip": None},
        "transform": [known("margin")],
        "encoding": {"x": x("worse"), "x2": {"field": "better"}, "y": y},
    }
    zero = {
        "mark": {"type": "rule", "color": paint("edge"), "strokeWidth": 1, "tooltip": None},
        "encoding": {"x": {"datum": 0, "type": "quantitative"}},
    }
    interval = {
        "mark": {"type": "rule", "strokeWidth": 2.5},
        "transform": [known("from")],
        "encoding": {"x": x("from"), "x2": {"field": "to"}, "y": y, "color": colour, "tooltip": tooltip},
    }
    change = {
        "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 90, "opacity": 1},
        "transform": [known("at")],
        "encoding": {"x": x("at"), "y": y, "color": colour, "tooltip": tooltip},
    }
    cut = [
        {
            "mark": {"type": "text", "align": align, "dx": -9 if align == "right" else 9, "fontSize": 10,
                     "tooltip": None},
            "transform": [{"filter": f"datum.cut !== null && datum.at {sign} 0"}],
            "encoding": {"x": x("at"), "y": y, "text": {"field": "cut", "type": "nominal"}},
        }
        for align, sign in (("right", ">"), ("left", "<"))
    ]  # fmt: skip
    return [margin, zero, interval, change, *cut]


def _words(one: Change) -> str:
    if one.change_pct is None:
        return f"{one.metric}: {one.word}, no change in per cent"
    interval = "" if one.interval_pct is None else f" ({interval_text(one.interval_pct, one.margin_pct)})"
    return f"{one.metric}: {signed_pct(one.change_pct, one.margin_pct)}{interval}, {one.word}"
