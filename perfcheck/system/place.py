"""Places in the files that users write, and mistakes that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from perfcheck.errors import Problem

MAX_PATH: Final = 200
"""Characters of a path that messages show."""
MAX_MESSAGE: Final = 1000
"""Characters of one message."""

Loc = tuple[str | int, ...]
"""Keys and indices from the document's root to a value, as the validating library gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Line and column in the file, both 1-based."""

    line: int
    column: int


START: Final = Place(line=1, column=1)


class Mark(Protocol):
    """What the marks of both YAML parsers (Python's and C's) have; 0-based."""

    line: int
    column: int


def place_of(mark: Mark | None) -> Place:
    """Return the place of a parser's mark; the file's start where it has none."""
    return START if mark is None else Place(line=mark.line + 1, column=mark.column + 1)


def place_at(text: str, index: int) -> Place:
    """Return the place of a character of the text."""
    return Place(line=text.count("\n", 0, index) + 1, column=index - text.rfind("\n", 0, index))


def join(path: str, step: str | int) -> str:
    """Lengthen a path as messages write it: `links[0].delay`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def show_path(loc: Sequence[str | int]) -> str:
    """Return a path as messages write it, e.g. `rules[3].when`."""
    path = ""
    for step in loc:
        path = join(path, step)
    return path


def problem_at(file: str, place: Place, path: str, message: str) -> Problem:
    """Make a problem that stays short whatever keys the file has."""
    return Problem(
        file=file, line=place.line, column=place.column, path=_cut(path, MAX_PATH), message=_cut(message, MAX_MESSAGE)
    )  # fmt: skip


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
