"""The values of options, which pytest and the command line share.

Each raises UsageError; only that of `tolerance` begins with the option's name.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from perfcheck.errors import UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.own_metric import may_be_own
from perfcheck.model.units import parse_percent

T = TypeVar("T")

MOST_RUNS: Final = 1000
MAX_CHARACTERS: Final = 200
"""Of a tolerance."""


def for_argparse(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return the parser as argparse wants it, which then names the option before what is wrong with its value."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


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


path = for_argparse(lambda text: Path(path_text(text)))
"""The name of a file or folder as a command line's argument."""


def kernel_name(text: str) -> str:
    """Parse the name of a kernel of the store, which need not be there."""
    from perfcheck.kernels.names import check_name

    return check_name(text)


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


def tolerance(text: str) -> tuple[str, float]:
    """Parse `tcp.rtt_us.p99=5%` to (metric, percent); UsageError names the nearest metric."""
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"--tolerance: expected METRIC=PCT such as tcp.rtt_us.p99=5%, got {len(text)} characters")
    name, equals, percent = text.partition("=")
    number = percent.strip().removesuffix("%")
    if not equals or not number:
        raise UsageError(f"--tolerance: expected METRIC=PCT such as tcp.rtt_us.p99=5%, got {text!r}")
    if name not in CATALOGUE and not may_be_own(name):
        from perfcheck.scenario.suggest import hint

        raise UsageError(f"--tolerance: unknown metric {name!r}{hint(name, CATALOGUE)}")
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"--tolerance: expected a percentage such as 5%, got {percent!r}") from None
    if not 0 <= value < float("inf"):
        raise UsageError(f"--tolerance: expected a percentage of 0 or more, got {percent!r}")
    return name, value
