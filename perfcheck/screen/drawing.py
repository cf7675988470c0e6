"""Bars and sparklines of characters; in ASCII where the terminal has no others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from perfcheck.output.bars import BARS

STEPS: Final = BARS[1:]
ASCII_STEPS: Final = "_.,-=+*#"
_SPREAD: Final = 1.25
_MOST_ROWS: Final = 16


def sparkline(values: Sequence[float], *, from_zero: bool = False, wide: bool = True) -> str:
    """Return a character a value, its height from the smallest value to the largest; a blank where there is none.

    Values that differ little are drawn flat: the top is never less than `_SPREAD` times the bottom. `from_zero`: the
    bottom is 0, which alone has the lowest character.
    """
    steps = STEPS if wide else ASCII_STEPS
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return " " * len(values)
    low = 0.0 if from_zero else min(known)
    high = max(*known, 0.0 if from_zero else _SPREAD * low)
    return "".join(
        " " if not math.isfinite(value) else steps[_level(value - low, high - low, len(steps))] for value in values
    )


def _level(value: float, top: float, levels: int) -> int:
    if value <= 0 or top <= 0:
        return 0
    return 1 + min(int(min(value / top, 1.0) * (levels - 1)), levels - 2)


def bar(share: float, width: int, *, wide: bool = True) -> str:
    """Return a bar of at most `width` characters that fills a share (0 to 1); blank where the share is not known."""
    if not math.isfinite(share) or width <= 0:
        return " " * max(width, 0)
    share = min(max(share, 0.0), 1.0)
    if not wide:
        return ("=" * math.ceil(share * width - 0.5)).ljust(width)
    whole, half = divmod(round(share * width * 2), 2)
    return ("━" * whole + "╸" * half).ljust(width)


def log_share(value: float, low: float, high: float) -> float:
    """Return where a value stands between two others on a logarithmic scale, 0 to 1; NaN for none."""
    if not math.isfinite(value):
        return math.nan
    if value <= low:
        return 0.0
    return min(math.log(value / low) / math.log(high / low), 1.0)


def stacked(shares_pct: Sequence[float], width: int) -> tuple[int, ...]:
    """Return how many of `width` characters each part gets; they add up to `width` where the shares make 100."""
    parts = [max(share, 0.0) if math.isfinite(share) else 0.0 for share in shares_pct]
    reached, ends = 0.0, [0]
    for part in parts:
        reached += part
        ends.append(round(min(reached, 100.0) * width / 100))
    return tuple(after - before for before, after in pairwise(ends))


def graph(values: Sequence[float], rows: int, *, high: float, wide: bool = True) -> tuple[str, ...]:
    """Return a graph of so many lines, the top one first; each value is a column from 0 to `high`."""
    rows = min(max(rows, 1), _MOST_ROWS)
    steps = STEPS if wide else ASCII_STEPS
    lines = []
    for row in reversed(range(rows)):
        heights = [_height(value, high, rows) - row for value in values]
        lines.append("".join(_block(each, steps, is_lowest=row == 0) for each in heights))
    return tuple(lines)


def _height(value: float, high: float, rows: int) -> float:
    """Return how many lines high a column is; NaN for no value."""
    if not math.isfinite(value):
        return math.nan
    return min(max(value / high, 0.0), 1.0) * rows if high > 0 else 0.0


def _block(height: float, steps: str, *, is_lowest: bool) -> str:
    """Return the character of a column that reaches so far above the line's bottom, which may be below it."""
    if math.isnan(height):
        return " "
    level = math.ceil(height * len(steps))
    if level <= 0:
        return steps[0] if is_lowest else " "
    return steps[min(level, len(steps)) - 1]
