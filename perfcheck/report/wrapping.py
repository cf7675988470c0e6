"""Where the text of a table's cell may wrap: names at their joints, and an interval between its ends."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from markupsafe import Markup, escape

from perfcheck.model.printable import printable_lines

_LONG: Final = re.compile(r"\S{12,}")
"""Words that are long enough to be worth wrapping."""
_JOINT: Final = re.compile(r"(?<=\w)(?:[.,](?=[A-Za-z])|[_@:/=>](?=\w))")
"""A dot or comma of a name wraps, but none of a number, an address or a version."""
_BREAK: Final = Markup("<wbr>")
_TO: Final = " to "


def wrapping(text: str) -> Markup:
    """Return a text, escaped, in which long names may wrap after the characters that join their parts."""
    shown = printable_lines(text)
    places = [word.start() + joint.end() for word in _LONG.finditer(shown) for joint in _JOINT.finditer(word[0])]
    ends = [0, *places, len(shown)]
    return _BREAK.join(escape(shown[begin:end]) for begin, end in pairwise(ends))


def interval(text: str) -> Markup:
    """Return `+28.0 to +33.1 %`, escaped, so that it wraps between its two ends alone."""
    low, _, high = printable_lines(text).partition(_TO)
    return Markup("<span>{} to</span> <span>{}</span>").format(low, high)


def number_class(text: str) -> str:
    """Return the class of a cell in a column of numbers: those of one number never wrap."""
    if _TO in text:
        return "number interval"
    return "number word" if any(map(str.isalpha, text)) and not any(map(str.isdigit, text)) else "number"
