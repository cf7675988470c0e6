"""The lines around the tables of `perfctl tcp`: heading, what is missing, advice, summary."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from perfcheck.analyse.histogram import quantile
from perfcheck.live.bottleneck_advice import ADVICE
from perfcheck.live.figures import again_pct
from perfcheck.live.flow_names import flow_text
from perfcheck.live.totals import Totals
from perfcheck.live.wording import cost, count, left_out, lost, watched, without_room
from perfcheck.model.event import EventType
from perfcheck.model.interval import Interval
from perfcheck.model.units import format_value, readable_pct

MOST_EVENTS: Final = 20
_WHOLE_SECONDS: Final = 0.95
"""Shorter intervals have tenths of a second in their times."""


def heading(interval: Interval, *, is_recorded: bool) -> str:
    """Return the line above a table: when, how many connections, and what they carried together."""
    flows, told = interval.flows, interval.accounting
    sent, received = (
        8 * float(flows[name].sum()) / interval.seconds if interval.seconds else 0.0
        for name in ("bytes_acked", "bytes_received")
    )
    again, segments = int(flows["retrans_segs"].sum()), int(flows["data_segs_out"].sum())
    share = f" ({readable_pct(again_pct(again, segments), 2)})" if again and segments else ""
    came = f" ({told.opened:,} opened, {told.ended:,} closed)" if told.opened or told.ended else ""
    when = _time_of_day(interval, is_recorded=is_recorded)
    return (
        f"{when}  {count(len(flows), 'connection')}{came}, sent {format_value(sent, 'bps')}, "
        f"received {format_value(received, 'bps')}, {count(again, 'retransmission')}{share}"
    )


def _time_of_day(interval: Interval, *, is_recorded: bool) -> str:
    """Return the local time of now; of a recording, which may come from anywhere, the date and UTC."""
    moment = datetime.fromtimestamp((interval.end_ns + interval.epoch_ns) / 1e9, UTC)
    tenths = f".{moment.microsecond // 100_000}" if interval.seconds < _WHOLE_SECONDS else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{tenths}Z" if is_recorded else f"{moment.astimezone():%H:%M:%S}{tenths}"


def missing(interval: Interval) -> Iterator[str]:
    """Yield what an interval does not hold: connections without a record, lost events, what was shed."""
    told = interval.accounting
    if told.refused:
        yield without_room(told.refused)
    if told.lost:
        yield lost(told.lost)
    if told.shed:
        yield left_out(told.shed)


def advice(bottlenecks: Sequence[str], flows: Sequence[str], *, already: Collection[str] = ()) -> Iterator[str]:
    """Yield what to do about the bottlenecks of the rows shown, each once with the first row that has it.

    What was `already` said is not repeated: the column names it in every interval.
    """
    new = [name for name in dict.fromkeys(bottlenecks) if name in ADVICE and name not in already]
    for name in new:
        number = bottlenecks.count(name)
        more = f" and {count(number - 1, 'more connection')}" if number > 1 else ""
        yield f"advice: {name} ({flows[bottlenecks.index(name)]}{more}): {ADVICE[name]}"


def summary(totals: Totals) -> Iterator[str]:
    """Yield what a whole run saw."""
    if not totals.intervals:
        yield "no interval was over before the end"
        return
    most = count(totals.most_connections, "connection")
    yield (
        f"{watched(totals.seconds, totals.intervals)}: at most {most} at a time, "
        f"{totals.opened:,} opened, {totals.ended:,} closed"
    )
    share = f" ({readable_pct(totals.retrans_pct, 2)} of the segments with data)" if totals.data_segs_out else ""
    yield (
        f"  sent {format_value(totals.bytes_acked, 'bytes')}, received {format_value(totals.bytes_received, 'bytes')}, "
        f"{count(totals.retrans_segs, 'retransmission')}{share}"
    )
    if totals.rtt_us is not None:
        middle, tail = (format_value(quantile(totals.rtt_us, share), "us") for share in (0.5, 0.99))
        yield f"  RTT p50 {middle}, p99 {tail}, of {totals.rtt_us.count:,} samples"
    if totals.refused:
        yield f"  {without_room(totals.refused)}"
    if totals.lost:
        yield f"  {lost(totals.lost)}"
    if totals.shed:
        yield f"  {left_out(totals.shed)}"
    yield f"  {cost(totals.cpu_pct)}"


def event_lines(interval: Interval) -> Iterator[str]:
    """Yield a line each for the interval's first events, and how many more there were."""
    alerts = [event for event in interval.events if event.type is EventType.ALERT]
    for event in alerts[:MOST_EVENTS]:
        at = datetime.fromtimestamp((event.timestamp_ns + interval.epoch_ns) / 1e9, UTC)
        whose = str(event.context.get("comm", "")) if event.flow is None else flow_text(event.flow)
        more = [str(event.context[name]) for name in ("retransmission", "state", "reason") if name in event.context]
        yield " ".join((f"  {at:%H:%M:%S.%f}", str(event.context.get("kind", event.metric)), *more, whose)).rstrip()
    if len(alerts) > MOST_EVENTS:
        yield f"  and {count(len(alerts) - MOST_EVENTS, 'more event')}; --output json tells all"
