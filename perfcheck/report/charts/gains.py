"""What grew and what shrank: bars to either side of nothing, largest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.model.units import plain_number
from perfcheck.report.charts.axis import Spec, layered, rounded, told
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart
from perfcheck.report.theme import paint

ROW: Final = 22
GREW: Final = "grew"
SHRANK: Final = "shrank"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One thing's figure before and after, and what it moves by without any change."""

    name: str
    before: float
    after: float
    noise: float = 0.0


def gains(labels: Labels, found: Sequence[Gain]) -> Chart:
    """Return the chart, in the order given."""
    columns: dict[str, list[float | int | str | None]] = {
        "name": [one.name for one in found], "before": [rounded(one.before) for one in found],
        "after": [rounded(one.after) for one in found], "change": [rounded(one.after - one.before) for one in found],
        "noise": [rounded(one.noise) for one in found],
        "way": [GREW if one.after > one.before else SHRANK for one in found],
    }  # fmt: skip
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(found),
        spec=layered([_bars(labels, [one.name for one in found])], height=ROW * max(len(found), 1)), columns=columns,
    )  # fmt: skip


def _bars(labels: Labels, names: Sequence[str]) -> Spec:
    return {
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "x": {"field": "change", "type": "quantitative", "axis": {"title": f"{labels.quantity}, change",
                                                                      "grid": True}},
            "y": {"field": "name", "type": "nominal", "sort": list(names),
                  "axis": {"title": None, "labelLimit": 260}},
            "color": {
                "field": "way", "type": "nominal",
                "scale": {"domain": [GREW, SHRANK], "range": [paint("bad"), paint("good")]}, "legend": {"title": None},
            },
            "tooltip": [
                told("name", "function", text=True), told("before", "A"), told("after", "B"), told("change", "change"),
                told("noise", "noise"),
            ],
        },
    }  # fmt: skip


def _summary(found: Sequence[Gain]) -> str:
    return (
        "; ".join(
            f"{one.name}: {'+' * (one.after > one.before)}{plain_number(one.after - one.before, grouped=True)}"
            for one in found
        )
        or "nothing moved"
    )
