"""Bounds of a YAML text, checked on the parser's events before anything is built from them.

The events come from libyaml if PyYAML has it; it is 20 times as fast as the parser in Python. Invalid YAML is left to
the reader of the text, which reports it in its own words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event, NodeEvent, ScalarEvent

from perfcheck.system.place import place_at, place_of

MAX_NUMBER: Final = 40
"""Characters of a number: whole numbers of any length are read in time by the square of it, and cannot be printed."""

_NUMBER: Final = re.compile(r"[-+.0-9][-+.0-9_:a-fA-FxXoO]*")
_STRING_TAGS: Final = ("!", "tag:yaml.org,2002:str")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlBounds:
    """Bounds of one kind of file; `references`: whether it may have anchors, aliases and tags."""

    characters: int
    values: int
    depth: int
    scalar: int
    references: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """Where a text leaves its bounds (line and column from 1), and how."""

    line: int
    column: int
    message: str


def excess(text: str, bounds: YamlBounds) -> Excess | None:
    """Return the first place where the text leaves its bounds, or None where it is within them, or is no YAML."""
    if len(text) > bounds.characters:
        message = f"expected at most {bounds.characters:,} characters, got {len(text):,}"
        return Excess(line=1, column=1, message=message)
    brackets = re.compile(rf"(?:[\[{{][^\S\n]*){{{bounds.depth}}}").search(text)
    if brackets is not None:  # the scanner takes time by the square of the brackets that one line opens
        place = place_at(text, text.rindex(brackets.group().rstrip()[-1], 0, brackets.end()))
        return Excess(line=place.line, column=place.column, message=_too_deep(bounds))
    values = depth = 0
    try:
        for event in yaml.parse(text, Loader=fastest_loader()):
            values += isinstance(event, NodeEvent)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            wrong = _wrong(event, values, depth, bounds)
            if wrong is not None:
                place = place_of(event.start_mark)
                return Excess(line=place.line, column=place.column, message=wrong)
    except (yaml.YAMLError, ValueError):  # ValueError: surrogates that libyaml cannot encode
        pass
    return None


def fastest_loader() -> Any:
    """Return libyaml's loader where PyYAML was built with it; the same marks, 20 times as fast."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _wrong(event: Event, values: int, depth: int, bounds: YamlBounds) -> str | None:
    if depth > bounds.depth:
        return _too_deep(bounds)
    if values > bounds.values:
        return f"more than {bounds.values:,} values"
    if isinstance(event, ScalarEvent):
        if len(event.value) > bounds.scalar:
            return f"expected a text of at most {bounds.scalar:,} characters, got {len(event.value):,}"
        if event.implicit[0] and len(event.value) > MAX_NUMBER and _NUMBER.fullmatch(event.value):
            return f"expected a number of at most {MAX_NUMBER} characters, got {len(event.value):,}"
    if bounds.references or not isinstance(event, NodeEvent):
        return None
    if isinstance(event, AliasEvent) or event.anchor is not None:
        return "anchors and aliases (&name, *name) are not allowed here: write the value out"
    tag = getattr(event, "tag", None)
    return None if tag is None or tag in _STRING_TAGS else "tags (!name) are not allowed here: remove it"


def _too_deep(bounds: YamlBounds) -> str:
    return f"nested deeper than {bounds.depth} levels"
