"""What goes to standard output: text for people, or what a program reads, with all else on standard error."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from perfcheck.errors import UsageError
from perfcheck.output.terminal import console_for
from perfcheck.system.apart import require_apart
from perfcheck.system.printing import complain, say

STDOUT: Final = Path("-")
"""What `--json` takes for standard output."""

CONSOLE: Final = "console"
KTAP: Final = "ktap"
FORMATS: Final = (CONSOLE, KTAP)
"""What `--output` takes, the default first."""


_WRITTEN: Final = ("json", "junit", "series", "events", "prometheus_textfile", "report", "html", "md", "pdf")
_READ: Final = ("files", "file", "records", "baseline", "current", "baseline_record")


def require_files_apart(arguments: argparse.Namespace) -> None:
    """Raise UsageError where two options of a command write to one file, or to a file that it reads."""
    given = vars(arguments)
    written = {f"--{name.replace('_', '-')}": given.get(name) for name in _WRITTEN}
    read = [each for name in _READ for each in _paths(given.get(name))]
    require_apart({option: path for option, path in written.items() if isinstance(path, Path)}, read)


def _paths(value: object) -> list[Path]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Path)]


def console_of(arguments: argparse.Namespace) -> Console:
    """Return the console for people: standard error where a program reads standard output."""
    json, ktap = getattr(arguments, "json", None) == STDOUT, arguments.output == KTAP
    if json and ktap:
        raise UsageError("--json -: standard output is taken by --output ktap; name a file")
    return console_for(stderr=json or ktap)


def teller_of(arguments: argparse.Namespace) -> Callable[[str], None]:
    """Return what writes single lines for people, to the same stream."""
    return complain if arguments.output == KTAP else say
