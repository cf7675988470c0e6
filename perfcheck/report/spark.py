"""A chart as one line of characters, for forms that have no drawings.

A specification may say by `usermeta` which column this is: `{"spark": "rtt"}`, or None for no line. Otherwise it is
the first vertical one, where what is along the other axis comes in equal steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any, Final

from perfcheck.output.bars import BARS
from perfcheck.report.document import Chart

WIDTH: Final = 48
"""Characters of a line at most."""
_GAP: Final = "\N{MIDDLE DOT}"
"""Where no value is known."""
_EVEN: Final = 0.9
"""Share of the steps that are about the usual one where values come in equal steps; the others are gaps."""
_ABOUT: Final = 0.25
_LEAST: Final = 4
"""Fewer values are no course."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """A course of values: its line, and the ends of its scale."""

    line: str
    low: float
    high: float
    series: tuple[str, ...]
    """What the rows of the line are called, in the columns of text."""


def spark(chart: Chart) -> Spark | None:
    """Return the course of the first series of a chart; None where it is not one of values in equal steps."""
    found = _axes(chart)
    if found is None:
        return None
    steps, column = found
    texts = [each for each in chart.columns.values() if any(isinstance(value, str) for value in each)]
    named: list[tuple[Any, ...]] = list(zip(*texts, strict=True)) if texts else [()] * len(column)
    first = next((name for name, value in zip(named, column, strict=True) if _known(value)), None)
    rows = [at for at, name in enumerate(named) if name == first]
    values = [float(column[at]) if _known(column[at]) else math.nan for at in rows]
    known = [value for value in values if not math.isnan(value)]
    if first is None or len(known) < _LEAST or (steps is not None and not _even([steps[at] for at in rows])):
        return None
    low, high = min(known), max(known)
    line = "".join(_character(part, low, high) for part in _parts(values))
    return Spark(line=line, low=low, high=high, series=tuple(str(each) for each in first))


def _axes(chart: Chart) -> tuple[Sequence[Any] | None, Sequence[Any]] | None:
    """Return the columns along and up: those of the first mark that has both; of a named one only the latter."""
    said = chart.spec.get("usermeta", {})
    if "spark" in said:
        column = chart.columns.get(said["spark"])
        return None if column is None or _has_text(column) else (None, column)
    for along, up in _encoded(chart.spec):
        x, y = chart.columns.get(along), chart.columns.get(up)
        if x is not None and y is not None and not _has_text(x) and not _has_text(y):
            return x, y
    return None


def _has_text(column: Sequence[Any]) -> bool:
    return any(isinstance(value, str) for value in column)


def _encoded(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of both axes wherever a part of a specification has them."""
    if isinstance(value, Mapping):
        fields = [value[axis].get("field") if isinstance(value.get(axis), Mapping) else None for axis in ("x", "y")]
        if all(isinstance(field, str) for field in fields):
            yield str(fields[0]), str(fields[1])
        for each in value.values():
            yield from _encoded(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _encoded(each)


def _even(places: Sequence[Any]) -> bool:
    """Return whether values follow one another in about equal steps: those of a clock do, those of a CDF do not."""
    if not all(_known(place) for place in places):
        return False
    steps = sorted(after - before for before, after in pairwise(places))
    if not steps or steps[0] <= 0:
        return False
    usual = steps[len(steps) // 2]
    return bool(sum(abs(step - usual) <= _ABOUT * usual for step in steps) >= _EVEN * len(steps))


def _known(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _parts(values: Sequence[float]) -> Iterator[Sequence[float]]:
    count = min(WIDTH, len(values))
    edges = [round(at * len(values) / count) for at in range(count + 1)]
    return (values[begin:end] for begin, end in pairwise(edges))


def _character(part: Sequence[float], low: float, high: float) -> str:
    known = [value for value in part if not math.isnan(value)]
    if not known:
        return _GAP
    share = (math.fsum(known) / len(known) - low) / (high - low) if high > low else 0.5
    return BARS[1 + min(int(share * (len(BARS) - 1)), len(BARS) - 2)]
