"""The lines that say where a load's path through the kernel got longer or shorter; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.model.path_profile import USER, CountRecord, FunctionRecord, PathProfile
from perfcheck.model.record import RunRecord

BYTES: Final = 1000
MOST_FUNCTIONS: Final = 8
LEAST_SHARE: Final = 0.0002
"""Of all instructions: a function that moved by less is not worth a line."""


def profile_lines(record: RunRecord) -> tuple[str, ...]:
    """Return the lines of all profiles of a record, none where there is none."""
    several = len(record.profiles) > 1
    return tuple(
        line for entry, profile in record.profiles.items() for line in _lines(f"{entry}: " if several else "", profile)
    )


def told_unit(profile: PathProfile) -> tuple[int, str]:
    """Return how many units of work are told together, and their name in `instructions ...`."""
    # A byte has less than one instruction.
    return (BYTES, f"for {BYTES:,} bytes") if profile.unit == "byte" else (1, f"a {profile.unit}")


def _lines(entry: str, profile: PathProfile) -> Iterator[str]:
    many, unit = told_unit(profile)
    per = f"instructions {unit}"
    if profile.total.a is None:
        parts = ", ".join(f"{name} {many * count.b:,.0f}" for name, count in profile.contexts.items())
        yield f"{entry}{many * profile.total.b:,.0f} {per}: {parts}"
    else:
        clear = {name: many * count.change for name, count in profile.contexts.items() if count.clear}
        parts = ", ".join(f"{name} {change:+,.0f}" for name, change in clear.items())
        yield f"{entry}{many * profile.total.change:+,.0f} {per}" + (f": {parts}" if parts else "")
    least = LEAST_SHARE * profile.total.b
    moved = [each for each in profile.functions if each.instructions.clear and abs(each.instructions.change) >= least]
    width = max((len(_name(each)) for each in moved[:MOST_FUNCTIONS]), default=0)
    for function in moved[:MOST_FUNCTIONS]:
        yield f"{_name(function):<{width}}  {_change(function.instructions, many)}"
    if profile.total.a is None:
        user = profile.contexts[USER].b if USER in profile.contexts else 0.0
        others = profile.total.b - user - sum(each.instructions.b for each in moved[:MOST_FUNCTIONS])
        yield f"{'other functions':<{width}}  {many * others:,.1f}"
    elif len(moved) > MOST_FUNCTIONS:
        yield f"... and {len(moved) - MOST_FUNCTIONS} functions that moved less"


def _name(function: FunctionRecord) -> str:
    return f"{function.name} [{', '.join(function.modules)}]" if function.modules else function.name


def _change(count: CountRecord, many: int) -> str:
    a, b = many * (count.a or 0.0), many * count.b
    if count.a is None:
        return f"{b:,.1f}"
    if a == 0:
        return f"{b:+,.1f}  (not run by A)"
    if b == 0:
        return f"{-a:+,.1f}  (not run by B)"
    return f"{b - a:+,.1f}  ({a:,.1f} -> {b:,.1f})"
