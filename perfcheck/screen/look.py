"""What a terminal can show: colours, attributes such as bold, characters beyond ASCII."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_PLAIN_LOCALES: Final = frozenset({"C", "POSIX"})


class Tone(StrEnum):
    """What a piece of text means; `pane` gives each a style. Without colours the words carry all."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    TITLE = "title"
    LABEL = "label"
    HEADING = "heading"
    SORTED = "sorted"
    GOOD = "good"
    NOTE = "note"
    WARN = "warn"
    BAD = "bad"
    ALARM = "alarm"
    GRAPH = "graph"
    GRAPH_WARN = "graph-warn"
    GRAPH_BAD = "graph-bad"
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """`colours` False: attributes alone. `attributes` False: plain text (TERM=dumb). `wide` False: ASCII alone."""

    colours: bool = True
    attributes: bool = True
    wide: bool = True


def look_of(environment: Mapping[str, str], *, encoding: str, no_colour: bool = False) -> Look:
    """Return how to draw on the terminal that these variables describe; `encoding` is the locale's."""
    is_dumb = environment.get("TERM", "") in {"", "dumb"}
    colours = not (no_colour or environment.get("NO_COLOR") or is_dumb)
    return Look(colours=colours, attributes=not is_dumb, wide=_is_utf8(environment, encoding))


def _is_utf8(environment: Mapping[str, str], encoding: str) -> bool:
    """Return whether the locale is one of UTF-8; Python itself takes UTF-8 in the locale C, where a terminal may not.

    Where LANG is C, Python sets LC_CTYPE to C.UTF-8 for itself (PEP 538).
    """
    name = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or ""
    if name == "C.UTF-8" and not environment.get("LC_ALL"):
        name = environment.get("LANG") or name
    return encoding.lower().replace("-", "").replace("_", "") == "utf8" and name not in _PLAIN_LOCALES
