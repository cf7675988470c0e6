"""Time series as charts for a terminal: a strip of Braille dots for each subject, all on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.text import Text

from perfcheck.model.units import format_value

DOTS_ACROSS: Final = 2
"""Columns of dots in a character."""
MARGIN: Final = 28
"""Characters to the left of a strip: the subject and the scale."""
_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a Braille character by row and column (Unicode, block Braille Patterns)."""
_COLOURS: Final = ("cyan", "yellow", "green", "magenta", "blue", "red")
_SUBJECT: Final = 14
_HEIGHTS: Final = ((6, 4), (12, 3))
"""Of so many strips at most each has so many lines."""
_LOW: Final = 2
"""Lines of a strip of many."""
_LABEL_ROOM: Final = 8
"""Characters from one time on the axis to the next, at least."""
_GAP: Final = 4.0
"""Times the usual distance of two values: further apart, nothing is drawn between them."""
_BOUNDARY: Final = "┊"
_MARK_STYLE: Final = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One subject's course in columns of dots: smallest, largest and mean value of each; NaN where there is none."""

    subject: str
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time of all strips, in ns, with the begins of phases."""

    begin_ns: int
    end_ns: int
    phases: Sequence[tuple[str, int]] = ()

    def column(self, t_ns: float, columns: int) -> int:
        """Return the character in which a moment is."""
        share = (t_ns - self.begin_ns) / max(self.end_ns - self.begin_ns, 1)
        return min(max(int(share * columns), 0), columns - 1)


def columns_for(width: int) -> int:
    """Return how many characters of a line that wide are a strip's."""
    return max(width - MARGIN - 1, 20)


def lines_of_each(strips: int) -> int:
    """Return how many lines each of so many strips has, so that all of them can be looked at together."""
    return next((lines for most, lines in _HEIGHTS if strips <= most), _LOW)


def chart(
    metric: str, unit: str, strips: Sequence[Strip], axis: Axis, columns: int, rows: int = _HEIGHTS[0][1]
) -> Iterator[Text]:  # fmt: skip
    """Yield the lines of one metric's chart, `rows` of them a strip."""
    low, high = _scale(strips)
    title = Text(metric, style="bold")
    title.append(_means(strips, unit, MARGIN + columns - len(metric)), style="not bold dim")
    yield title
    strips = [_joined(strip) for strip in strips]
    boundaries = {axis.column(begin_ns, columns) for _, begin_ns in axis.phases if begin_ns > axis.begin_ns}
    for number, strip in enumerate(strips):
        yield from _strip(strip, unit, (low, high), rows, boundaries, _COLOURS[number % len(_COLOURS)])


def _scale(strips: Sequence[Strip]) -> tuple[float, float]:
    """Return the ends of the scale: from 0, where that leaves the values half of it at least."""
    low = min((float(np.nanmin(strip.low)) for strip in strips), default=0.0)
    high = max((float(np.nanmax(strip.high)) for strip in strips), default=0.0)
    if 0 <= low <= high / 2 or low == high:
        low = min(low, 0.0)
    return low, high if high > low else low + 1


def _means(strips: Sequence[Strip], unit: str, room: int) -> str:
    """Return the mean of each strip, of as many as there is room for."""
    text = "  mean "
    for number, strip in enumerate(strips):
        name = f"{_cut(strip.subject)} " if len(strips) > 1 else ""
        more = f"{', ' if number else ''}{name}{_value(float(np.nanmean(strip.mean)), unit)}"
        if len(text) + len(more) > room - len(", …"):
            return f"{text}, …" if number else ""
        text += more
    return text


def _value(value: float, unit: str) -> str:
    return format_value(value, unit) if value else "0"


def _joined(strip: Strip) -> Strip:
    """Return the strip as a line: columns between two values are filled, unless much is missing between them."""
    known = np.flatnonzero(np.isfinite(strip.mean))
    if len(known) < 2:
        return strip
    columns = np.arange(len(strip.mean))
    line = np.interp(columns, known, strip.mean[known])
    before = known[np.maximum(np.searchsorted(known, columns, side="right") - 1, 0)]
    after = known[np.minimum(np.searchsorted(known, columns, side="left"), len(known) - 1)]
    near = after - before <= _GAP * float(np.median(np.diff(known)))
    near &= (columns >= known[0]) & (columns <= known[-1])
    line[~near] = np.nan
    low, high = np.fmin(strip.low, line), np.fmax(strip.high, line)
    # From one column to the next without a gap.
    step = np.append(line[1:], np.nan)
    return Strip(
        subject=strip.subject, low=np.fmin(low, (line + step) / 2), high=np.fmax(high, (line + step) / 2), mean=line
    )


