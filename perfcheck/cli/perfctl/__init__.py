"""The command `perfctl`: one set of options on every command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

from perfcheck.errors import FileError, PerfcheckError, Stopped, UsageError
from perfcheck.system.defects import defect_line, traceback_of
from perfcheck.system.printing import complain, drop_output, flushed_output, prepare_streams

if TYPE_CHECKING:
    import argparse

    from perfcheck.cli.perfctl.command import Command
    from perfcheck.cli.perfctl.output_choice import OutputChoice
    from perfcheck.model.interval import LiveRequest, OpenIntervals

_COULD_NOT_MEASURE: Final = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status of design section 9, and print errors on one line."""
    words = sys.argv[1:] if argv is None else list(argv)
    prepare_streams()
    prog = "perfctl"
    try:
        with flushed_output():
            from perfcheck.cli.perfctl.registry import parse

            args, command = parse(words)
            prog = f"perfctl {command.name}"
            return _run(args, command, words)
    except BrokenPipeError:
        drop_output()  # the reader (head, less) went away
        return 0
    except (Exception, KeyboardInterrupt, Stopped) as error:  # noqa: BLE001 - it must not end as Python's status 1
        if "--debug" in words:
            complain(traceback_of(error))
        return _told(error, prog)


def _run(args: argparse.Namespace, command: Command, words: Sequence[str]) -> int:
    from perfcheck.system.signals import stop_on_signals

    with stop_on_signals():
        if command.watching is None:
            return _runner(command)(args)
        request, out, open_intervals = _asked(args, command)
        if args.report is None:
            return _runner(command)(args, request, out, open_intervals)
        from perfcheck.cli.perfctl.reporting import reported

        with reported(args, command, request, words, open_intervals) as gathered:
            return _runner(command)(args, request, out, gathered)


def _runner(command: Command) -> Callable[..., int]:
    """Return what runs a command; its module is loaded when it is needed, since most are heavy."""
    run: Callable[..., int] = import_module(f"perfcheck.cli.perfctl.{command.name}_run").run
    return run


def _asked(args: argparse.Namespace, command: Command) -> tuple[LiveRequest, OutputChoice, Callable[[], OpenIntervals]]:
    """Return what is to be watched, where results go, and what opens the intervals."""
    from perfcheck.cli.perfctl.attaching import attached
    from perfcheck.cli.perfctl.machine import check_files, resolved
    from perfcheck.cli.perfctl.options import output_of, request_of

    check_files(args)
    request, out = request_of(args, command), output_of(args, command)
    recording = out.recording
    if recording is None:
        request = resolved(request)

    def open_intervals() -> OpenIntervals:
        if recording is not None:
            opened: OpenIntervals = import_module("perfcheck.live.recording").open_recording(recording, request)
            return opened
        return attached(request)

    return request, out, open_intervals


def _told(error: BaseException, prog: str) -> int:
    """Print what went wrong; return the exit status for it."""
    if isinstance(error, FileError):
        complain(str(error))
        return error.exit_status
    if isinstance(error, PerfcheckError):
        complain(_one_line(f"{prog}: {error}") if isinstance(error, UsageError) else f"{prog}: {error}")
        return error.exit_status
    if isinstance(error, Stopped):
        complain(f"{prog}: {error}")
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        complain(f"{prog}: interrupted")
    elif isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else "output"
        complain(f"{prog}: {name}: {error.strerror or error}")
        drop_output()
    elif isinstance(error, ModuleNotFoundError) and str(error.name).endswith("_run"):
        complain(f"{prog}: is not part of this version yet")
    else:
        complain(f"{prog}: {defect_line(error)}")
    return _COULD_NOT_MEASURE


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))
