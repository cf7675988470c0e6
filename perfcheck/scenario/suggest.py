"""The nearest known word, for messages about unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

MAX_WORD: Final = 100
"""Longer words are no misspelling of a known one; comparing them would take time by the square of their length."""

_MISSPELLED: Final = 0.85
_ALIKE: Final = 0.6
"""Shares of equal letters. Between the two, a word that others begin with is unfinished rather than misspelled."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like this one, or None where none is alike."""
    words = list(known)
    if len(word) > MAX_WORD:
        return None
    longer = [name for name in words if name.startswith(f"{word}.")]
    matches = longer or difflib.get_close_matches(word.lower(), words, n=1, cutoff=_MISSPELLED)
    if not matches and len(word) > 1:
        matches = [name for name in words if name.startswith(word)]
    matches = matches or difflib.get_close_matches(word.lower(), words, n=1, cutoff=_ALIKE)
    return matches[0] if matches else None


def hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the nearest known one, or all where they are few."""
    words = list(known)
    found = nearest(word, words)
    if found is not None:
        return f"; did you mean {found!r}?"
    return f"; known: {', '.join(words)}" if 0 < len(words) <= 24 else ""
