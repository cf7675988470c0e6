"""Documents of reports that have every kind of block, with texts that a test chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from perfcheck.report.document import (
    Badge,
    Bullets,
    Cell,
    Chain,
    Chart,
    Code,
    Document,
    Evidence,
    Facts,
    Figures,
    Fold,
    Paragraph,
    Section,
    Table,
    Tone,
)

Texts = Callable[[str], str]
"""Return the text that stands in for the usual one."""
ROWS: Final = {"name": "rows"}
SECONDS: Final = 60


def as_it_is(usual: str) -> str:
    """Return the usual text."""
    return usual


def document(text: Texts = as_it_is) -> Document:
    """Return a document with every kind of block; all its texts go through `text`."""
    return Document(
        title=text("wan against its baseline"),
        subtitle=text("6f1c2d on Debian 12"),
        badge=Badge(text=text("1 REGRESSION"), tone=Tone.BAD),
        lead=(
            Paragraph(text=text("Round trips take longer than before."), tone=Tone.BAD),
            Bullets(items=(text("Raise net.ipv4.tcp_rmem."), text("Measure again."))),
            Facts(pairs=((text("machine"), text("6.12, 2 CPUs")), (text("trials"), text("5 of 10 s")))),
        ),
        sections=(
            Section(anchor="verdicts", title=text("Verdicts"), blocks=(_table(text), *_notes(text))),
            Section(
                anchor="wan", title=text("wan"), badge=Badge(text=text("REGRESSION"), tone=Tone.BAD),
                sections=(
                    Section(anchor="wan-time", title=text("Over time"), blocks=(Figures(charts=(course(text),)),)),
                    Section(anchor="wan-why", title=text("Why"), blocks=_why(text)),
                ),
            ),
        ),
        footer=text("Made by perfcheck."),
    )  # fmt: skip


def _table(text: Texts) -> Table:
    return Table(
        caption=text("What changed"), numeric=frozenset({1, 2}),
        headings=(text("metric"), text("now"), text("change"), text("verdict")),
        rows=tuple(
            (Cell(text=text(f"tcp.rtt_us.p{50 + row}"), anchor="course"), Cell(text=text("38.2 ms")),
             Cell(text=text("+78.5 %"), tone=Tone.BAD), Cell(text=text("REGRESSION"), tone=tone))
            for row, tone in enumerate(Tone)
        ),
    )  # fmt: skip


def _notes(text: Texts) -> tuple[Paragraph | Bullets, ...]:
    return (*(Paragraph(text=text(f"This is {tone.value}."), tone=tone) for tone in Tone),
            Bullets(items=(text("The machine differs."),), tone=Tone.WARNING))  # fmt: skip


def _why(text: Texts) -> tuple[Any, ...]:
    return (
        Chain(
            states=(text("CPU contention"), text("softirq delay"), text("queue overflow"), text("loss")),
            lags=(text("12 ms"), "", text("1 RTT")), caption=text("From cause to symptom"),
        ),
        Evidence(speaks_for=(text("The window was full."),), speaks_against=(text("3 segments were lost."),)),
        Evidence(speaks_for=(text("Nothing speaks against this."),)),
        Figures(charts=(distribution(text), causes(text))),
        Code(text=text("perfcheck run wan.yaml --repeat 5"), copied=True),
        Fold(summary=text("Raw record"), blocks=(Code(text=text('{"schema": 1}')), Figures(charts=(points(text),)))),
    )  # fmt: skip


def course(text: Texts = as_it_is, seconds: int = SECONDS) -> Chart:
    """Return two flows over time, with a phase behind them."""
    names = [text("flow a"), text("flow b")]
    rows = [(t, name, 20 + 5 * at + 4 * math.sin(t / 5)) for at, name in enumerate(names) for t in range(seconds)]
    encoding = {"x": _field("t", "time (s)"), "y": _field("rtt", text("RTT (ms)"))}
    return Chart(
        name="course", title=text("RTT of each flow"), summary=text("The flows are 5 ms apart."),
        spec={
            "data": ROWS, "height": 200,
            "layer": [
                {"mark": {"type": "rect", "opacity": 0.1}, "transform": [{"filter": "datum.t == 20"}],
                 "encoding": {"x": {"field": "t", "type": "quantitative"}, "x2": {"datum": 40},
                              "tooltip": [{"field": "flow", "type": "nominal", "title": "phase"}]}},
                {"mark": "line", "encoding": {
                    **encoding, "color": {"field": "flow", "type": "nominal", "title": None},
                    "tooltip": [_shown("t", "time (s)", "d"), {"field": "flow", "type": "nominal", "title": "flow"},
                                _shown("rtt", "RTT (ms)", ".4~f")]}},
            ],
        },
        columns={"t": [row[0] for row in rows], "flow": [row[1] for row in rows], "rtt": [row[2] for row in rows]},
    )  # fmt: skip


def distribution(text: Texts = as_it_is) -> Chart:
    """Return the distributions of two runs on a logarithmic axis."""
    runs = (text("now"), text("baseline"))
    rows = [(math.exp(at / 20 + run / 5), (at + 1) / 40, name) for run, name in enumerate(runs) for at in range(40)]
    return Chart(
        name="distribution", title=text("Latency of requests"), summary=text("The median rose by 22 %."),
        spec={
            "data": ROWS, "mark": {"type": "line", "interpolate": "step-after"}, "height": 160,
            "encoding": {
                "x": {**_field("ms", "latency (ms)"), "scale": {"type": "log"}}, "y": _field("share", "share"),
                "color": {"field": "run", "type": "nominal", "title": None},
                "tooltip": [{"field": "run", "title": "run"}, _shown("ms", "latency (ms)", ".3~f")],
            },
        },
        columns=dict(zip(("ms", "share", "run"), map(list, zip(*rows, strict=True)), strict=True)),
    )  # fmt: skip


def causes(text: Texts = as_it_is) -> Chart:
    """Return bars by name."""
    return Chart(
        name="causes", title=text("Causes"), summary=text("The receive window has 71 %."),
        spec={
            "data": ROWS, "mark": "bar",
            "encoding": {"y": {"field": "cause", "type": "nominal", "title": None, "sort": None},
                         "x": _field("share", "probability"),
                         "tooltip": [{"field": "cause", "title": "cause"}, _shown("share", "probability", ".0%")]},
        },
        columns={"cause": [text("receive window"), text("bandwidth")], "share": [0.71, 0.29]},
    )  # fmt: skip


def points(text: Texts = as_it_is) -> Chart:
    """Return single points, of which one is not known."""
    return Chart(
        name="points", title=text("Runs"), summary=text("There were three runs."),
        spec={
            "data": ROWS, "mark": "point", "height": 120,
            "encoding": {"x": _field("run", "run"), "y": _field("value", text("value")),
                         "tooltip": [{"field": "name", "title": "run"}, _shown("value", "value", ".2f")]},
        },
        columns={"run": [1, 2, 3], "value": [1.5, None, 2.5], "name": [text("r1"), text("r2"), text("r3")]},
    )  # fmt: skip


def _field(name: str, title: str) -> dict[str, Any]:
    return {"field": name, "type": "quantitative", "title": title}


def _shown(name: str, title: str, form: str) -> dict[str, Any]:
    return {**_field(name, title), "format": form}
