"""Runs `perfctl observe`: each interval's figures, what was behind retransmissions, and alerts."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Final

from perfcheck.cli.perfctl.exports import Exports, exports_of, wait_for_end
from perfcheck.cli.perfctl.observe_output import Told, told_to
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.errors import Stopped
from perfcheck.export.exporter import Found
from perfcheck.live import observe_text
from perfcheck.live.alerts import Alert, AlertState, AlertWatch, UserBounds, alert_event
from perfcheck.live.alerts.rules import rules_of
from perfcheck.live.delivery import Deliveries, DeliveryReport
from perfcheck.live.diagnosis import is_part
from perfcheck.live.observation import (
    FIRST_NUMBER,
    WatchTotals,
    figures_of,
    interval_event,
    retransmission_event,
    totals_event,
)
from perfcheck.live.recent_diagnosis import RecentDiagnosis
from perfcheck.live.retransmissions import Retransmission, RetransmissionJoin, summary_of, words_of
from perfcheck.model.event import Event
from perfcheck.model.interval import Interval, Intervals, LiveRequest, OpenIntervals
from perfcheck.system.printing import complain
from perfcheck.system.signals import deferred_signals, interrupt_calls

_DIAGNOSED_S: Final = 30.0
"""How often causes are judged for exports while no alert asks for it: each time takes some 50 ms of CPU time."""


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Tell each interval until the end or Ctrl-C, then the summary; return the exit status."""
    if args.tui:
        return _on_a_screen(args, request, out, open_intervals)
    rules = [rule.name for rule in rules_of(bounds_of(args))]
    with told_to(out) as told, _delivering(args, out) as deliveries, exports_of(args, out, rules) as exports:
        run_ = _Run(told, deliveries, AlertWatch(bounds_of(args)), request, exports)
        try:
            with open_intervals() as intervals, _ended_by_interrupt(intervals):
                for interval in intervals:
                    run_.take(interval)
        except KeyboardInterrupt:
            pass  # how a run without --duration ends
        except Stopped:
            run_.end()
            raise
        run_.end()
        if out.recording is not None and out.format == "prometheus":
            with suppress(KeyboardInterrupt):
                wait_for_end(out)
    return 0


def _on_a_screen(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Show the screen; alerts are delivered meanwhile, and what could not be is told at the end."""
    from perfcheck.cli.perfctl.top_run import show

    numbers = itertools.count(FIRST_NUMBER)
    with _delivering(args, out) as deliveries:

        def deliver(alerts: Sequence[Alert], interval: Interval) -> None:
            for alert in alerts:
                if alert.state is not AlertState.ONGOING:
                    deliveries.put(alert, epoch_ns=interval.epoch_ns, number=next(numbers))

        status = show(args, request, out, open_intervals, bounds=bounds_of(args), on_alerts=deliver)
        with suppress(KeyboardInterrupt), deferred_signals():
            report = deliveries.close()
            complain("\n".join(f"{out.prog}: {line}" for line in report.lines()))
    return status


def bounds_of(args: argparse.Namespace) -> UserBounds:
    """Return the bounds that the options set."""
    rtt_ns = args.alert_rtt_p99_ns
    return UserBounds(
        rtt_p99_us=None if rtt_ns is None else rtt_ns / 1000, retrans_pct=args.alert_retrans_rate_pct,
        drops_pct=args.alert_drop_rate_pct,
    )  # fmt: skip


def _ended_by_interrupt(intervals: Intervals) -> AbstractContextManager[None]:
    """Let Ctrl-C end the interval that is under way, and tell it, where the source can do that."""
    stop = getattr(intervals, "stop", None)
    return nullcontext() if stop is None else interrupt_calls(stop)


@contextmanager
def _delivering(args: argparse.Namespace, out: OutputChoice) -> Iterator[Deliveries]:
    """Yield what delivers alerts; whatever ends the block, undelivered ones are told."""
    deliveries = Deliveries(args.alert_output, tool=out.prog)
    try:
        yield deliveries
    except BaseException:
        report = deliveries.close()
        if report.undelivered:
            # Not where results go: that may be what failed.
            complain("\n".join(f"{out.prog}: {line}" for line in report.lines()))
        raise


class _Run:
    """One run: what each interval adds, and how it ends."""

    def __init__(
        self, told: Told, deliveries: Deliveries, watch: AlertWatch, request: LiveRequest, exports: Exports
    ) -> None:  # fmt: skip
        self._exports = exports
        self._told = told
        self._deliveries = deliveries
        self._watch = watch
        self._diagnosis = RecentDiagnosis(part=is_part(request), every_s=_DIAGNOSED_S if exports else None)
        self._single_events = request.mode != "summary"
        self._join = RetransmissionJoin()
        self._totals = WatchTotals()
        self._numbers = itertools.count(FIRST_NUMBER)
        self._epoch_ns = 0

    def take(self, interval: Interval) -> None:
        """Tell an interval, and deliver its alerts."""
        self._epoch_ns = interval.epoch_ns
        figures = figures_of(interval)
        self._totals.take(interval, figures)
        behind = self._join.explain(interval)
        self._count(behind)
        alerts = self._watch.observe(interval)
        changed = self._deliver(alerts)
        diagnosis = self._diagnosis.of(interval, alerts)
        events = [interval_event(interval, figures, next(self._numbers), diagnosis), *changed, *self._details(behind)]
        if self._single_events:
            events = [*interval.events, *events]
        explained = summary_of(behind, self._join.waiting)
        details = observe_text.interval_details(interval, figures, alerts, explained, diagnosis)
        self._told.interval(interval, figures, details, events)
        self._told.note(self._deliveries.news())
        if self._exports:
            self._exports.take(interval, self._found(alerts))

    def _found(self, alerts: Sequence[Alert]) -> Found:
        return Found(
            raised=tuple(alert.rule for alert in alerts if alert.state is AlertState.RAISED),
            active=tuple(alert.rule for alert in self._watch.active), causes=self._diagnosis.latest(),
        )  # fmt: skip

    def end(self) -> None:
        """Let deliveries finish for some seconds, and tell the summary; Ctrl-C does not cut it."""
        with suppress(KeyboardInterrupt), deferred_signals():
            self._exports.end()
            behind = self._join.finish()
            self._count(behind)
            report = self._deliveries.close()
            self._told.note(self._deliveries.news())
            events = [*self._details(behind), totals_event(self._totals, next(self._numbers), report.undelivered)]
            self._told.end(self._summary(report), events, self._epoch_ns)

    def _summary(self, report: DeliveryReport) -> Iterator[str]:
        yield from observe_text.summary_lines(self._totals, self._watch.active)
        if causes := self._diagnosis.at_the_end():
            looks = self._diagnosis.looks
            yield f"diagnosis of the last {'interval' if looks == 1 else f'{looks} intervals'}: {causes}"
        yield from report.lines()

    def _count(self, behind: Sequence[Retransmission]) -> None:
        for one in behind:
            self._totals.behind[words_of(one)] += one.segments

    def _deliver(self, alerts: Sequence[Alert]) -> list[Event]:
        """Queue alerts that were raised or cleared, and return them as events."""
        events = []
        for alert in alerts:
            if alert.state is AlertState.ONGOING:
                continue
            number = next(self._numbers)
            self._deliveries.put(alert, epoch_ns=self._epoch_ns, number=number)
            events.append(alert_event(alert, number))
            if alert.state is AlertState.RAISED:
                self._totals.raised[alert.rule] += 1
        return events

    def _details(self, behind: Sequence[Retransmission]) -> list[Event]:
        return [retransmission_event(one, next(self._numbers)) for one in behind]
