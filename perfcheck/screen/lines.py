"""Lines as pieces of text with a tone: what panes draw. Every text that enters is made printable here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from perfcheck.model.printable import printable
from perfcheck.screen.look import Tone

Span = tuple[str, Tone]
Line = tuple[Span, ...]
EMPTY: Final[Line] = ()
GAP: Final = "  "
_CUT: Final = ".."


def shown_text(text: str, *, wide: bool = True) -> str:
    """Return a text that a terminal shows and never obeys; without `wide`, in ASCII."""
    if text.isascii() and text.isprintable():
        return text
    text = printable(text)
    return text if wide else text.encode("ascii", "replace").decode()


def width_of(text: str) -> int:
    """Return how many columns a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def cut_end(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns; dots stand for an end that is left out."""
    if width_of(text) <= width:
        return text
    if width <= len(_CUT):
        return _CUT[:width]
    return f"{set_cell_size(text, width - len(_CUT)).rstrip()}{_CUT}"


def cut_middle(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns; its end, where a port is, stays."""
    if width_of(text) <= width:
        return text
    if not text.isascii() or width < 3 * len(_CUT):
        return cut_end(text, width)
    head = (width - len(_CUT)) // 2
    return f"{text[:head]}{_CUT}{text[head + len(_CUT) - width :]}"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a text that takes exactly `width` columns."""
    text = cut_end(text, width)
    blanks = " " * (width - width_of(text))
    return f"{blanks}{text}" if right else f"{text}{blanks}"


def text_of(line: Line) -> str:
    """Return a line's text without tones."""
    return "".join(text for text, _ in line)


def fitted(line: Iterable[Span], width: int) -> Line:
    """Return the part of a line that fits, dots where it was longer."""
    made: list[Span] = []
    left = width
    for text, tone in line:
        if width_of(text) > left:
            made.append((cut_end(text, left), tone))
            break
        made.append((text, tone))
        left -= width_of(text)
    return tuple(made)


def wrapped_items(items: Sequence[Line], width: int) -> list[Line]:
    """Return items side by side, on as many lines as they need."""
    lines: list[list[Span]] = [[]]
    used = 0
    for item in items:
        length = width_of(text_of(item))
        if used and used + len(GAP) + length > width:
            lines.append([])
            used = 0
        if used:
            lines[-1].append((GAP, Tone.PLAIN))
            used += len(GAP)
        lines[-1].extend(item)
        used += length
    return [fitted(line, width) for line in lines if line]


def both_sides(left: Line, right: Line, width: int) -> Line:
    """Return a line with a part at each edge; the left one is cut where both do not fit."""
    room = width - width_of(text_of(right)) - len(GAP)
    if room < 1:
        return fitted(right, width)
    first = fitted(left, room)
    blanks = " " * (width - width_of(text_of(first)) - width_of(text_of(right)))
    return (*first, (blanks, Tone.PLAIN), *right)
