"""Shares of a whole: as bars of subjects beside one another, and over time as areas on one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.model.units import readable_pct
from perfcheck.report.charts.axis import Spec, known, layered, rounded, seconds, told
from perfcheck.report.charts.lines import Labels, Moments
from perfcheck.report.document import Chart

HEIGHT: Final = 160
ROW: Final = 30
"""Pixels of height of a bar."""
_LEAST: Final = 0.05
"""Per cent: what is smaller is no bar that can be seen."""


def bars(labels: Labels, shares: Mapping[str, Mapping[str, float]]) -> Chart:
    """Return a bar for each subject, in parts: shares in per cent by what they are of, by subject."""
    columns: dict[str, list[float | int | str | None]] = {"subject": [], "part": [], "share": []}
    for subject, parts in shares.items():
        for part, share in parts.items():
            if share >= _LEAST:
                columns["subject"].append(subject)
                columns["part"].append(part)
                columns["share"].append(rounded(share))
    drawn = set(columns["part"])
    order = [part for part in dict.fromkeys(part for parts in shares.values() for part in parts) if part in drawn]
    mark = {"type": "bar", "height": {"band": 0.7}}
    encoding = {
        "x": {
            "field": "share", "type": "quantitative", "stack": "zero", "scale": {"domain": [0, 100], "clamp": True},
            "axis": {"title": f"{labels.quantity} (%)", "values": [0, 25, 50, 75, 100]},
        },
        "y": {"field": "subject", "type": "nominal", "sort": list(shares), "axis": {"title": None, "labelLimit": 160}},
        "color": _parts(order),
        "tooltip": [
            told("subject", "subject", text=True), told("part", "what", text=True), told("share", "share (%)"),
        ],
    }  # fmt: skip
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(shares),
        spec=layered([{"mark": mark, "encoding": encoding}], height=ROW * max(len(shares), 1)), columns=columns,
    )  # fmt: skip


def areas(labels: Labels, moments: Moments, shares: Mapping[str, Sequence[float]]) -> Chart:
    """Return areas on one another over time: for each moment the shares in per cent, by what they are of."""
    columns: dict[str, list[float | int | str | None]] = {"t": [], "part": [], "share": []}
    for part, values in shares.items():
        for t_s, value in zip(moments.t_s, values, strict=True):
            share = rounded(value)
            if share is not None:
                columns["t"].append(rounded(t_s))
                columns["part"].append(part)
                columns["share"].append(share)
    mark = {
        "type": "area",
        "interpolate": "step-after",
        "clip": True,
        "line": False,
        "opacity": 1,
        "fillOpacity": 0.9,
        "tooltip": None,
    }
    y = {
        "field": "share", "type": "quantitative", "stack": "zero",
        "axis": {"title": f"{labels.quantity} (%)", "values": [0, 25, 50, 75, 100]}, "scale": {"domain": [0, 100]},
    }  # fmt: skip
    near = {
        "params": [{
            "name": "hover",
            "select": {
                "type": "point", "fields": ["t", "part"], "nearest": True, "on": "pointermove",
                "clear": "pointerout",
            },
        }],
        "mark": {"type": "point", "opacity": 0, "clip": True}, "transform": [known("share")],
        "encoding": {
            "x": seconds(), "y": y, "color": _parts(list(shares)),
            "tooltip": [told("t", "time (s)"), told("part", "what", text=True), told("share", "share (%)")],
        },
    }  # fmt: skip
    area = {"mark": mark, "encoding": {"x": seconds(), "y": y, "color": _parts(list(shares))}}
    means = {part: [_mean(values)] for part, values in shares.items()}
    summary = ", ".join(
        f"{part} {readable_pct(mean[0], 3)} of the time" for part, mean in means.items() if mean[0] >= _LEAST
    )
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or summary or "no values",
        spec=layered([area, near], height=HEIGHT), columns=columns,
    )  # fmt: skip


def _parts(order: Sequence[str]) -> Spec:
    return {
        "field": "part", "type": "nominal", "scale": {"domain": list(order)}, "sort": list(order),
        "legend": {"title": None, "symbolType": "square", "symbolOpacity": 1},
    }  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    found = [value for value in values if rounded(value) is not None]
    return sum(found) / len(found) if found else 0.0


def _summary(shares: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(
        f"{subject}: "
        + (", ".join(f"{part} {readable_pct(share, 3)}" for part, share in parts.items() if share >= _LEAST) or "0")
        for subject, parts in shares.items()
    )
