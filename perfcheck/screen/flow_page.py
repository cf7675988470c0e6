"""The page of one connection: its figures, what limits it, where its time goes, its past, and the diagnosis."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from perfcheck.live.bdp import Paths, verdict
from perfcheck.live.bottleneck import NAMES, shares_of
from perfcheck.live.bottleneck_advice import ADVICE
from perfcheck.live.connections import limits_of
from perfcheck.live.flow_names import flow_text, process_of
from perfcheck.live.history import Series
from perfcheck.live.rtt_split import Splits
from perfcheck.live.short_values import ABSENT, short
from perfcheck.model.flow_table import COUNTS, TOTALS, VALUES, FlowTable
from perfcheck.model.units import whole_pct
from perfcheck.screen.drawing import graph, stacked
from perfcheck.screen.frame import Frame, Judgement, Keys, series
from perfcheck.screen.framing import RTT
from perfcheck.screen.lines import EMPTY, Line, Span, padded, shown_text, wrapped_items
from perfcheck.screen.look import Look, Tone

LABEL: Final = 14
ROWS: Final = 3
"""Lines of a graph."""
_AXIS: Final = 9
_GRAPHS: Final = (
    ("RTT", RTT, "us", Tone.GRAPH), ("out, bit/s", "send_bps", "bps", Tone.GRAPH),
    ("in, bit/s", "receive_bps", "bps", Tone.GRAPH),
    ("cwnd, segs", "cwnd_segs", "count", Tone.GRAPH), ("retransmitted", "retrans_segs", "count", Tone.GRAPH_BAD),
)  # fmt: skip
_PARTS: Final = (
    ("network", "cwnd", "#", Tone.GRAPH), ("receive window", "rwnd", "r", Tone.GRAPH_WARN),
    ("send buffer", "sndbuf", "s", Tone.GRAPH_BAD), ("application", "app", ".", Tone.DIM),
)  # fmt: skip
"""Of the time, what set the pace: text, name in `Limits`, character and tone."""
_FACTS: Final = (
    ("busy", "busy"), ("receive window", "rwnd"), ("send buffer", "sndbuf"), ("retransmitted", "retransmitted"),
    ("ECN marks", "marked"), ("unread", "unread"), ("window used", "window_used"), ("cwnd in flight", "in_flight"),
    ("RTT beyond min", "queued"),
)  # fmt: skip
_LATEST: Final = 60
"""Intervals that sentences on the path and its queues are about."""
_FIXED: Final = {"us": "us", "bps": "bps", "bytes": "bytes"}


def flow_lines(frame: Frame, row: int, recent: Sequence[Frame], look: Look, width: int) -> list[Line]:
    """Return the page of a connection in a frame; `recent` are the frames up to it."""
    flows = frame.flows
    one = flows.where(np.array([row]))
    key = frame.keys[[row]]
    tables = [each.flows.where(rows[rows >= 0]) for each in recent if len(rows := each.rows_of(key)) and rows[0] >= 0]
    made = [EMPTY, *_identity(one, look, width), EMPTY, *_limits(frame, row, one, look, width), EMPTY]
    made += [*_sentences(tables[-_LATEST:], look, width), *_trend(recent, key, look, width), *_stages(frame, width)]
    made += [EMPTY, *_past(recent, key, look, width), EMPTY]
    made += [*_judgement(frame.judgement, look, width), *_events(frame, one, look, width)]
    return [*made, EMPTY, *_all_columns(one, width)]


def _identity(one: FlowTable, look: Look, width: int) -> Iterator[Line]:
    several = len(one.hosts) > 1
    items = [
        ("connection", flow_text(one.key(0), with_host=several)), ("process", process_of(one, 0)),
        ("congestion", one.text("congestion", 0) or ABSENT),
        ("opened by", "the far end" if one["passive"][0] else "this end"),
        ("state", "ended in this interval" if one["closed"][0] else "open"),
    ]  # fmt: skip
    spans = [((f"{name} ", Tone.LABEL), (shown_text(text, wide=look.wide), Tone.STRONG)) for name, text in items]
    return iter(wrapped_items(spans, width))


def _limits(frame: Frame, row: int, one: FlowTable, look: Look, width: int) -> Iterator[Line]:
    name = NAMES[frame.limits[row]]
    yield (padded("bottleneck", LABEL), Tone.LABEL), (f"{name} {whole_pct(frame.limit_pct[row])}", Tone.STRONG)
    if name in ADVICE:
        yield from _wrapped("", ADVICE[name], look, width)
    limits = limits_of(one)
    parts = [(text, float(getattr(limits, field)[0]), mark, tone) for text, field, mark, tone in _PARTS]
    if math.isnan(parts[0][1]):
        yield (padded("time", LABEL), Tone.LABEL), ("what set the pace was not measured in this interval", Tone.DIM)
    else:
        room = max(width - LABEL, 10)
        lengths = stacked([share for _, share, _, _ in parts], room)
        block = dict(zip(("#", "r", "s", "."), "█▓▒░", strict=True)) if look.wide else {}
        bar: list[Span] = [(padded("time", LABEL), Tone.LABEL)]
        bar += [(block.get(mark, mark) * size, tone) for (_, _, mark, tone), size in zip(parts, lengths, strict=True)]
        yield tuple(bar)
        legend = [((f"{block.get(mark, mark)} {text} {share:.0f} %", tone),) for text, share, mark, tone in parts]
        for line in wrapped_items(legend, room):
            yield ((" " * LABEL, Tone.PLAIN), *line)
    shares = shares_of(one)
    facts = [
        ((f"{text} ", Tone.LABEL), (whole_pct(float(getattr(shares, name)[0])), Tone.PLAIN)) for text, name in _FACTS
    ]
    for number, line in enumerate(wrapped_items(facts, max(width - LABEL, 10))):
        yield ((padded("" if number else "rests on", LABEL), Tone.LABEL), *line)


def _sentences(tables: Sequence[FlowTable], look: Look, width: int) -> Iterator[Line]:
    """Yield where the round trips' time goes, and what is in flight against the path's BDP."""
    splits, paths = Splits(), Paths()
    for table in tables:
        splits.add(table)
        paths.add(table)
    label = "latency"
    for split in splits.largest(1):
        for text in split.lines():
            yield from _wrapped(label, text, look, width)
            label = ""
    for path in paths.largest(1):
        yield from _wrapped("path", verdict(path).text, look, width)


def _trend(recent: Sequence[Frame], key: Keys, look: Look, width: int) -> Iterator[Line]:
    values = {
        stored: series(recent, key, name)[0].astype(np.float64)
        for stored, name in (("rtt_us", RTT), ("cwnd_segs", "cwnd_segs"), ("retrans_segs", "retrans_segs"),
                             ("data_segs_out", "data_segs_out"))
    }  # fmt: skip
    times = np.array([frame.end_ns / 1e9 for frame in recent])
    text = Series(times_s=times, values=values).text()
    if text:
        yield from _wrapped("trend", text, look, width)


def _stages(frame: Frame, width: int) -> Iterator[Line]:
    if not frame.stages:
        return
    items = [
        ((f"{each.name.removesuffix('_us').removesuffix('_stage')} ", Tone.LABEL),
         (f"p50 {short(each.p50_us, 'us')} p99 {short(each.p99_us, 'us')}", Tone.PLAIN))
        for each in frame.stages
    ]  # fmt: skip
    for number, line in enumerate(wrapped_items(items, max(width - LABEL, 10))):
        yield ((padded("" if number else "stages of all", LABEL), Tone.LABEL), *line)


def _past(recent: Sequence[Frame], key: Keys, look: Look, width: int) -> Iterator[Line]:
    room = max(min(width - LABEL - _AXIS, len(recent)), 1)
    frames = recent[-room:]
    seconds = (frames[-1].end_ns - frames[0].begin_ns) / 1e9
    yield ((f"the last {seconds:.0f} s, an interval a column, from 0", Tone.LABEL),)
    for label, name, unit, tone in _GRAPHS:
        values = series(frames, key, name)[0].tolist()
        high = max((value for value in values if math.isfinite(value)), default=0.0)
        if high <= 0:
            yield (
                (padded(label, LABEL), Tone.LABEL),
                (padded("0", _AXIS - 1, right=True), Tone.DIM),
                (" none", Tone.DIM),
            )
            continue
        lines = graph(values, ROWS, high=high, wide=look.wide)
        for number, line in enumerate(lines):
            axis = short(high, unit) if number == 0 else "0" if number == len(lines) - 1 else ""
            yield (
                (padded(label if number == 0 else "", LABEL), Tone.LABEL),
                (padded(axis, _AXIS - 1, right=True) + " ", Tone.DIM), (line, tone),
            )  # fmt: skip


def _judgement(found: Judgement | None, look: Look, width: int) -> Iterator[Line]:
    if found is None:
        return
    yield ((f"diagnosis of all that is watched: {found.text}", Tone.HEADING),)
    first = found.causes[0]
    for label, texts in (("for", first.evidence_for), ("against", first.evidence_against)):
        for number, text in enumerate(texts):
            yield from _wrapped("" if number else label, text, look, width)
    if first.chain:
        yield from _wrapped("chain", " -> ".join(first.chain), look, width)
    for label, text in (("fix first", first.fix_first), ("advice", first.advice)):
        if text:
            yield from _wrapped(label, text, look, width)


def _events(frame: Frame, one: FlowTable, look: Look, width: int) -> Iterator[Line]:
    name = flow_text(one.key(0))
    found = [text for flow, text in frame.events if flow == name]
    if found:
        yield from _wrapped("events", f"{len(found)} in this interval: {', '.join(dict.fromkeys(found))}", look, width)


def _all_columns(one: FlowTable, width: int) -> Iterator[Line]:
    yield (("all columns of this interval", Tone.HEADING),)
    cells = [(name, _cell(name, float(one[name][0]))) for name in (*VALUES, *COUNTS, *TOTALS)]
    size = 2 + max(len(name) for name, _ in cells) + 9
    beside = max(width // size, 1)
    rows = -(-len(cells) // beside)
    for row in range(rows):
        line: list[Span] = []
        for name, value in cells[row::rows]:
            tone = Tone.DIM if value in {"0", ABSENT} else Tone.PLAIN
            line += [(padded(name, size - 11), Tone.LABEL), (f"{padded(value, 9, right=True)}  ", tone)]
        yield tuple(line)


def _cell(name: str, value: float) -> str:
    unit = next((unit for end, unit in _FIXED.items() if end in name.split("_")), "count")
    return short(value, unit)


def _wrapped(label: str, text: str, look: Look, width: int) -> Iterable[Line]:
    lines = textwrap.wrap(shown_text(text, wide=look.wide), max(width - LABEL, 20), break_on_hyphens=False)
    return [
        ((padded("" if number else label, LABEL), Tone.LABEL), (line, Tone.PLAIN)) for number, line in enumerate(lines)
    ]
