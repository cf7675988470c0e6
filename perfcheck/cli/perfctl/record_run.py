"""`perfctl record`: a ring that is dumped on SIGUSR1, on an alert and at the end; or all of a duration in one file."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.parser import given
from perfcheck.cli.perfctl.record_progress import RecordProgress, length_text
from perfcheck.errors import OutputError, UsageError
from perfcheck.live.alerts import AlertState, AlertWatch
from perfcheck.live.recording.header import header_of
from perfcheck.live.recording.ring import Dumped, Ring, leftover_rings, recover
from perfcheck.live.recording.writing import RecordingFile, written_reason
from perfcheck.model.interval import Interval, LiveRequest, OpenIntervals
from perfcheck.model.units import format_value
from perfcheck.system.printing import complain, say
from perfcheck.system.signals import deferred_signals

MOST_ALERT_DUMPS: Final = 10
"""Files of one run that alerts may write: each is as large as the ring."""
_LEAST_BETWEEN_SHARE: Final = 0.5
"""Of the hindsight, from one dump on an alert to the next: most of a sooner one would be the same intervals."""


class _Keeper(Protocol):
    """What intervals go into; `problem` says why the last one did not, and `missing` counts those."""

    missing: int
    problem: str | None

    @property
    def size_bytes(self) -> int:
        """How large it is."""

    def append(self, interval: Interval) -> None:
        """Keep one more."""


def run(
    args: argparse.Namespace, request: LiveRequest, out: OutputChoice, open_intervals: Callable[[], OpenIntervals]
) -> int:
    """Record until the end, Ctrl-C or a signal; return 0 where all of it is in the file."""
    path = out.file or Path(f"perfctl-{datetime.now().astimezone():%Y%m%d-%H%M%S}.rec")
    if args.recover:
        return _recover(path)
    for folder in leftover_rings():
        complain(
            f"{out.prog}: a recording that was killed left its intervals in {folder}; "
            "`perfctl record --recover --output-file FILE` writes them to a file"
        )
    with _dump_signal() as asked:
        # Without a duration only a ring is bounded.
        if "hindsight_ns" in given(args) or request.duration_ns is None:
            return _HindsightRun(path, request, args.hindsight_ns, out.prog, asked).run(open_intervals)
        return _whole(path, request, out.prog, open_intervals)


def _whole(path: Path, request: LiveRequest, prog: str, open_intervals: Callable[[], OpenIntervals]) -> int:
    file = RecordingFile(path, header_of(request))
    try:
        _feed(file, request, prog, open_intervals, lambda _interval: None)
    finally:
        file.close()
        if file.kept:
            say(
                f"{path}: {_intervals(file.kept)}, {format_value(file.size_bytes, 'bytes')}; read it with --from {path}"
            )
    if file.missing:
        raise OutputError(_missing_text(file))
    return 0


class _HindsightRun:
    """A ring, and the files that it is dumped to."""

    def __init__(
        self, path: Path, request: LiveRequest, hindsight_ns: int, prog: str, asked: threading.Event
    ) -> None:  # fmt: skip
        self._path = path
        self._request = request
        self._hindsight_ns = hindsight_ns
        self._prog = prog
        self._asked = asked
        self._ring = Ring(header_of(request), duration_ns=hindsight_ns)
        self._watch = AlertWatch()
        self._dumps = 0
        self._alert_dumps = 0
        self._alert_dumped_ns: int | None = None

    def run(self, open_intervals: Callable[[], OpenIntervals]) -> int:
        """Record, and dump at the end; the ring stays for `--recover` where the last dump could not be written."""
        complain(
            f"{self._prog}: keeps the last {length_text(self._hindsight_ns)}; `kill -USR1 {os.getpid()}`, an alert and "
            f"Ctrl-C write them to {self._path}"
        )
        is_kept = False
        try:
            try:
                _feed(self._ring, self._request, self._prog, open_intervals, self._look)
            finally:
                is_kept = not self._dump("the end") and self._ring.intervals > 0
        finally:
            self._ring.close(keep=is_kept)
        if is_kept:
            raise OutputError(
                f"the recording stays in {self._ring.folder}; "
                "`perfctl record --recover --output-file FILE` writes it to another file"
            )
        if self._ring.missing:
            raise OutputError(_missing_text(self._ring))
        return 0

    def _look(self, interval: Interval) -> None:
        """Dump where it was asked for, or where an alert is raised."""
        raised = [alert for alert in self._watch.observe(interval) if alert.state is AlertState.RAISED]
        for alert in raised:
            complain(f"{self._prog}: alert: {alert.text}")
        if self._asked.is_set():
            self._asked.clear()
            self._dump("SIGUSR1")
        elif raised and self._is_worth_a_dump(interval.end_ns):
            self._alert_dumps += 1
            self._alert_dumped_ns = interval.end_ns
            self._dump(f"alert {raised[0].id}")
            if self._alert_dumps == MOST_ALERT_DUMPS:
                complain(f"{self._prog}: {MOST_ALERT_DUMPS} dumps on alerts are written; later alerts write none")

    def _is_worth_a_dump(self, now_ns: int) -> bool:
        last_ns = self._alert_dumped_ns
        is_soon = last_ns is not None and now_ns - last_ns < _LEAST_BETWEEN_SHARE * self._hindsight_ns
        return not is_soon and self._alert_dumps < MOST_ALERT_DUMPS

    def _dump(self, why: str) -> bool:
        """Write the ring to a file of its own, since an earlier dump may be what was wanted; whether that was done."""
        if not self._ring.intervals:
            complain(f"{self._prog}: {why}: no interval is over yet; nothing is written")
            return True
        path = _numbered(self._path, self._dumps)
        try:
            dumped = self._ring.dump(path)
        except OSError as error:
            complain(f"{self._prog}: {written_reason(path, error)}")
            return False
        self._dumps += 1
        _say_dumped(dumped, why)
        return True


def _feed(
    keeper: _Keeper, request: LiveRequest, prog: str, open_intervals: Callable[[], OpenIntervals],
    look: Callable[[Interval], None],
) -> None:  # fmt: skip
    """Keep all intervals; return at Ctrl-C, too. A disk that is full is told once, and when it has room again."""
    was_problem: str | None = None
    try:
        with RecordProgress(prog, request.duration_ns) as progress, open_intervals() as intervals:
            for interval in intervals:
                with deferred_signals():  # Ctrl-C must not leave half an interval
                    keeper.append(interval)
                if (keeper.problem is None) != (was_problem is None):
                    progress.clear()
                    complain(f"{prog}: {keeper.problem or _room_again(keeper)}")
                was_problem = keeper.problem
                look(interval)
                progress.show(interval, keeper.size_bytes)
    except KeyboardInterrupt:
        return


@contextmanager
def _dump_signal() -> Iterator[threading.Event]:
    """Yield what SIGUSR1 sets while the block lasts; without it the signal would end the process."""
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former = signal.signal(signal.SIGUSR1, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGUSR1, former)


def _recover(path: Path) -> int:
    """Write each ring that was left to a file."""
    folders = leftover_rings()
    if not folders:
        raise UsageError("--recover: no killed recording left anything here; TMPDIR must be as it was then")
    for number, folder in enumerate(folders):
        target = _numbered(path, number)
        try:
            _say_dumped(recover(folder, target), f"recovered from {folder}")
        except OSError as error:
            raise OutputError(written_reason(target, error)) from None
    return 0


def _numbered(path: Path, number: int) -> Path:
    """Return `incident.rec`, `incident-2.rec`, ..."""
    return path if number == 0 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def _say_dumped(dumped: Dumped, why: str) -> None:
    say(
        f"{dumped.path}: {_intervals(dumped.intervals)}, {format_value(dumped.size_bytes, 'bytes')} ({why}); "
        f"read it with --from {dumped.path}"
    )


def _intervals(number: int) -> str:
    return f"{number:,} interval{'' if number == 1 else 's'}"


def _room_again(keeper: _Keeper) -> str:
    return f"the recording goes on; {_intervals(keeper.missing)} could not be written"


def _missing_text(keeper: _Keeper) -> str:
    why = f" ({keeper.problem})" if keeper.problem else ""
    return f"{_intervals(keeper.missing)} could not be written{why}; those are missing in the recording"
