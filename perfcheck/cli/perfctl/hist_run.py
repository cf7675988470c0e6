"""Runs `perfctl hist`: gathers distributions, and tells them at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from perfcheck.cli.perfctl.export_run import EXPORTED, run_exporting
from perfcheck.cli.perfctl.exports import exports_of
from perfcheck.cli.perfctl.hist_events import HistEvents
from perfcheck.cli.perfctl.hist_view import Report, report_lines
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.writing import EventWriter, console_of, events_of, print_lines
from perfcheck.errors import Stopped
from perfcheck.live.bdp import Paths
from perfcheck.live.dwell import Dwell
from perfcheck.live.perspectives import QUANTITIES, RATE, Perspectives, Side
from perfcheck.model.interval import Interval, LiveRequest, OpenIntervals
from perfcheck.system.printing import complain

SIDES: Final = {"rx": (Side.ACK,), "tx": (Side.SEND,), "both": (Side.ACK, Side.SEND)}


@dataclass(slots=True, kw_only=True)
class _Run:
    """What is gathered; `events` None: lines for people."""

    report: Report
    events: HistEvents
    write: EventWriter | None = None
    begin_ns: int = 0
    end_ns: int = 0
    epoch_ns: int = 0
    told: set[str] = field(default_factory=set)

    def add(self, interval: Interval) -> None:
        """Take an interval."""
        report = self.report
        own = report.seen.add(interval)
        report.paths.add(interval.flows)
        report.dwell.add(interval.flows)
        self.begin_ns = self.begin_ns or interval.begin_ns
        self.end_ns, self.epoch_ns = interval.end_ns, interval.epoch_ns
        report.seconds = (self.end_ns - self.begin_ns) / 1e9
        report.intervals += 1
        report.most_flows = max(report.most_flows, len(interval.flows))
        self.told |= {f"{what}: {why}" for what, why in interval.lacks.items()}
        if self.write is not None:
            self.write(self.events.interval(own, interval.number, interval.end_ns), epoch_ns=interval.epoch_ns)

    def end(self) -> None:
        """Tell the whole run."""
        report = self.report
        if self.write is not None:
            self.write(self.events.whole(report.seen, report.paths, report.dwell, self.end_ns), epoch_ns=self.epoch_ns)


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Gather until the end, Ctrl-C or a signal; then tell. Return the exit status."""
    del request
    if out.format in EXPORTED:
        return run_exporting(args, out, open_intervals)
    sides = SIDES[args.perspective]
    report = Report(sides=sides, seen=Perspectives(), paths=Paths(), dwell=Dwell())
    with ExitStack() as stack:
        made = _Run(report=report, events=HistEvents(sides))
        exports = stack.enter_context(exports_of(args, out))
        console = None
        if out.format == "json":
            made.write = stack.enter_context(events_of(out.file, out.prog))
        else:
            console = stack.enter_context(console_of(out.file))
        stopped: Stopped | None = None
        try:
            with open_intervals() as intervals:
                for interval in intervals:
                    made.add(interval)
                    exports.take(interval)
        except KeyboardInterrupt:
            pass  # Ctrl-C is how a run without --duration ends
        except Stopped as asked:
            stopped = asked
        exports.end()
        made.end()
        if console is not None:
            print_lines(console, report_lines(report))
        _say_what_is_missing(made, out)
        if stopped is not None:
            raise stopped
    return 0


def _say_what_is_missing(made: _Run, out: OutputChoice) -> None:
    for text in sorted(made.told):
        complain(f"{out.prog}: not measured: {text}")
    seen, sides = made.report.seen, made.report.sides
    sampled = any(seen.of(quantity, Side.ACK) for quantity in QUANTITIES if quantity.ack != RATE)
    if Side.SEND in sides and out.recording is not None and sampled and not _has_send_side(seen):
        complain(f"{out.prog}: the recording has no send side: only what was sampled when ACKs arrived "
                 "is in it; record with --send-side")  # fmt: skip


def _has_send_side(seen: Perspectives) -> bool:
    return any(seen.of(quantity, Side.SEND) for quantity in QUANTITIES if quantity.send != RATE)
