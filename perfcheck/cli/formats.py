"""What goes to standard output: text for people, or what a program reads, with all else on standard error."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from perfcheck.errors import UsageError
from perfcheck.output.terminal import console_for
from perfcheck.system.apart import require_apart, require_files
from perfcheck.system.printing import complain, say

STDOUT: Final = Path("-")
"""What `--json` and `--md` take for standard output."""

CONSOLE: Final = "console"
KTAP: Final = "ktap"
FORMATS: Final = (CONSOLE, KTAP)
"""What `--output` takes, the default first."""


_WRITTEN: Final = ("json", "junit", "series", "events", "prometheus_textfile", "report", "html", "md", "pdf")
_READ: Final = ("files", "file", "records", "baseline", "current", "baseline_record")


def require_files_apart(arguments: argparse.Namespace) -> None:
    """Raise UsageError where two options of a command write to one file, to a file that it reads, or wrongly to `-`."""
    given = vars(arguments)
    written = {f"--{name.replace('_', '-')}": given.get(name) for name in _WRITTEN}
    read = [each for name in _READ for each in _paths(given.get(name))]
    files = {option: path for option, path in written.items() if isinstance(path, Path)}
    require_files(files, given.get("streaming", ()))
    require_apart(files, read)


def _paths(value: object) -> list[Path]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Path)]


def console_of(arguments: argparse.Namespace) -> Console:
    """Return the console for people: standard error where a program reads standard output."""
    streamed, ktap = _streamed(arguments), arguments.output == KTAP
    if streamed and ktap:
        raise UsageError(f"--{streamed} -: standard output is taken by --output ktap; name a file")
    return console_for(stderr=bool(streamed) or ktap)


def teller_of(arguments: argparse.Namespace) -> Callable[[str], None]:
    """Return what writes single lines for people, to the same stream."""
    return complain if arguments.output == KTAP or _streamed(arguments) else say


def _streamed(arguments: argparse.Namespace) -> str | None:
    """Return the option that writes to standard output."""
    return next((name for name in ("json", "md") if getattr(arguments, name, None) == STDOUT), None)
