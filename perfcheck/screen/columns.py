"""The columns of the table: which there are, which of them a width has room for, and what their cells say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.bottleneck import HEALTHY, IDLE, NAMES
from perfcheck.live.grouping import GroupBy
from perfcheck.live.short_values import ABSENT, short
from perfcheck.screen.drawing import bar, log_share, sparkline
from perfcheck.screen.framing import RTT
from perfcheck.screen.lines import Span, cut_end, cut_middle, padded, shown_text
from perfcheck.screen.look import Look, Tone
from perfcheck.screen.rows import Rows

MARK: Final = 2
"""Characters at the left: the cursor, and what a row is."""
LEAST_RTT_US: Final = 10.0
MOST_RTT_US: Final = 1_000_000.0
SLOW_RTT_US: Final = 100_000.0
PAST: Final = 24
"""Intervals of a sparkline at most."""
_EXTRA: Final = 13
"""Columns from this rank on are there only where all before them are as wide as they can be."""
_ROOMY: Final = 120
_END: Final = len("255.255.255.255:65535")
"""What the first column takes at most where the terminal is narrower than `_ROOMY`."""
_LOSSES: Final = frozenset({"random_loss", "queue_overflow", "ecn_marking", "bufferbloat"})
_QUIET: Final = frozenset({IDLE, "application_limited"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenColumn:
    """A column. `unit` stands above its heading. `sort` is the array that it sorts by; "" sorts by nothing.

    It takes `least` to `most` characters; a small `rank` gets room first. `largest_first` is how its sorting begins.
    `what` says in the help what it means.
    """

    name: str
    heading: str
    rank: int
    least: int
    most: int
    sort: str
    what: str
    unit: str = ""
    is_text: bool = False
    largest_first: bool = True


_OUT: Final = ScreenColumn(name="out", heading="OUT", unit="bit/s", rank=1, least=5, most=5, sort="send_bps",
                           what="payload that was acknowledged in the interval")  # fmt: skip
_IN: Final = ScreenColumn(name="in", heading="IN", unit="bit/s", rank=5, least=5, most=5, sort="receive_bps",
                          what="payload that was received")  # fmt: skip
_RTT: Final = ScreenColumn(name="rtt", heading="RTT", rank=2, least=6, most=6, sort=RTT,
                           what="round-trip time: the interval's median, or TCP's smoothed one")  # fmt: skip
_RTT_BAR: Final = ScreenColumn(name="rtt bar", heading="10us..1s", unit="RTT", rank=8, least=8, most=10, sort=RTT,
                               is_text=True, what="the RTT on a logarithmic scale from 10 us to 1 s")  # fmt: skip
_RTT_PAST: Final = ScreenColumn(name="rtt past", heading="RTT TREND", rank=7, least=12, most=PAST, sort=RTT,
                                is_text=True, what="the RTT in the latest intervals, from the row's own smallest "
                                "to its largest; flat where they differ by less than a quarter",
                                )  # fmt: skip
_RETR: Final = ScreenColumn(name="retr", heading="RETR", unit="segs", rank=4, least=5, most=5, sort="retrans_segs",
                            what="segments that were retransmitted in the interval")  # fmt: skip
_RETR_PAST: Final = ScreenColumn(name="retr past", heading="RETR TREND", rank=10, least=10, most=16,
                                 sort="retrans_segs", is_text=True,
                                 what="retransmissions in the latest intervals, from 0 to the row's own largest",
                                 )  # fmt: skip
_CWND: Final = ScreenColumn(name="cwnd", heading="CWND", unit="segs", rank=9, least=5, most=5, sort="cwnd_segs",
                            what="congestion window")  # fmt: skip
_LIMIT: Final = ScreenColumn(name="bottleneck", heading="BOTTLENECK", rank=3, least=19, most=19, sort="limit",
                             is_text=True, largest_first=False,
                             what="what limits it; Enter tells what that rests on")  # fmt: skip
_LIMIT_PCT: Final = ScreenColumn(name="bottleneck share", heading="%", rank=3, least=3, most=3, sort="limit_pct",
                                 what="the share that the bottleneck rests on; of a group, its connections that have "
                                 "this bottleneck")  # fmt: skip
FLOW_COLUMNS: Final = (
    ScreenColumn(name="remote", heading="REMOTE", rank=0, least=15, most=47, sort="remote", is_text=True,
                 largest_first=False, what="address and port of the far end"),
    ScreenColumn(name="process", heading="PROCESS", rank=6, least=7, most=22, sort="comm", is_text=True,
                 largest_first=False, what="name and PID of the process"),
    _OUT, _IN, _RTT, _RTT_BAR,
    ScreenColumn(name="p99", heading="p99", unit="RTT", rank=11, least=6, most=6, sort="rtt_p99_us",
                 what="99th percentile of the interval's RTT samples"),
    _RTT_PAST, _CWND,
    ScreenColumn(name="in flight", heading="IN USE", unit="CWND", rank=12, least=6, most=8, sort="window_pct",
                 is_text=True, what="how much of the congestion window is in flight"),
    _RETR, _RETR_PAST, _LIMIT, _LIMIT_PCT,
    ScreenColumn(name="sendq", heading="SEND-Q", unit="bytes", rank=13, least=6, most=6, sort="sendq_bytes",
                 what="data that waits to be sent or acknowledged"),
    ScreenColumn(name="recvq", heading="RECV-Q", unit="bytes", rank=14, least=6, most=6, sort="recvq_bytes",
                 what="data that waits to be read"),
    ScreenColumn(name="local", heading="LOCAL", rank=15, least=15, most=47, sort="local_port", is_text=True,
                 largest_first=False, what="address and port of this machine's end"),
)  # fmt: skip
GROUP_COLUMNS: Final = (
    ScreenColumn(name="group", heading="GROUP", rank=0, least=15, most=30, sort="", is_text=True, what="its name"),
    ScreenColumn(name="connections", heading="CONNS", rank=3, least=6, most=6, sort="connections",
                 what="connections, those that ended in the interval included"),
    _OUT, _IN, _RTT, _RTT_BAR,
    ScreenColumn(name="p99", heading="p99", unit="RTT", rank=11, least=6, most=6, sort="rtt_p99_us",
                 what="99th percentile over its connections"),
    _RTT_PAST, _CWND, _RETR, _RETR_PAST, _LIMIT, _LIMIT_PCT,
    ScreenColumn(name="sendq", heading="SEND-Q", unit="bytes", rank=13, least=6, most=6, sort="sendq_bytes",
                 what="sum of what waits to be sent or acknowledged"),
    ScreenColumn(name="recvq", heading="RECV-Q", unit="bytes", rank=14, least=6, most=6, sort="recvq_bytes",
                 what="sum of what waits to be read"),
)  # fmt: skip


def columns_of(by: GroupBy) -> tuple[ScreenColumn, ...]:
    """Return the columns of connections, or of groups."""
    return FLOW_COLUMNS if by is GroupBy.CONNECTION else GROUP_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A column with its width."""

    column: ScreenColumn
    width: int


