"""The text of `perfctl observe`: one line an interval in columns of 79 characters, and below it what needs words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from perfcheck.analyse.histogram import statistics
from perfcheck.live.alerts.alert import Alert, AlertState
from perfcheck.live.drops import PLACES, harmful
from perfcheck.live.lacking import lacking_lines
from perfcheck.live.observation import Figures, WatchTotals
from perfcheck.live.wording import cost, count, left_out, lost, watched, without_room
from perfcheck.model.interval import Interval
from perfcheck.model.printable import printable
from perfcheck.model.units import format_value, readable_pct

HEADER: Final = (
    "                RTT in ms        connect retransmitted dropped            bit/s\n"
    "time       min   p50   p90   p99 p99, ms   segs      % packets  flows  out   in"
)
REPEATED: Final = 20
"""Lines of intervals between two headers."""
_INDENT: Final = "          "
_KIND_WORDS: Final = {"fast": "in recovery", "rto": "after a timeout", "tlp": "as a tail loss probe", "syn": "of SYNs"}
RAISED: Final = "ALERT"
CLEARED: Final = "CLEARED"
_STATE_WORDS: Final = {AlertState.RAISED: RAISED, AlertState.CLEARED: CLEARED}
_MOST_NAMED: Final = 3
_LEAST_SHOWN: Final = 0.005
_BELOW: Final = "<0.01"
"""In place of 0.00 for what is not 0."""


def interval_line(interval: Interval, figures: Figures) -> str:
    """Return the line of an interval."""
    rtt = [_ms(figures.rtt.get(name, math.nan)) for name in ("min", "p50", "p90", "p99")]
    return (
        f"{_clock(interval.end_ns + interval.epoch_ns)}" + " " + " ".join(f"{each:>5}" for each in rtt)
        + f" {_ms(figures.connect_p99_us):>7} {_count(figures.retransmitted):>6} {_percent(figures.retrans_pct):>6}"
        + f" {_count(figures.dropped):>7} {_count(figures.flows):>6} {_count(figures.send_bps):>4}"
        + f" {_count(figures.receive_bps):>4}"
    )  # fmt: skip


def interval_details(
    interval: Interval, figures: Figures, alerts: Iterable[Alert], behind: str, diagnosis: str = ""
) -> Iterator[str]:
    """Yield what needs words: kinds and reasons, opened and closed connections, alerts, and what was left out."""
    if figures.opened or figures.ended:
        yield f"connections: {figures.opened:,} opened, {figures.ended:,} closed"
    kinds = ", ".join(f"{count:,} {_KIND_WORDS[kind]}" for kind, count in figures.by_kind.items() if count)
    if kinds:
        yield f"retransmitted: {kinds}"
    if behind:
        yield behind
    if figures.dropped:
        yield f"dropped: {_drops(harmful(figures.drops))}"
    yield from alert_lines(alerts)
    if diagnosis:
        yield f"diagnosis: {diagnosis}"
    for kind, share in figures.kept_pct.items():
        yield f"{readable_pct(share, 3)} of the events of kind {kind} were kept; counts above are of all"
    account = interval.accounting
    yield from _not_counted(account.refused, account.lost)


def alert_lines(alerts: Iterable[Alert]) -> Iterator[str]:
    """Yield a line for each alert that is raised or cleared, and one for all that go on."""
    lasting = []
    for alert in alerts:
        if alert.state is AlertState.ONGOING:
            lasting.append(f"{alert.rule} ({alert.subject.label}, {round(alert.seconds, 1):g} s)")
        else:
            yield f"{_STATE_WORDS[alert.state]} {alert.text}"
    if lasting:
        more = f" and {len(lasting) - _MOST_NAMED} more" if len(lasting) > _MOST_NAMED else ""
        yield f"still raised: {', '.join(lasting[:_MOST_NAMED])}{more}"


def laid_out(lines: Iterable[str], width: int | None) -> Iterator[str]:
    """Yield details as lines below an interval's; a terminal's width breaks them between words."""
    import textwrap

    for line in lines:
        text = printable(line)
        if width is None:
            yield f"{_INDENT}{text}"
            continue
        yield from textwrap.wrap(
            text, max(width - 1, 40), initial_indent=_INDENT, subsequent_indent=f"{_INDENT}  ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def summary_lines(totals: WatchTotals, active: Sequence[Alert]) -> Iterator[str]:
    """Yield the summary of a run."""
    begun = count(totals.opened, "connection")
    yield f"{watched(totals.seconds, totals.intervals)}: {begun} opened, {totals.ended:,} closed"
    rtt = statistics(totals.rtt_us)
    if totals.rtt_us is not None and rtt:
        names = ", ".join(
            f"{name} {format_value(rtt[name], 'us')}" for name in ("min", "p50", "p90", "p99", "p999", "max")
        )
        yield f"RTT: {names} of {totals.rtt_us.count:,} samples"
    else:
        yield "RTT: no samples"
    connect = statistics(totals.connect)
    if connect:
        shown = ", ".join(f"{name} {format_value(connect[name], 'us')}" for name in ("p50", "p99", "max"))
        yield f"connect time: {shown} of {totals.connects:,}"
    share = f", {readable_pct(totals.retrans_pct, 3)} of {totals.data_segs_out:,}" if totals.data_segs_out else ""
    kinds = ", ".join(f"{count:,} {_KIND_WORDS[kind]}" for kind, count in totals.by_kind.items() if count)
    yield f"retransmitted: {totals.retrans_segs:,} data segments{share}{f' ({kinds})' if kinds else ''}"
    if totals.behind:
        yield "behind retransmissions: " + ", ".join(f"{n:,} {words}" for words, n in totals.behind.most_common())
    drops = harmful(totals.drops)
    yield f"dropped: {_drops(drops) if drops else 'nothing'}"
    intended = {name: count for name, count in totals.drops.items() if name not in drops}
    if intended:
        yield f"also dropped, as intended or unasked for: {_drops(intended)}"
    yield (f"payload: {format_value(totals.bytes_acked, 'bytes')} sent and acknowledged, "
           f"{format_value(totals.bytes_received, 'bytes')} received")  # fmt: skip
    yield from _alerts(totals, active)
    yield from _left_out(totals)


def _alerts(totals: WatchTotals, active: Sequence[Alert]) -> Iterator[str]:
    names = ", ".join(f"{name} {count:,}" for name, count in totals.raised.most_common())
    yield f"alerts raised: {sum(totals.raised.values()):,}{f' ({names})' if names else ''}"
    for alert in active:
        yield f"not cleared: {alert.text}"


def _left_out(totals: WatchTotals) -> Iterator[str]:
    yield from _not_counted(totals.refused, totals.lost)
    if totals.shed:
        yield left_out(totals.shed)
    for line in lacking_lines(totals.lacks):
        yield f"not measured: {line}"
    yield cost(totals.cpu_pct)


def _not_counted(refused: int, events: int) -> Iterator[str]:
    if refused:
        yield without_room(refused)
    if events:
        yield lost(events)


def _drops(drops: Mapping[str, float]) -> str:
    named = sorted(drops.items(), key=lambda one: -one[1])
    parts = [f"{count:,.0f} {PLACES[name]} ({name})" if name in PLACES else f"{count:,.0f} {name}"
             for name, count in named[:_MOST_NAMED]]  # fmt: skip
    rest = sum(count for _, count in named[_MOST_NAMED:])
    return ", ".join(parts) + (f", {rest:,.0f} elsewhere" if rest else "")


def _clock(epoch_ns: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ns / 1e9).astimezone():%H:%M:%S}"


def _ms(value_us: float) -> str:
    """Return a time in at most 5 characters; "-" for none."""
    if math.isnan(value_us):
        return "-"
    value = value_us / 1000
    if 0 < value < _LEAST_SHOWN:
        return _BELOW
    if value >= 9999.5:
        return f"{value / 1000:.0f}k"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def _percent(value: float) -> str:
    if math.isnan(value):
        return "-"
    if 0 < value < _LEAST_SHOWN:
        return _BELOW
    return f"{min(value, 99.99):.2f}" if value < 100 else "100"


def _count(value: float) -> str:
    """Return a count in at most 4 characters; 0 stays 0."""
    if math.isnan(value):
        return "-"
    for factor, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor * 0.9995:
            scaled = value / factor
            return f"{scaled:.1f}{name}" if scaled < 9.95 else f"{scaled:.0f}{name}"
    return f"{value:.0f}"
