"""Turns YAML text into a `Document`, directly from the parser's events, so that every mistake has its position.

Plain values follow the rules of YAML 1.2 (core schema): `on`, `yes`, `010`, `1_000` and `10:00` stay text. A later
check that expects a number or a boolean reports them. Nothing is constructed from a tag. Depth and size are bounded,
with aliases counted each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)  # fmt: skip
from yaml.reader import ReaderError

from perfcheck.errors import Problem, ScenarioError
from perfcheck.scenario.tree import Document, Entry, Listing, Node, Scalar, Table
from perfcheck.system.place import START, Place, join, place_at, place_of, problem_at
from perfcheck.system.yaml_bounds import YamlBounds, excess, fastest_loader

MAX_CHARACTERS: Final = 250_000
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000
MAX_SCALAR: Final = 10_000
_BOUNDS: Final = YamlBounds(
    characters=MAX_CHARACTERS, values=MAX_VALUES, depth=MAX_DEPTH, scalar=MAX_SCALAR, references=True
)

_NULL: Final = ("", "~", "null", "Null", "NULL")
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")
_STRING_TAGS: Final = ("!", "tag:yaml.org,2002:str")

_SYNTAX: Final = (
    ("character '\\t'", "a tab; YAML is indented with spaces only"),
    ("that cannot start any token", "a value that begins with {character} needs quotes"),
    ("mapping values are not allowed", "a ':' that starts a second value here; check the indentation, or use quotes"),
    (
        "expected ',' or '}', but got '['",
        "a key with '[' cannot be used inside {{ }}; write links.0.delay, or use quotes",
    ),
    ("expected '<document start>'", "text after the end of the document; a file holds one scenario"),
    ("expected <block end>", "the indentation of this line does not match the lines before it"),
)
_SYNTAX_AT_ITS_START: Final = (
    ("chomping or indentation", "a value that begins with '>' or '|' needs quotes, such as \">= 85mbit\""),
    ("could not find expected ':'", "expected a key followed by ':'"),
    ("expected ',' or", "this bracket is not closed, or a ',' is missing after it"),
    ("unexpected end of stream", "these quotes are not closed"),
)


def parse(text: str, file: str) -> Document:
    """Parse one file's text; duplicate keys are in the document's `problems`, all else raises ScenarioError."""
    builder = _Builder(file=file)
    over = excess(text, _BOUNDS)
    if over is not None:
        raise builder.fatal(Place(line=over.line, column=over.column), over.message)
    try:
        for event in _events(text):
            builder.feed(event)
    except yaml.YAMLError as error:
        raise ScenarioError(*builder.problems, _syntax_problem(error, text, file)) from None
    root = builder.root
    if isinstance(root, Table):
        return Document(file=file, root=root, problems=tuple(builder.problems))
    if root is None or (isinstance(root, Scalar) and root.value is None):
        raise builder.fatal(START, "expected a scenario, got an empty file")
    raise builder.fatal(root.place, f"expected a mapping that has the key scenario, got {root.shown()}")


def top_level_keys(text: str) -> set[str]:
    """Return the keys of the document's top level, as far as the text can be parsed; none where it is no mapping."""
    keys: set[str] = set()
    depth, is_key = 0, True
    try:
        for event in yaml.parse(text, Loader=fastest_loader()):
            if depth == 0 and isinstance(event, SequenceStartEvent):
                break
            if depth == 1 and not isinstance(event, CollectionEndEvent):
                if is_key and isinstance(event, ScalarEvent):
                    keys.add(event.value)
                is_key = not is_key
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                break
    except (yaml.YAMLError, ValueError):  # ValueError: surrogates that libyaml cannot encode
        pass
    return keys


def _events(text: str) -> Iterable[Event]:
    events: Iterable[Event] = yaml.parse(text, Loader=yaml.SafeLoader)
    return events


@dataclass(slots=True)
class _Frame:
    """A list or mapping whose end has not been seen yet."""

    place: Place
    path: str
    anchor: str | None
    is_table: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merges: list[Table] = field(default_factory=list)
    key: Scalar | None = None

    def child_path(self) -> str:
        if not self.is_table:
            return join(self.path, len(self.items))
        return self.path if self.key is None else join(self.path, self.key.text)

    def close(self) -> Listing | Table:
        """Return the finished value; keys that stand in the mapping itself win over merged ones (`<<`)."""
        if not self.is_table:
            size = 1 + sum(item.size for item in self.items)
            return Listing(place=self.place, items=tuple(self.items), size=size)
        entries = dict(self.entries)
        for merged in self.merges:
            for key, entry in merged.entries.items():
                entries.setdefault(key, entry)
        size = 1 + sum(entry.node.size for entry in entries.values())
        return Table(place=self.place, entries=entries, size=size)