def laid_out(columns: Sequence[ScreenColumn], width: int, needs: Mapping[str, int] | None = None) -> tuple[Placed, ...]:
    """Return the columns that fit in `width`, in their order; what is left over makes them wider, by rank.

    `needs` are the widths of the texts that are in sight, by column.
    """
    columns = [_for_texts(each, (needs or {}).get(each.name), width) for each in columns]
    ranked = sorted(columns, key=lambda each: each.rank)
    room, chosen = width - MARK, dict[str, int]()
    for part in ([each for each in ranked if each.rank < _EXTRA], [each for each in ranked if each.rank >= _EXTRA]):
        for each in part:
            needed = each.least + (1 if chosen else 0)
            if needed <= room or not chosen:
                chosen[each.name] = max(min(each.least, room), 1)
                room -= needed
        for each in part:
            if each.name in chosen and room > 0:
                more = min(each.most - chosen[each.name], room)
                chosen[each.name] += more
                room -= more
    return tuple(Placed(column=each, width=chosen[each.name]) for each in columns if each.name in chosen)


def _for_texts(column: ScreenColumn, need: int | None, width: int) -> ScreenColumn:
    """Return a column that takes what its texts need, within its bounds; the first one is not cut for others."""
    if need is None:
        return column
    most = max(min(need, column.most if width >= _ROOMY else min(column.most, _END)), column.least)
    return replace(column, least=most if column.rank == 0 else column.least, most=most)


def heading_lines(placed: Sequence[Placed], sorted_by: str, *, descending: bool, look: Look) -> tuple[list[Span], ...]:
    """Return the line of units and the line of names; the column that sorts has an arrow."""
    arrow = ("▼" if descending else "▲") if look.wide else ("v" if descending else "^")
    units: list[Span] = [(" " * MARK, Tone.DIM)]
    names: list[Span] = [(" " * MARK, Tone.HEADING)]
    for number, each in enumerate(placed):
        gap = " " if number else ""
        column, right = each.column, not each.column.is_text
        units.append((gap + padded(column.unit, each.width, right=right), Tone.DIM))
        is_sorted = column.name == sorted_by
        name = f"{column.heading}{arrow}" if is_sorted and len(column.heading) < each.width else column.heading
        names.append((gap, Tone.HEADING))
        names.append((padded(name, each.width, right=right), Tone.SORTED if is_sorted else Tone.HEADING))
    return units, names


