"""The lines that say where a load's path through the kernel got longer or shorter; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.model.path_profile import CountRecord, FunctionRecord, PathProfile
from perfcheck.model.record import RunRecord

MOST_FUNCTIONS: Final = 8
LEAST_SHARE: Final = 0.0002
"""Of all instructions: a function that moved by less is not worth a line."""


def profile_lines(record: RunRecord) -> tuple[str, ...]:
    """Return the lines of all profiles of a record, none where there is none."""
    several = len(record.profiles) > 1
    return tuple(
        line for entry, profile in record.profiles.items() for line in _lines(f"{entry}: " if several else "", profile)
    )


def _lines(entry: str, profile: PathProfile) -> Iterator[str]:
    if profile.total.a is None:
        parts = ", ".join(f"{name} {count.b:,.0f}" for name, count in profile.contexts.items())
        yield f"{entry}{profile.total.b:,.0f} instructions a {profile.unit}: {parts}"
    else:
        parts = ", ".join(f"{name} {count.change:+,.0f}" for name, count in profile.contexts.items() if count.clear)
        yield f"{entry}{profile.total.change:+,.0f} instructions a {profile.unit}" + (f": {parts}" if parts else "")
    least = LEAST_SHARE * profile.total.b
    moved = [each for each in profile.functions if each.instructions.clear and abs(each.instructions.change) >= least]
    width = max((len(_name(each)) for each in moved[:MOST_FUNCTIONS]), default=0)
    for function in moved[:MOST_FUNCTIONS]:
        yield f"{_name(function):<{width}}  {_change(function.instructions)}"
    if len(moved) > MOST_FUNCTIONS:
        yield f"... and {len(moved) - MOST_FUNCTIONS} functions that moved less"


def _name(function: FunctionRecord) -> str:
    return f"{function.name} [{', '.join(function.modules)}]" if function.modules else function.name


def _change(count: CountRecord) -> str:
    if count.a is None:
        return f"{count.b:,.1f}"
    if count.a == 0:
        return f"{count.b:+,.1f}  (not run by A)"
    if count.b == 0:
        return f"{-count.a:+,.1f}  (not run by B)"
    return f"{count.change:+,.1f}  ({count.a:,.1f} -> {count.b:,.1f})"
