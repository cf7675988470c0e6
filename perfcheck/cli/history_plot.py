"""A history as a plot of Braille dots, two by four in a character."""

from __future__ import annotations

from typing import Final

import numpy as np

from perfcheck.report.history.story import Story

ROWS: Final = 9
_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a Braille character by row and column (Unicode, block Braille Patterns)."""

_CHANGE: Final = "┊"


def plot(story: Story, *, width: int) -> list[str]:
    """Return the lines of a plot: each run a dot, changes of level as dotted lines, times below."""
    values = story.outlook.values
    low, high = float(values.min()), float(values.max())
    labels = {0: story.shown(high), ROWS - 1: story.shown(low)}
    if low == high:
        labels = {ROWS // 2: story.shown(low)}
    margin = max(map(len, labels.values())) + 1
    columns = max(width - margin - 2, 20)
    cells = np.full((ROWS, columns), _BLANK)
    across = np.linspace(0, 2 * columns - 1, len(values)).round().astype(int)
    share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    down = ((1 - share) * (4 * ROWS - 1)).round().astype(int)
    for x, y in zip(across.tolist(), down.tolist(), strict=True):
        cells[y // 4, x // 2] |= _DOTS[y % 4][x % 2]
    marks = {int(across[change.index]) // 2 for change in story.outlook.changes}
    lines = [
        f"{labels.get(row, ''):>{margin}}┤"
        + "".join(
            _CHANGE if cell == _BLANK and column in marks else " " if cell == _BLANK else chr(cell)
            for column, cell in enumerate(cells[row].tolist())
        ).rstrip()
        for row in range(ROWS)
    ]
    first, last = story.when(0), story.when(-1)
    lines.append(f"{'':>{margin}}└{'─' * columns}")
    lines.append(f"{'':>{margin}} {first}{last if len(values) > 1 else '':>{columns - len(first)}}")
    return lines
