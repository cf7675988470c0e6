"""Runs the screen of `perfctl top`, and of `--tui` of other commands."""

from __future__ import annotations

import argparse
import locale
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from perfcheck.cli.perfctl import tcp_lines
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.writing import console_of, print_lines
from perfcheck.errors import Stopped, UsageError
from perfcheck.live.alerts import Alert, UserBounds
from perfcheck.live.diagnosis import is_part
from perfcheck.live.grouping import GroupBy
from perfcheck.live.totals import Totals
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.interval import Interval, LiveRequest, OpenIntervals
from perfcheck.screen.app import TopApp
from perfcheck.screen.feed import Feed, LiveFeed, RecordingFeed
from perfcheck.screen.filtering import RowFilter, parse_filter
from perfcheck.screen.framing import FrameMaker
from perfcheck.screen.look import look_of
from perfcheck.screen.request import ScreenRequest, TerminalGone
from perfcheck.screen.terminal import WAKING, drop_unread, terminal_lacks
from perfcheck.system.signals import signals_call

OnAlerts = Callable[[Sequence[Alert], Interval], None]


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Show the screen until the user ends it; return the exit status."""
    wanted = _row_filter(args.row_filter or "")
    return show(args, request, out, open_intervals, by=GroupBy(args.group_by), wanted=wanted)


def _row_filter(text: str) -> RowFilter:
    try:
        return parse_filter(text)
    except UsageError as problem:
        raise UsageError(f"--filter: {problem}") from None


def show(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals], *,
    by: GroupBy = GroupBy.CONNECTION, wanted: RowFilter | None = None, bounds: UserBounds | None = None,
    on_alerts: OnAlerts | None = None,
) -> int:  # fmt: skip
    """Show the screen until the user ends it, then tell what was seen; a signal is raised after the terminal is back.

    The collectors are attached before the screen and detached after it, by this thread; another one iterates.
    """
    _require_terminal(out.prog)
    is_recorded = out.recording is not None
    makers: list[FrameMaker] = []

    def maker() -> FrameMaker:
        makers.append(FrameMaker(bounds=bounds, part=is_part(request), on_alerts=on_alerts))
        del makers[:-1]
        return makers[0]

    screen = ScreenRequest(
        title=str(out.recording) if is_recorded else watched(request), is_recorded=is_recorded, by=by,
        filter=wanted or RowFilter(),
        look=look_of(os.environ, encoding=locale.getencoding(), no_colour=args.no_colour), terminal=0,
    )  # fmt: skip
    # A recording of somebody else's may hold any number: no reason for numpy's warnings.
    with np.errstate(all="ignore"), open_intervals() as intervals:
        feed: Feed = RecordingFeed(intervals, maker) if is_recorded else LiveFeed(intervals, maker())
        said = _shown(feed, screen)
    with console_of(None) as console:
        print_lines(console, said)
        if not is_recorded:
            print_lines(console, tcp_lines.summary(makers[0].totals if makers else Totals()))
    return 0


def _shown(feed: Feed, screen: ScreenRequest) -> Sequence[str]:
    """Run the screen; return the lines that others wanted to write meanwhile."""
    app = TopApp(feed, screen)
    stopped: list[signal.Signals] = []
    over = threading.Event()

    def stop(number: signal.Signals) -> None:
        if not stopped:
            drop_unread(0, over)
        stopped.append(number)
        app.end_soon()

    with signals_call(stop), _kept_handlers():
        try:
            app.run()
        finally:
            over.set()
            feed.stop()
    if app.failure is not None and not isinstance(app.failure, TerminalGone):
        raise app.failure
    if isinstance(app.failure, TerminalGone):
        raise Stopped(str(app.failure))
    if stopped and stopped[0] is not signal.SIGINT:
        raise Stopped(f"stopped by {stopped[0].name}")
    if app.defect is not None:
        raise app.defect
    return app.said


@contextmanager
def _kept_handlers() -> Iterator[None]:
    """Put back the handlers of signals that Textual and the screen set."""
    numbers = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTOU, signal.SIGTTIN, WAKING)
    former = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _require_terminal(prog: str) -> None:
    lacking = terminal_lacks()
    if lacking is not None:
        command = "`perfctl tcp`" if prog == "perfctl top" else f"`{prog}` without --tui"
        raise UsageError(f"{lacking} is not a terminal, which a screen needs; {command} writes to pipes and files")


def watched(request: LiveRequest) -> str:
    """Return in a few words what is watched."""
    parts = [f"netns {', '.join(request.netns)}"] if request.netns else []
    parts += [text for text in _filter_texts(request.filter) if text]
    return ", ".join(parts) or "all connections"


def _filter_texts(wanted: FlowFilter) -> Iterator[str]:
    for name, end in (
        ("", wanted.source), ("to", wanted.target), ("local", wanted.local), ("remote", wanted.remote)
    ):  # fmt: skip
        if not end.is_any:
            yield f"{name} {_end(end)}".strip()
    yield "" if wanted.pid is None else f"pid {wanted.pid}"
    yield "" if wanted.comm is None else f"process {wanted.comm}"
    yield "" if wanted.cgroup is None else f"cgroup {wanted.cgroup}"
    yield "" if wanted.interface is None else f"interface {wanted.interface}"


def _end(end: End) -> str:
    first, last = end.ports
    ports = "" if (first, last) == (0, 65535) else f"port {first}" if first == last else f"ports {first}-{last}"
    return " ".join(part for part in (str(end.network or ""), ports) if part)
