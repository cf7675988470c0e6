"""The report of `perfctl latency` as lines for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from perfcheck.analyse.stages import WAY
from perfcheck.cli.perfctl.hist_view import WIDTH, short
from perfcheck.live.flow_names import flow_text
from perfcheck.live.rtt_split import TOLD, Splits
from perfcheck.live.stages import DRIVER, Packets, Role, SlowPacket, StageTimes, share_of, short_name
from perfcheck.live.wording import count
from perfcheck.model.flow import FlowKey
from perfcheck.model.units import readable_pct
from perfcheck.output.bars import bars
from perfcheck.output.stages import WAY as MEANINGS

_LABEL: Final = 12
_CELL: Final = 8
_BARS: Final = 21
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_TITLES: Final = {
    Role.SENT: "packets that this machine sent",
    Role.RECEIVED: "packets that this machine received",
    Role.WHOLE: "packets on their whole way",
}
_MEANING: Final = {**dict(MEANINGS), DRIVER: "inside the sending driver (a part of the wire)"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyReport:
    """What a run has seen; `packets` None: they were not followed. `notes` are said at the end."""

    splits: Splits
    packets: Packets | None
    seconds: float
    end_ns: int
    epoch_ns: int
    slowest: int
    notes: Sequence[str] = ()


def report_lines(report: LatencyReport) -> Iterator[str]:
    """Yield the whole report."""
    if len(report.splits):
        yield from split_lines(report)
    elif report.packets is None:
        yield f"{report.seconds:.1f} s: no connection that passes the filters"
    if report.packets is not None:
        yield from packet_lines(report.packets, report)
    elif len(report.splits):
        yield "Add --detail to follow packets through the stages of this machine."
    for note in report.notes:
        yield from textwrap.wrap(f"note: {note}", WIDTH, subsequent_indent="  ")


def split_lines(report: LatencyReport) -> Iterator[str]:
    """Yield what TCP says of the connections that carried the most."""
    yield f"What TCP says, in {report.seconds:.1f} s:"
    shown = report.splits.largest(TOLD)
    several = len({split.key.host for split in shown}) > 1
    for split in shown:
        yield f"  {flow_text(split.key, with_host=several)}"
        for line in split.lines():
            yield from textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="      ")
    left = len(report.splits) - TOLD
    if left > 0:
        yield f"  and {count(left, 'more connection')}; filters choose others"


def packet_lines(packets: Packets, report: LatencyReport) -> Iterator[str]:
    """Yield the stages of each role, the slowest packets, and what share was followed."""
    times = packets.times()
    for role in packets.by_role:
        yield ""
        yield from _role_lines(role, packets, [each for each in times if each.role is role])
    slow = packets.slowest(report.slowest)
    if slow:
        yield ""
        yield f"slowest {len(slow)} of {packets.followed:,} packets that were followed:"
        for each in slow:
            yield from _slow_lines(each, report.epoch_ns)
    yield from _followed_lines(packets)


def _role_lines(role: Role, packets: Packets, times: Sequence[StageTimes]) -> Iterator[str]:
    number = int(packets.by_role[role]["segments"].sum())
    yield f"{_TITLES[role]}: {number:,}"
    yield f"  {'':<{_LABEL}}{''.join(f'{name:>{_CELL}}' for name in _SHARES)}  {'time':>5}"
    drawn, (low, high) = bars([each.histogram() for each in times], _BARS)
    for each, line in zip(times, drawn, strict=True):
        cells = "".join(f"{short(each.quantile(share), 'us'):>{_CELL}}" for share in _SHARES.values())
        part = "" if each.name in {WAY[0], DRIVER} else f"{share_of(each, times):.0f} %"
        yield f"  {short_name(each.name):<{_LABEL}}{cells}  {part:>5}  {line}".rstrip()
    left, right = short(low, "us"), short(high, "us")
    yield f"{'':<{_LABEL + 4 * _CELL + 11}}{left}{right:>{_BARS - len(left)}}"
    for each in times:
        yield f"  {short_name(each.name) + ':':<{_LABEL - 1}} {_MEANING[each.name]}"


def _slow_lines(packet: SlowPacket, epoch_ns: int) -> Iterator[str]:
    at = datetime.fromtimestamp((packet.begin_ns + epoch_ns) / 1e9, UTC).strftime("%H:%M:%S.%f")
    again = f", transmission {packet.attempt + 1}" if packet.attempt else ""
    yield f"  {at}  {short(packet.total_us, 'us'):>8}  {_text(packet.flow)}"
    stages = ", ".join(f"{short_name(name)} {short(us, 'us')}" for name, us in packet.stages_us)
    text = f"seq {packet.seq}, {packet.length_bytes} bytes{again}: {stages}"
    yield from textwrap.wrap(text, WIDTH, initial_indent="      ", subsequent_indent="        ")


def _text(flow: FlowKey | None) -> str:
    return "" if flow is None else flow_text(flow, with_host=False)


def _followed_lines(packets: Packets) -> Iterator[str]:
    stream = packets.stream
    share = readable_pct(100 * stream.share, 3)
    text = f"{share} of the packets were followed"
    if not packets.by_role:
        text = f"no packet with data was followed ({share} of the packets would have been)"
    if stream.share < 1:
        # The reasons name each step; the first is enough.
        reasons = [told.partition(": ")[2].partition(", it used")[0] for told in stream.told]
        text += f": {'; '.join(reasons)}. Filter, or raise --cpu-ceiling, to follow more"
    yield from textwrap.wrap(f"{text}.", WIDTH, subsequent_indent="  ")
    if stream.lost:
        yield f"{stream.lost:,} of {stream.lost + stream.written:,} records were lost: some packets lack stages."
    if packets.lost():
        yield f"{packets.lost():,} packets left and never arrived."
