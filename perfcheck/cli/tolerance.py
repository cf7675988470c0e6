"""The words of `--tolerance`, which pytest and the command line share."""

from __future__ import annotations

from typing import Final

from perfcheck.errors import UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.scenario.suggest import hint

MAX_CHARACTERS: Final = 200


def tolerance(text: str) -> tuple[str, float]:
    """Parse `tcp.rtt_us.p99=5%` to (metric, percent); UsageError names the nearest metric."""
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"--tolerance: expected METRIC=PCT such as tcp.rtt_us.p99=5%, got {len(text)} characters")
    name, equals, percent = text.partition("=")
    number = percent.strip().removesuffix("%")
    if not equals or not number:
        raise UsageError(f"--tolerance: expected METRIC=PCT such as tcp.rtt_us.p99=5%, got {text!r}")
    if name not in CATALOGUE:
        raise UsageError(f"--tolerance: unknown metric {name!r}{hint(name, CATALOGUE)}")
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"--tolerance: expected a percentage such as 5%, got {percent!r}") from None
    if not 0 <= value < float("inf"):
        raise UsageError(f"--tolerance: expected a percentage of 0 or more, got {percent!r}")
    return name, value