def cells_of(placed: Placed, rows: Rows, shown: Sequence[int], look: Look) -> Sequence[Span]:
    """Return the column's cells of these rows, each as wide as the column."""
    name, width = placed.column.name, placed.width
    match name:
        case "remote" | "local":
            cut = cut_middle
            return [(padded(cut(_text(rows, name, row, look), width), width), Tone.PLAIN) for row in shown]
        case "group" | "process":
            return [(padded(_named(_text(rows, name, row, look), width), width), Tone.PLAIN) for row in shown]
        case "bottleneck":
            return [(padded(NAMES[rows.values["limit"][row]], width), limit_tone(rows, row)) for row in shown]
        case "bottleneck share":
            return [_share(rows, row, width) for row in shown]
        case "rtt bar":
            shares = [log_share(float(rows.values[RTT][row]), LEAST_RTT_US, MOST_RTT_US) for row in shown]
            return [
                (bar(share, width, wide=look.wide), rtt_tone(float(rows.values[RTT][row]), Tone.GRAPH))
                for share, row in zip(shares, shown, strict=True)
            ]
        case "in flight":
            return [
                (bar(float(rows.values["window_pct"][row]) / 100, width, wide=look.wide), Tone.GRAPH) for row in shown
            ]
        case "rtt past" | "retr past":
            return _past(placed, rows, shown, look)
    return _figures(placed, rows, shown)


def _text(rows: Rows, name: str, row: int, look: Look) -> str:
    return shown_text(rows.text(name, row), wide=look.wide)


def _named(text: str, width: int) -> str:
    """Return `name[pid]`; where there is no room, the name alone."""
    if len(text) <= width:
        return text
    name, bracket, _ = text.rpartition("[")
    return cut_end(name if bracket else text, width)


_UNITS: Final[Mapping[str, str]] = {
    "send_bps": "bps", "receive_bps": "bps", RTT: "us", "rtt_p99_us": "us", "sendq_bytes": "bytes",
    "recvq_bytes": "bytes",
}  # fmt: skip


def _figures(placed: Placed, rows: Rows, shown: Sequence[int]) -> Sequence[Span]:
    name = placed.column.sort
    values = rows.values[name][np.asarray(shown, np.intp)].astype(np.float64)
    unit = _UNITS.get(name, "count")
    cells = []
    for value in values.tolist():
        text = four(value) if unit == "count" else short(value, unit)
        cells.append((padded(text, placed.width, right=True), figure_tone(name, value)))
    return cells


def four(value: float) -> str:
    """Return a count in at most five characters."""
    text = short(value, "count")
    if len(text) > 5 and 0 < value < 0.1:
        return "<0.1"
    return text if len(text) <= 5 else f"{value / 1e3:.0f}k" if value < 999_500 else f"{value:.0e}"


def figure_tone(name: str, value: float) -> Tone:
    """Return how a figure is shown: nothing to see is dim, losses and long round trips stand out."""
    if not value > 0:
        return Tone.DIM
    if name == "retrans_segs":
        return Tone.BAD
    return rtt_tone(value, Tone.PLAIN) if name in {RTT, "rtt_p99_us"} else Tone.PLAIN


def rtt_tone(value: float, usual: Tone) -> Tone:
    """Return the tone of a round-trip time."""
    if not value >= SLOW_RTT_US:
        return usual
    return Tone.GRAPH_WARN if usual is Tone.GRAPH else Tone.WARN


def limit_tone(rows: Rows, row: int) -> Tone:
    """Return the tone of a row's bottleneck."""
    name = NAMES[rows.values["limit"][row]]
    if name == HEALTHY:
        return Tone.GOOD
    if name in _QUIET:
        return Tone.DIM
    return Tone.BAD if name in _LOSSES else Tone.WARN


def _share(rows: Rows, row: int, width: int) -> Span:
    value = float(rows.values["limit_pct"][row])
    text = ABSENT if np.isnan(value) else f"{value:.0f}"
    return padded(text, width, right=True), limit_tone(rows, row)


def _past(placed: Placed, rows: Rows, shown: Sequence[int], look: Look) -> Sequence[Span]:
    found: npt.NDArray[Any] = rows.past(placed.column.sort, shown)
    is_loss = placed.column.name == "retr past"
    cells = []
    for line in found[:, -placed.width :].tolist():
        text = sparkline(line, from_zero=is_loss, wide=look.wide)
        some = is_loss and any(value > 0 for value in line)
        tone = Tone.GRAPH_BAD if some else Tone.DIM if is_loss else Tone.GRAPH
        cells.append((text.rjust(placed.width), tone))
    return cells
