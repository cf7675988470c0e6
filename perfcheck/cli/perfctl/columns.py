"""Tables of many columns: the most important ones that fit the terminal are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.model.printable import printable

ABSENT: Final = "-"
_GAP: Final = "  "
_CUT: Final = ".."
_LEAST_SHOWN: Final = len("255.255.255.255:65535->255.255.255.255:65535")
_WHOLE_BELOW: Final = 99_999.5
"""Counts up to here are written out."""
_BEYOND: Final = 1e15
"""No figure of a connection; only a damaged recording has it."""
_STEPS: Final = {
    "us": ((1e6, "s"), (1e3, "ms"), (1.0, "us")),
    "bps": ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "count": ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A heading and a cell for each row; columns of a small `rank` get room first.

    Texts are to the left, and numbers to the right. One that `shrinks` is cut in the middle where a terminal is narrow.
    """

    heading: str
    rank: int
    cells: Sequence[str]
    is_text: bool = False
    shrinks: bool = False


def table_lines(columns: Sequence[Column], width: int | None) -> tuple[str, ...]:
    """Return the heading and the rows as aligned lines of at most `width` characters; None: whatever they need."""
    shown = [(column, [printable(cell) for cell in (column.heading, *column.cells)]) for column in columns]
    if width is not None:
        shown = _fitted(shown, width)
    padded = [
        [cell.ljust(size) if column.is_text else cell.rjust(size) for cell in cells]
        for column, cells in shown
        for size in (max(map(len, cells)),)
    ]
    return tuple(_GAP.join(cells).rstrip() for cells in zip(*padded, strict=True))


def _fitted(shown: list[tuple[Column, list[str]]], width: int) -> list[tuple[Column, list[str]]]:
    most = min(max(_LEAST_SHOWN, width * 3 // 10), width)
    shown = [(column, [_cut(cell, most) for cell in cells] if column.shrinks else cells) for column, cells in shown]
    first, *others = sorted(shown, key=lambda each: each[0].rank)
    chosen = [first]
    for each in others:
        if _width([*chosen, each]) <= width:
            chosen.append(each)
    return [each for each in shown if each in chosen]


def _width(shown: Sequence[tuple[Column, list[str]]]) -> int:
    return sum(max(map(len, cells)) for _, cells in shown) + len(_GAP) * (len(shown) - 1)


def _cut(cell: str, width: int) -> str:
    """Return a text with its middle left out: both ends of a flow stay recognisable by their ports."""
    if len(cell) <= width:
        return cell
    head = (width - len(_CUT)) // 2
    return f"{cell[:head]}{_CUT}{cell[head + len(_CUT) - width :]}"


def short(value: float, unit: str) -> str:
    """Return a value of a unit (us, bps, bytes, count) in few characters: `20.1ms`, `941M`; `-` for NaN."""
    if math.isnan(value):
        return ABSENT
    if value == 0:
        return "0"
    if abs(value) >= _BEYOND:
        return f"{value:.2g}"
    if unit == "count" and abs(value) < _WHOLE_BELOW:
        return f"{value:.1f}" if abs(value) < 10 and value != int(value) else f"{value:.0f}"
    factor, name = next(
        ((factor, name) for factor, name in _STEPS[unit] if abs(value) >= factor * 0.9995), _STEPS[unit][-1]
    )
    scaled = value / factor
    digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    text = f"{scaled:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{name}"


def percent(value: float) -> str:
    """Return whole percent, `-` for NaN."""
    return ABSENT if math.isnan(value) else f"{value:.0f}"
