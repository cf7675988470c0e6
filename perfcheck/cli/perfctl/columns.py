"""Tables of many columns: the most important ones that fit the terminal are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.live.short_values import ABSENT
from perfcheck.model.printable import printable

_GAP: Final = "  "
_CUT: Final = ".."
_LEAST_SHOWN: Final = len("255.255.255.255:65535->255.255.255.255:65535")


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


def percent(value: float) -> str:
    """Return whole percent, `-` for NaN."""
    return ABSENT if math.isnan(value) else f"{value:.0f}"
