"""`--report` of the commands that watch: what passes is gathered, and written when the watch is over."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perfcheck.cli.perfctl.observe_run import bounds_of
from perfcheck.cli.perfctl.options import FILTERS, option_name
from perfcheck.errors import PerfcheckError, UsageError
from perfcheck.live.alerts import UserBounds
from perfcheck.report.live.gathering import Gathering, Watch
from perfcheck.report.live.page import document
from perfcheck.report.write import require_possible, write_report
from perfcheck.system.printing import complain
from perfcheck.system.signals import deferred_signals

if TYPE_CHECKING:
    from perfcheck.cli.perfctl.command import Command
    from perfcheck.model.interval import LiveRequest, OpenIntervals

Opening = Callable[[], "OpenIntervals"]


@contextmanager
def reported(
    args: argparse.Namespace, command: Command, request: LiveRequest, words: Sequence[str], opening: Opening
) -> Iterator[Opening]:  # fmt: skip
    """Yield what opens the intervals; where a report is asked for, they are gathered on their way to the command.

    The report is written when the block ends: with the duration, at Ctrl-C, by SIGTERM or by an error. What ends the
    block with an error keeps its exit status; a report that cannot be written is OutputError otherwise.
    """
    path: Path = args.report
    try:
        require_possible(path)
    except UsageError as problem:
        raise UsageError(f"--report: {problem}") from None
    gathering = _gathering(args, command, request, words)
    try:
        yield gathering.opening(opening)
    except BaseException:
        try:
            _write(path, gathering)
        except PerfcheckError as problem:
            complain(f"perfctl {command.name}: {problem}")
        raise
    _write(path, gathering)


def _gathering(
    args: argparse.Namespace, command: Command, request: LiveRequest, words: Sequence[str]
) -> Gathering:  # fmt: skip
    return Gathering(Watch(
        command=command.name, request=request, filters=filters_of(words),
        recording=None if args.recording is None else str(args.recording),
        bounds=bounds_of(args) if command.name == "observe" else UserBounds(),
        reproduce=shlex.join(["perfctl", *words]),
    ))  # fmt: skip


def filters_of(words: Sequence[str]) -> dict[str, str]:
    """Return the options that choose flows as they were written, by name."""
    names = [option_name(dest) for dest in FILTERS]
    written = dict(zip(words, [*words[1:], ""], strict=True))
    written |= dict(word.split("=", 1) for word in words if "=" in word)
    return {name: written[name] for name in names if name in written}


def _write(path: Path, gathering: Gathering) -> None:
    """Write what was gathered; nothing where no interval was over."""
    if not gathering.seen:
        complain(f"no interval was over, so that no report is written to {path}")
        return
    with deferred_signals():
        write_report(document(gathering), path)
    complain(f"report written to {path}")