@dataclass(slots=True)
class _Builder:
    """Builds the tree bottom-up; an anchor is known only once its value has ended, so no value holds itself."""

    file: str
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    documents: int = 0
    events: int = 0
    frames: list[_Frame] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)

    def feed(self, event: Event) -> None:
        """Take the next event."""
        place = place_of(event.start_mark)
        self.events += 1
        if self.events > 2 * MAX_VALUES:  # a text that libyaml refuses comes here unbounded
            raise self.fatal(place, f"more than {MAX_VALUES:,} values")
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fatal(place, "a second document (---); a file holds one scenario")
        elif isinstance(event, AliasEvent):
            self.add(self.resolve(event.anchor, place))
        elif isinstance(event, ScalarEvent):
            scalar = self.scalar(event, place)
            self.remember(event.anchor, scalar)
            self.add(scalar)
        elif isinstance(event, CollectionStartEvent):
            self.start(event, place)
        elif isinstance(event, CollectionEndEvent):
            self.end()

    def start(self, event: CollectionStartEvent, place: Place) -> None:
        """Begin a list or mapping."""
        if event.tag is not None:
            raise self.fatal(place, f"the tag {event.tag!r} is not allowed in a scenario file")
        path = ""
        if self.frames:
            parent = self.frames[-1]
            if parent.is_table and parent.key is None:
                raise self.fatal(place, "expected a key, got a list or mapping; braces in a text need quotes")
            path = parent.child_path()
        if len(self.frames) >= MAX_DEPTH:
            raise self.fatal(place, f"nested deeper than {MAX_DEPTH} levels")
        is_table = isinstance(event, MappingStartEvent)
        self.frames.append(_Frame(place=place, path=path, anchor=event.anchor, is_table=is_table))

    def end(self) -> None:
        """Finish the innermost list or mapping."""
        frame = self.frames.pop()
        node = frame.close()
        if node.size > MAX_VALUES:
            raise self.fatal(
                frame.place, f"more than {MAX_VALUES:,} values; the values of an alias count each time that it is used"
            )
        self.remember(frame.anchor, node)
        self.add(node)

    def scalar(self, event: ScalarEvent, place: Place) -> Scalar:
        """Read one value; quoted and block scalars are text."""
        if event.tag is not None and event.tag not in _STRING_TAGS:
            hint = "a value that begins with '!' needs quotes" if event.tag.startswith("!") else "remove it"
            raise self.fatal(place, f"the tag {event.tag!r} is not allowed in a scenario file: {hint}")
        plain = event.tag is None and event.implicit[0]
        return Scalar(place=place, value=_resolve(event.value) if plain else event.value, text=event.value)

    def resolve(self, anchor: str | None, place: Place) -> Node:
        """Return the value that an alias stands for, placed where the alias stands."""
        if anchor not in self.anchors:
            raise self.fatal(place, f"unknown anchor &{anchor}; a text that begins with '*' needs quotes")
        return replace(self.anchors[anchor], place=place)

    def remember(self, anchor: str | None, node: Node) -> None:
        """Keep an anchored value for its aliases."""
        if anchor is not None:
            self.anchors[anchor] = node

    def add(self, node: Node) -> None:
        """Put a finished value where it belongs: root, item, key or a key's value."""
        if not self.frames:
            self.root = node
            return
        frame = self.frames[-1]
        if not frame.is_table:
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                raise self.fatal(node.place, f"expected a key, got {node.shown()}")
            frame.key = node
        else:
            self.set(frame, frame.key, node)
            frame.key = None

    def set(self, frame: _Frame, key: Scalar, node: Node) -> None:
        """Put a value under its key; a key's second value is a problem and is left out."""
        if key.text == "<<":
            frame.merges += self.merged(node)
            return
        first = frame.entries.get(key.text)
        if first is None:
            frame.entries[key.text] = Entry(place=key.place, node=node)
            return
        message = f"duplicate key, first in line {first.place.line}"
        self.problems.append(self.problem(key.place, join(frame.path, key.text), message))

    def merged(self, node: Node) -> list[Table]:
        """Return the mappings that `<<` merges."""
        tables = node.items if isinstance(node, Listing) else (node,)
        if not all(isinstance(table, Table) for table in tables):
            raise self.fatal(node.place, f"expected a mapping to merge (<<), got {node.shown()}")
        return [table for table in tables if isinstance(table, Table)]

    def problem(self, place: Place, path: str, message: str) -> Problem:
        """Make a problem of this file."""
        return problem_at(self.file, place, path, message)

    def fatal(self, place: Place, message: str) -> ScenarioError:
        """Make the error that ends the parsing, with what was found before."""
        return ScenarioError(*self.problems, self.problem(place, "", message))


def _resolve(text: str) -> str | int | float | bool | None:
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if isinstance(error, ReaderError):
        message = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        return problem_at(file, place_at(text, error.position), "", message)
    raw = str(getattr(error, "problem", None) or error)
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    found = next((message for part, message in _SYNTAX if part in raw), None)
    if found is None:
        found = next((message for part, message in _SYNTAX_AT_ITS_START if part in raw), None)
        mark = context or mark if found else mark or context
    character = raw.partition("character ")[2].partition(" that")[0]
    message = found.format(character=character) if found else raw
    return problem_at(file, place_of(mark), "", f"invalid YAML: {message}")
