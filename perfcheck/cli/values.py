"""The values of options, which pytest and the command line share; each raises UsageError without the option's name."""

from __future__ import annotations

from perfcheck.errors import UsageError
from perfcheck.model.units import parse_percent

MOST_RUNS = 1000


def count(text: str) -> int:
    """Parse a number of runs."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MOST_RUNS:
        raise UsageError(f"expected a number of runs from 1 to {MOST_RUNS}, got {text[:40]!r}")
    return int(text)


def path_text(text: str) -> str:
    """Return the name of a file or folder; an empty one would mean the working directory."""
    if not text:
        raise UsageError("expected the name of a file or folder, got ''")
    return text


def ref(text: str) -> str:
    """Parse the name of a commit, branch or tag."""
    from perfcheck.baseline import checked_ref

    return checked_ref(text)


def percent(text: str) -> float:
    """Parse `10%`."""
    try:
        return parse_percent(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
