"""Plots of one line of text, for the cells of a table: the values of runs, and the interval of a change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from perfcheck.model.units import format_value
from perfcheck.output.bars import BARS

_HEIGHTS: Final = BARS[1:]
_MOST: Final = 24
"""Columns of a line of values; of more values several share one, which shows their mean."""
COLUMNS: Final = 17
"""Of an interval, an odd number: no change is in the middle."""
BACKGROUND, ZERO, MARGIN, INTERVAL, CROSSED, CHANGE = "·│┊━┿╋"
"""All of one width wherever letters have one."""
LEGEND_OF_RUNS: Final = "Below a value: a column for each run, and the lowest and the highest of them."
LEGEND_OF_INTERVALS: Final = (
    f"Below an interval: the change {CHANGE} with its interval {INTERVAL}, no change {ZERO}, and the margin {MARGIN} "
    "on both sides."
)


def spark(values: Sequence[float]) -> str:
    """Return one character a value, from the lowest to the highest; values all alike are in the middle."""
    shown = _gathered(values)
    low, high = min(shown), max(shown)
    if high == low:
        return _HEIGHTS[3] * len(shown)
    return "".join(_HEIGHTS[round((value - low) / (high - low) * (len(_HEIGHTS) - 1))] for value in shown)


def extremes(values: Sequence[float], unit: str) -> str:
    """Return the lowest and the highest value, `44.9 to 46.1`, with units where they differ.

    Empty where the two are the same to a reader.
    """
    low, high = (format_value(bound(values), unit) for bound in (min, max))
    if low == high:
        return ""
    number, _, shared = low.rpartition(" ")
    end = high.removesuffix(f" {shared}")
    return f"{number} to {end}" if number and end != high else f"{low} to {high}"


def interval_bar(change_pct: float, interval_pct: tuple[float, float], margin_pct: float) -> str:
    """Return a change and its interval on a scale that has the margin on both sides of no change."""
    reach = max(2 * abs(margin_pct), *(abs(value) for value in (change_pct, *interval_pct))) or 1.0

    def column(value: float) -> int:
        return round((value + reach) / (2 * reach) * (COLUMNS - 1))

    cells = [BACKGROUND] * COLUMNS
    marks = {column(-margin_pct): MARGIN, column(margin_pct): MARGIN, column(0.0): ZERO}
    for place, mark in marks.items():
        cells[place] = mark
    for place in range(column(interval_pct[0]), column(interval_pct[1]) + 1):
        cells[place] = CROSSED if place in marks else INTERVAL
    cells[column(change_pct)] = CHANGE
    return "".join(cells)


def _gathered(values: Sequence[float]) -> Sequence[float]:
    if len(values) <= _MOST:
        return values
    ends = [len(values) * place // _MOST for place in range(_MOST + 1)]
    return [
        sum(values[begin:end]) / (end - begin) for begin, end in pairwise(ends)
    ]  # fmt: skip
