"""What a watch saw in plain words, and what became of all that happened in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perfcheck.analyse.histogram import quantile
from perfcheck.live.diagnosis import LiveDiagnosis
from perfcheck.live.drops import harmful, place_of
from perfcheck.live.lacking import lacking_lines
from perfcheck.live.wording import cost, count, left_out, lost, watched, without_room
from perfcheck.model.causes import HEALTHY
from perfcheck.model.units import format_value, plain_number, readable_pct
from perfcheck.report.causes import named
from perfcheck.report.document import Cell, Facts, Table, Tone
from perfcheck.report.live.gathering import Gathering
from perfcheck.report.live.stretch import Stretch

KINDS: Final = {
    "fast": "in fast recovery", "rto": "after a timeout", "tlp": "as a tail loss probe", "syn": "SYNs",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The diagnosis of all that was watched, and that of the time in which alerts were raised; None: there is none."""

    whole: LiveDiagnosis | None
    alarmed: LiveDiagnosis | None = None

    @property
    def telling(self) -> LiveDiagnosis | None:
        """The one that says more of what is the matter."""
        return self.alarmed or self.whole


def summary(gathering: Gathering, whole: Stretch, found: Findings) -> str:
    """Return the watch in some sentences."""
    return " ".join((*_seen(gathering, whole), *_diagnosed(found)))


def _seen(gathering: Gathering, whole: Stretch) -> Iterator[str]:
    counts = whole.counts
    text = watched((whole.end_ns - whole.begin_ns) / 1e9, whole.intervals)
    most = count(whole.most_connections, "connection")
    yield (f"{text[:1].upper()}{text[1:]}: at most {most} at a time, {counts['opened']:,} opened and "
           f"{counts['ended']:,} closed.")  # fmt: skip
    if whole.moved:
        yield (f"{_rated(counts['bytes_acked'], whole)} were sent and acknowledged, "
               f"{_rated(counts['bytes_received'], whole)} received.")  # fmt: skip
    if whole.rtt is not None:
        p50, p99 = (format_value(quantile(whole.rtt, share), "us") for share in (0.5, 0.99))
        yield f"Half of the {whole.rtt.count:,} round trips took at most {p50}, 99 % at most {p99}."
    if counts["data_segs_out"]:
        yield (f"{readable_pct(whole.again_pct, 3)} of {counts['data_segs_out']:,} data segments were retransmitted.")
    raised = sum(gathering.alarms.raised.values())
    names = ", ".join(f"{name} {number:,}" for name, number in gathering.alarms.raised.most_common(4))
    if raised:
        yield f"{count(raised, 'alert')} {'was' if raised == 1 else 'were'} raised ({names})."
    else:
        yield "No alert was raised."


def _diagnosed(found: Findings) -> Iterator[str]:
    if found.whole is None:
        yield "No connection was seen, so that there is nothing to diagnose."
    elif found.whole.cause == HEALTHY:
        yield "Over all of the time the diagnosis finds nothing wrong."
    else:
        yield f"Over all of the time the most probable cause of trouble is {named(found.whole.causes[0])}."
    if found.alarmed is not None and found.alarmed.cause != HEALTHY:
        yield f"While alerts were raised, the most probable cause was {named(found.alarmed.causes[0])}."


def _rated(number: int, whole: Stretch) -> str:
    rate = f" ({format_value(8 * number / whole.seconds, 'bps')})" if number and whole.seconds else ""
    return f"{format_value(number, 'bytes')}{rate}"


def retransmission_table(whole: Stretch) -> Table | None:
    """Return retransmissions by kind; None where there were none."""
    counts = whole.counts
    kinds = {words: counts[f"again_{kind}"] for kind, words in KINDS.items()}
    if not any(kinds.values()):
        return None
    total = sum(kinds.values())
    rows = [
        (Cell(text=words), Cell(text=f"{number:,}"), Cell(text=readable_pct(100 * number / total, 3)))
        for words, number in kinds.items()
        if number
    ]  # fmt: skip
    return Table(
        headings=("retransmitted", "segments", "share"), rows=tuple(rows), numeric=frozenset({1, 2}),
        caption=f"{counts['retransmitted']:,} of {counts['data_segs_out']:,} data segments; SYNs are beside these",
    )  # fmt: skip


def drop_table(whole: Stretch) -> Table | None:
    """Return the packets that were dropped, by place and reason; None where none was."""
    if not whole.drops:
        return None
    unwanted = harmful(whole.drops)
    rows = []
    for name, number in sorted(whole.drops.items(), key=lambda one: -one[1]):
        tone = Tone.WARNING if name in unwanted else Tone.NEUTRAL
        word = "" if name in unwanted else "intended, or not asked for"
        cells = (Cell(text=name), Cell(text=place_of(name)), Cell(text=f"{number:,}", tone=tone), Cell(text=word))
        rows.append(cells)
    return Table(headings=("dropped", "where", "packets", ""), rows=tuple(rows), numeric=frozenset({2}))


def accounting(gathering: Gathering, whole: Stretch) -> Facts:
    """Return what became of all that happened, and what watching cost."""
    counts = whole.counts
    gaps = (whole.end_ns - whole.begin_ns) / 1e9 - whole.seconds
    pairs = [
        ("connections", f"{counts['opened']:,} opened, {counts['ended']:,} closed, {counts['resets']:,} times reset"),
        ("cost", cost(100 * whole.cpu_s / whole.seconds if whole.seconds else 0.0)),
        ("a point of the charts", f"{count(gathering.stretches.each, 'interval')} at most"),
    ]
    if gaps > 0.001 * whole.seconds:
        pairs.append(("between intervals", f"{plain_number(gaps, 3)} s were not watched"))
    if counts["refused"]:
        pairs.append(("not followed", without_room(counts["refused"])))
    if counts["lost"]:
        pairs.append(("lost", lost(counts["lost"])))
    if whole.shed:
        pairs.append(("left out", left_out(whole.shed)))
    if whole.rtt_left_out:
        pairs.append(("round trips", f"{whole.rtt_left_out:,} samples are of other buckets, and are left out"))
    return Facts(pairs=tuple(pairs))


def not_measured(whole: Stretch) -> tuple[str, ...]:
    """Return what cannot be had here, and why."""
    return tuple(lacking_lines(whole.lacks))