def _strip(
    strip: Strip, unit: str, scale: tuple[float, float], rows: int, boundaries: set[int], colour: str
) -> Iterator[Text]:  # fmt: skip
    low, high = scale
    if float(np.nanmax(strip.high)) == float(np.nanmin(strip.low)):
        line = Text(f"{_cut(strip.subject):<{_SUBJECT}}", style=colour)
        line.append(f"{'always':>{MARGIN - _SUBJECT - 1}} {_value(float(np.nanmax(strip.high)), unit)}", style="dim")
        yield line
        return
    cells = _cells(strip, low, high, rows)
    labels = {0: _value(high, unit), rows - 1: _value(low, unit)}
    for row in range(rows):
        line = Text(f"{_cut(strip.subject) if row == 0 else '':<{_SUBJECT}}", style=colour)
        label = labels.get(row, "")
        line.append(f"{label:>{MARGIN - _SUBJECT - 1}}", style="dim")
        line.append("┤", style="dim")
        # Neighbours of one style are one piece: a terminal gets the style once.
        for empty, piece in groupby(enumerate(cells[row].tolist()), key=lambda one: one[1] == _BLANK):
            if empty:
                line.append("".join(_BOUNDARY if column in boundaries else " " for column, _ in piece), style="dim")
            else:
                line.append("".join(chr(cell) for _, cell in piece), style=colour)
        line.rstrip()
        yield line


def _cells(strip: Strip, low: float, high: float, rows: int) -> npt.NDArray[np.int64]:
    """Return Braille characters, with a dot for each height that the values of a column of dots took."""
    dots = len(_DOTS) * rows
    cells = np.full((rows, len(strip.low) // DOTS_ACROSS), _BLANK)
    for x in np.flatnonzero(np.isfinite(strip.low)).tolist():
        top, bottom = (
            round((1 - (value - low) / (high - low)) * (dots - 1)) for value in (strip.high[x], strip.low[x])
        )
        for y in range(max(top, 0), min(bottom, dots - 1) + 1):
            cells[y // len(_DOTS), x // DOTS_ACROSS] |= _DOTS[y % len(_DOTS)][x % DOTS_ACROSS]
    return cells


def _cut(subject: str) -> str:
    return subject if len(subject) < _SUBJECT else f"{subject[: _SUBJECT - 2]}…"


def marks(subject: str, what: str, there: npt.NDArray[np.bool_]) -> Text:
    """Return a line that marks the columns of dots in which something happened."""
    subject = _cut(subject)
    room = MARGIN - 2 - len(subject)
    what = what if len(what) <= room else f"{what[: room - 1]}…"
    line = Text(f"{subject} {what:>{room}} ", style="dim")
    columns = set((np.flatnonzero(there) // DOTS_ACROSS).tolist())
    line.append("".join("▲" if column in columns else " " for column in range(max(columns) + 1)), style=_MARK_STYLE)
    return line


def phase_names(axis: Axis, columns: int) -> Iterator[Text]:
    """Yield a line with the name of each phase where it begins; none without phases."""
    if not axis.phases:
        return
    names = [" "] * columns
    begins = [axis.column(begin_ns, columns) for _, begin_ns in axis.phases]
    for (name, _), place, end in zip(axis.phases, begins, [*begins[1:], columns], strict=True):
        text = f"{_BOUNDARY}{name}"
        room = max(end - place, 1)
        text = text if len(text) <= room else f"{text[: max(room - 1, 1)]}…"
        names[place : place + min(len(text), room)] = text[:room]
    yield Text(" " * MARGIN + "".join(names).rstrip(), style="dim")


def axis_lines(axis: Axis, columns: int) -> Iterator[Text]:
    """Yield the time axis, and above it the names of phases where they begin."""
    yield from phase_names(axis, columns)
    line, labels = ["─"] * columns, [" "] * columns
    for place, text in _times(axis, columns):
        line[place] = "┬"
        labels[place : place + len(text)] = text
    yield Text(" " * (MARGIN - 1) + "└" + "".join(line), style="dim")
    yield Text(" " * MARGIN + "".join(labels).rstrip(), style="dim")


def _times(axis: Axis, columns: int) -> Iterator[tuple[int, str]]:
    """Yield round times and their places, not closer than their texts need."""
    length_s = max(axis.end_ns - axis.begin_ns, 1) / 1e9
    most = max(columns // _LABEL_ROOM, 1)
    power = 10.0 ** np.floor(np.log10(length_s / most))
    step_s = next(nice * power for nice in (1, 2, 5, 10, 20) if length_s / (nice * power) <= most)
    first = int(np.ceil(axis.begin_ns / 1e9 / step_s))
    for number in range(first, int(axis.end_ns / 1e9 / step_s) + 1):
        place, text = axis.column(number * step_s * 1e9, columns), f"{number * step_s:g} s"
        if place + len(text) <= columns:
            yield place, text
