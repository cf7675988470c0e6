"""A chart as one line of characters, for forms that have no drawings.

A specification may say by `usermeta` which column this is: `{"spark": "rtt"}`. Otherwise it is the first vertical one.
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
    """Return the course of the first series of a chart; None where it is not one of values in their order."""
    column = _column(chart)
    if column is None:
        return None
    texts = [each for each in chart.columns.values() if any(isinstance(value, str) for value in each)]
    rows = list(zip(*texts, strict=True)) if texts else [()] * len(column)
    first = next((row for row, value in zip(rows, column, strict=True) if _known(value)), None)
    values = [float(value) if _known(value) else math.nan
              for row, value in zip(rows, column, strict=True) if row == first]  # fmt: skip
    known = [value for value in values if not math.isnan(value)]
    if first is None or len(known) < _LEAST:
        return None
    low, high = min(known), max(known)
    line = "".join(_character(part, low, high) for part in _parts(values))
    return Spark(line=line, low=low, high=high, series=tuple(str(each) for each in first))


def _column(chart: Chart) -> Sequence[Any] | None:
    named = chart.spec.get("usermeta", {}).get("spark")
    names = [named] if named is not None else _vertical(chart.spec)
    found = (chart.columns[name] for name in names if name in chart.columns)
    return next((each for each in found if not any(isinstance(value, str) for value in each)), None)


def _vertical(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        encoded = value.get("y")
        if isinstance(encoded, Mapping) and isinstance(encoded.get("field"), str):
            yield encoded["field"]
        for each in value.values():
            yield from _vertical(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _vertical(each)


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
