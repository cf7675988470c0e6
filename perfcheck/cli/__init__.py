"""The command line: `perfcheck run`, `ab`, `compare`, `history` and more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from perfcheck.errors import FileError, PerfcheckError, Stopped
from perfcheck.system.defects import defect_line, traceback_of
from perfcheck.system.printing import complain, drop_output, flushed_output, prepare_streams
from perfcheck.system.signals import stop_on_signals

if TYPE_CHECKING:
    import argparse

_COULD_NOT_MEASURE: Final = 3
_STEP: Final = (0, 1, 125)
"""Of a step of `git bisect run`: good, bad, cannot tell."""
_ENDS_GIT_BISECT: Final = 128
"""Git would take 2 or 3, of a wrong option or a missing tool, for a bad commit."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status of design section 9 and print errors without tracebacks.

    Status 1 is a verdict's alone. What goes wrong inside perfcheck is 3 with one line, and with `--debug` its
    traceback. A step of `git bisect run` has git's own statuses.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] != ["bisect"] or "--step" not in words:
        return _run(words)
    try:
        status = _run(words)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else _COULD_NOT_MEASURE
    return status if status in _STEP else _ENDS_GIT_BISECT


def _run(words: Sequence[str]) -> int:
    arguments: argparse.Namespace | None = None
    prepare_streams()
    try:
        # From the first line on: between scenarios, and while reports are written, nothing else would catch a signal.
        with stop_on_signals(), flushed_output():
            from perfcheck.cli.arguments import parse

            arguments = parse(words)
            return int(arguments.command(arguments))
    except BrokenPipeError:
        # The reader (head, less) went away: no error of a command that only lists, but no verdict either.
        drop_output()
        return _COULD_NOT_MEASURE if getattr(arguments, "judges", False) else 0
    except (Exception, KeyboardInterrupt, Stopped) as error:  # noqa: BLE001 - it must not end as Python's status 1
        return _told(error, debug="--debug" in words)


def _told(error: BaseException, *, debug: bool) -> int:
    """Print what went wrong; return the exit status for it."""
    if debug:
        complain(traceback_of(error))
    if isinstance(error, FileError):
        complain(str(error))
        return error.exit_status
    if isinstance(error, PerfcheckError):
        complain(f"perfcheck: {error}")
        return error.exit_status
    if isinstance(error, Stopped):
        complain(f"perfcheck: {error}; everything that the lab created is removed")
        return error.exit_status
    if isinstance(error, KeyboardInterrupt):
        complain("perfcheck: interrupted; everything that the lab created is removed")
    elif isinstance(error, OSError):
        complain(f"perfcheck: {_named(error.filename)}: {error.strerror or error}")
        drop_output()
    else:
        complain(f"perfcheck: {defect_line(error)}")
    return _COULD_NOT_MEASURE


def _named(filename: object) -> str:
    """Return the name of a file as messages show it; a descriptor's error names none."""
    return filename if isinstance(filename, str) else "output"
