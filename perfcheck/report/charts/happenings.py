"""What happened when: a row for each kind of event, a mark for each part of the time in which there was one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.report.charts.axis import layered, rounded, seconds, told, zoomed
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart

ROW: Final = 20
"""Pixels of height of a row."""


def happenings(
    labels: Labels, counts: Mapping[str, Sequence[tuple[float, int]]], *, span_s: tuple[float, float]
) -> Chart:
    """Return the chart: (time in seconds, how many) of each kind of event, over the time from and to."""
    columns: dict[str, list[float | int | str | None]] = {"kind": [], "t": [], "count": []}
    for kind, found in counts.items():
        for t_s, count in found:
            columns["kind"].append(kind)
            columns["t"].append(rounded(t_s))
            columns["count"].append(count)
    x = seconds()
    x["scale"] = {**x["scale"], "domain": [rounded(span_s[0]), rounded(span_s[1])]}
    layer = {
        "params": [zoomed()],
        "mark": {"type": "tick", "thickness": 2, "size": ROW * 0.7, "clip": True, "opacity": 0.8},
        "encoding": {
            "x": x,
            "y": {
                "field": "kind", "type": "nominal", "sort": list(counts),
                "axis": {"title": None, "labelLimit": 180, "grid": True},
            },
            "tooltip": [told("kind", "what", text=True), told("t", "time (s)"), told("count", "how many")],
        },
    }  # fmt: skip
    totals = "; ".join(f"{kind}: {sum(count for _, count in found):,}" for kind, found in counts.items())
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or totals or "none",
        spec=layered([layer], height=ROW * max(len(counts), 1)), columns=columns,
    )  # fmt: skip
