"""What lasted from when to when: a row for each kind, a bar for each time that it was so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.model.units import plain_number
from perfcheck.report.charts.axis import Spec, layered, rounded, seconds, told, zoomed
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Chart, Tone
from perfcheck.report.theme import TONES

ROW: Final = 24
LEAST_SHARE: Final = 0.004
"""Of the whole time: a shorter bar would not be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One bar; `word` says what kind of end it had."""

    kind: str
    begin_s: float
    end_s: float
    word: str
    tone: Tone
    detail: str = ""


def spans(labels: Labels, found: Sequence[Span], *, whole_s: tuple[float, float]) -> Chart:
    """Return the chart, over the whole time from and to."""
    least = LEAST_SHARE * (whole_s[1] - whole_s[0])
    columns: dict[str, list[float | int | str | None]] = {
        "kind": [one.kind for one in found], "begin": [rounded(one.begin_s) for one in found],
        "end": [rounded(one.end_s) for one in found], "word": [one.word for one in found],
        "drawn": [rounded(max(one.end_s, one.begin_s + least)) for one in found],
        "detail": [one.detail for one in found],
    }  # fmt: skip
    kinds = list(dict.fromkeys(one.kind for one in found))
    tones = {one.word: one.tone for one in found}
    return Chart(
        name=labels.name, title=labels.title, summary=labels.summary or _summary(found),
        spec=layered([_bars(kinds, tones, whole_s)], height=ROW * max(len(kinds), 1)), columns=columns,
    )  # fmt: skip


def _bars(kinds: Sequence[str], tones: dict[str, Tone], whole_s: tuple[float, float]) -> Spec:
    x = seconds("begin")
    x["scale"] = {**x["scale"], "domain": list(map(rounded, whole_s))}
    return {
        "params": [zoomed()],
        "mark": {"type": "bar", "height": {"band": 0.6}, "clip": True, "opacity": 0.8},
        "encoding": {
            "x": x, "x2": {"field": "drawn"},
            "y": {"field": "kind", "type": "nominal", "sort": list(kinds),
                  "axis": {"title": None, "labelLimit": 180, "grid": True}},
            "color": {
                "field": "word", "type": "nominal",
                "scale": {"domain": list(tones), "range": [TONES[tone] for tone in tones.values()]},
                "legend": {"title": None},
            },
            "tooltip": [
                told("kind", "what", text=True), told("begin", "from (s)"), told("end", "to (s)"),
                told("word", "state", text=True), told("detail", "says", text=True),
            ],
        },
    }  # fmt: skip


def _summary(found: Sequence[Span]) -> str:
    return (
        "; ".join(f"{one.kind} from {plain_number(one.begin_s)} to {plain_number(one.end_s)} s" for one in found[:20])
        or "none"
    )
