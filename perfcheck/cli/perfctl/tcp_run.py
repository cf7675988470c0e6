"""`perfctl tcp`: connections at each interval, closed ones once with their totals, and a summary at the end."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.cli.perfctl import tcp_lines
from perfcheck.cli.perfctl.advising import Advisor
from perfcheck.cli.perfctl.columns import Column
from perfcheck.cli.perfctl.export_run import EXPORTED, run_exporting
from perfcheck.cli.perfctl.exports import exports_of
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.tcp_events import connection_events, group_events
from perfcheck.cli.perfctl.tcp_trends import Trends, opened_trends
from perfcheck.cli.perfctl.tcp_view import closed_columns, connection_columns, group_columns
from perfcheck.cli.perfctl.writing import EventWriter, console_of, events_of, print_lines, print_table
from perfcheck.errors import Stopped
from perfcheck.live.bottleneck import HEALTHY, IDLE, bottlenecks
from perfcheck.live.connections import Triggers, bytes_of, largest, with_rates_of
from perfcheck.live.flow_names import flow_texts
from perfcheck.live.grouping import GroupBy, group
from perfcheck.live.lacking import lacking_lines
from perfcheck.live.totals import Totals
from perfcheck.live.wording import count
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval, LiveRequest, OpenIntervals
from perfcheck.model.units import format_value
from perfcheck.output.terminal import SafeConsole
from perfcheck.system.printing import complain

ROWS: Final = 20
CLOSED_ROWS: Final = 5
TIES_BROKEN_BY: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The options of `perfctl tcp`; `triggers` None: every interval is told.

    `single_events`: these are told, too.
    """

    by: GroupBy
    triggers: Triggers | None
    single_events: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, mode: str) -> _Asked:
        """Return what the options say."""
        triggers = Triggers(
            rwnd_limited_above_pct=args.rwnd_limited_above_pct, cwnd_below_segs=args.cwnd_below_segs
        )  # fmt: skip
        return cls(
            by=GroupBy(args.group_by), triggers=triggers if args.event_mode == "ebpf" else None,
            single_events=mode != "summary",
        )  # fmt: skip


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Tell each interval until the end, Ctrl-C or a signal; then the summary."""
    if args.tui:
        from perfcheck.cli.perfctl.top_run import show

        return show(args, request, out, open_intervals, by=GroupBy(args.group_by))
    if out.format in EXPORTED:
        return run_exporting(args, out, open_intervals)
    asked, totals = _Asked.of(args, request.mode), Totals()
    with ExitStack() as stack:
        # A recording of somebody else's may hold any number: no reason for numpy's warnings.
        stack.enter_context(np.errstate(all="ignore"))
        advisor = stack.enter_context(Advisor(confirmed=args.yes)) if args.apply else None
        exports = stack.enter_context(exports_of(args, out))
        trends = stack.enter_context(opened_trends(args, request, asked.by))
        if out.format == "json":
            told: _Told = _Json(stack.enter_context(events_of(out.file, out.prog)), asked, trends)
        else:
            console = stack.enter_context(console_of(out.file))
            told = _Console(console, asked, trends, is_recorded=out.recording is not None)
        try:
            with open_intervals() as intervals:
                told.begin(getattr(intervals, "connections", None), request.interval_ns)
                for interval in intervals:
                    trends.add(interval)
                    totals.add(interval)
                    told.interval(interval)
                    exports.take(interval)
                    if advisor is not None:
                        advisor.add(interval)
        except KeyboardInterrupt:
            pass  # Ctrl-C is how a run without --duration ends
        except Stopped:
            exports.end()
            told.end(totals)
            raise
        exports.end()
        told.end(totals)
        if advisor is not None:
            advisor.end(told.line)
    return 0


class _Told(ABC):
    """One form of the results."""

    def __init__(self, asked: _Asked, trends: Trends) -> None:
        self._asked = asked
        self._trends = trends

    def begin(self, connections: int | None, interval_ns: int) -> None:  # noqa: B027 - JSON has no such line
        """Tell what is watched, before anything can be said about it; None: a recording is read."""

    @abstractmethod
    def interval(self, interval: Interval) -> None:
        """Tell an interval."""

    def end(self, totals: Totals) -> None:  # noqa: B027 - JSON has no such line
        """Tell what the whole run saw."""

    def line(self, text: str) -> None:
        """Write a line that is no result; beside JSON it goes to standard error."""
        complain(text)


class _Console(_Told):
    """Tables and lines for people."""

    def __init__(self, console: SafeConsole, asked: _Asked, trends: Trends, *, is_recorded: bool) -> None:
        super().__init__(asked, trends)
        self._console = console
        self._is_recorded = is_recorded
        self._lacks: Mapping[str, str] = {}
        self._advised: frozenset[str] = frozenset()
        self._seconds = 1.0

    def begin(self, connections: int | None, interval_ns: int) -> None:
        """Print how many connections there are: the first figures come when the first interval is over."""
        if connections is not None:
            every = format_value(interval_ns / 1e9, "s")
            print_lines(self._console, [f"watching {count(connections, 'connection')}, figures each {every}"])

    def interval(self, interval: Interval) -> None:
        """Print a heading, the table, those that closed, and what is missing."""
        flows, self._seconds = interval.flows, interval.seconds
        rows = np.arange(len(flows)) if self._asked.triggers is None else self._asked.triggers.met(flows)
        if self._asked.triggers is not None and not len(rows):
            return
        print_lines(self._console, ["", tcp_lines.heading(interval, is_recorded=self._is_recorded)])
        if self._asked.by is GroupBy.CONNECTION:
            self._connections(flows, rows)
        else:
            self._groups(flows.where(rows))
        if self._asked.single_events:
            print_lines(self._console, tcp_lines.event_lines(interval))
        print_lines(self._console, tcp_lines.missing(interval))
        if interval.lacks != self._lacks:
            self._lacks = interval.lacks
            print_lines(self._console, (f"not measured: {line}" for line in lacking_lines(interval.lacks)))

    def end(self, totals: Totals) -> None:
        """Print the summary."""
        print_lines(self._console, ["", *tcp_lines.summary(totals)])

    def line(self, text: str) -> None:
        """Write a line below the summary."""
        print_lines(self._console, [text])

    def _connections(self, flows: FlowTable, rows: npt.NDArray[np.intp]) -> None:
        closed = flows["closed"][rows]
        is_open = rows if self._asked.triggers is not None else rows[~closed]
        chosen = is_open[_largest_first(flows, is_open, ROWS)]
        if len(chosen):
            self._table(flows, chosen, len(is_open) - len(chosen))
        if self._asked.triggers is None:
            self._closed(flows, rows[closed])

    def _table(self, flows: FlowTable, chosen: npt.NDArray[np.intp], more: int) -> None:
        shown = flows.where(chosen)
        found = bottlenecks(shown)
        names = found.names.tolist()
        extra = [
            Column(heading="BOTTLENECK", rank=3, is_text=True, cells=[
                name if name in {HEALTHY, IDLE} else f"{name} {share:.0f} %"
                for name, share in zip(names, found.shares_pct.tolist(), strict=True)
            ]),
            *self._trends.columns(shown),
        ]  # fmt: skip
        if self._asked.triggers is not None:
            reasons = [self._asked.triggers.reasons(flows, row) for row in chosen.tolist()]
            extra.append(Column(heading="TRIGGER", rank=1, is_text=True, cells=reasons))
        print_table(self._console, connection_columns(with_rates_of(shown, self._seconds), extra))
        _say_more(self._console, more, "connection")
        print_lines(self._console, tcp_lines.advice(names, flow_texts(shown), already=self._advised))
        self._advised |= frozenset(names)

    def _closed(self, flows: FlowTable, rows: npt.NDArray[np.intp]) -> None:
        carried = flows["total_bytes_acked"][rows].astype(np.float64) + flows["total_bytes_received"][rows]
        shown = rows[largest(carried, CLOSED_ROWS)]
        if len(shown):
            print_table(self._console, closed_columns(flows.where(shown)))
        _say_more(self._console, len(rows) - len(shown), "closed connection")

    def _groups(self, flows: FlowTable) -> None:
        groups = group(with_rates_of(flows, self._seconds), self._asked.by)
        carried = groups.sums["bytes_acked"].astype(np.float64) + groups.sums["bytes_received"]
        chosen = largest(carried, ROWS)
        if len(chosen):
            labels = [groups.labels[number] for number in chosen.tolist()]
            print_table(self._console, group_columns(groups, chosen, self._trends.group_columns(labels)))
            _say_more(self._console, len(groups) - len(chosen), "group")


class _Json(_Told):
    """One event a line."""

    def __init__(self, write: EventWriter, asked: _Asked, trends: Trends) -> None:
        super().__init__(asked, trends)
        self._write = write
        self._number = 0

    def interval(self, interval: Interval) -> None:
        """Write an event a connection, or a group."""
        flows = interval.flows
        if self._asked.triggers is not None:
            flows = flows.where(self._asked.triggers.met(flows))
        if self._asked.by is GroupBy.CONNECTION:
            table = with_rates_of(flows, interval.seconds)
            events = connection_events(interval, table, self._number, self._notes(flows))
            self._number += len(flows)
        else:
            groups = group(with_rates_of(flows, interval.seconds), self._asked.by)
            notes = [{"trend": text} if text else {} for text in self._trends.of_groups(groups.labels)]
            events = group_events(interval, groups, np.arange(len(groups)), self._number, notes)
            self._number += len(groups)
        self._write(events, epoch_ns=interval.epoch_ns)
        if self._asked.single_events:
            self._write(interval.events, epoch_ns=interval.epoch_ns)

    def _notes(self, flows: FlowTable) -> Sequence[Mapping[str, str]]:
        names = bottlenecks(flows).names.tolist()
        notes = [{"bottleneck": name} for name in names]
        for note, text in zip(notes, self._trends.of_connections(flows), strict=True):
            if text:
                note["trend"] = text
        if self._asked.triggers is not None:
            for row, note in enumerate(notes):
                note["trigger"] = self._asked.triggers.reasons(flows, row)
        return notes


def _largest_first(flows: FlowTable, rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """Return the places in `rows` of those with the most bytes; among those without any, with the most data waiting."""
    waiting = np.nan_to_num(flows["sendq_bytes"]) + np.nan_to_num(flows["recvq_bytes"])
    return largest((bytes_of(flows) + TIES_BROKEN_BY * waiting)[rows], most)


def _say_more(console: SafeConsole, number: int, what: str) -> None:
    if number > 0:
        print_lines(console, [f"  and {count(number, f'more {what}')}; --output json tells all"])
