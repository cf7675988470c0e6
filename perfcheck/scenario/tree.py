"""A YAML document as a tree; every value knows its position in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from perfcheck.errors import Problem
from perfcheck.model.units import parse_duration_ns
from perfcheck.system.place import Loc, Place, join, problem_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value; `text` is its source without quotes.

    `origin` is the path under which messages speak of it, where that is not its path in the tree
    (a value of the matrix that stands in for another).
    """

    place: Place
    value: str | int | float | bool | None
    text: str
    origin: str | None = None

    @property
    def size(self) -> int:
        """How many values it holds, itself included."""
        return 1

    def shown(self) -> str:
        """Return it as messages quote it: the source text, cut where it is long."""
        if self.value is None and not self.text:
            return "nothing"
        return repr(self.text if len(self.text) <= 60 else f"{self.text[:57]}...")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list; `size` counts all values in it, those behind aliases each time."""

    place: Place
    items: tuple[Node, ...]
    size: int

    def shown(self) -> str:
        """Return it as messages name it."""
        return "an empty list" if not self.items else "a list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key of a table with its place and its value."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A mapping, keys in the file's order; `size` counts as in `Listing`."""

    place: Place
    entries: Mapping[str, Entry]
    size: int

    def shown(self) -> str:
        """Return it as messages name it."""
        return "an empty mapping" if not self.entries else "a mapping"


Node = Scalar | Listing | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a path led to: the value, its key's place, and the path's rest that led nowhere."""

    node: Node
    path: str
    key: Place
    rest: Loc = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file: its name for messages, and its root."""

    file: str
    root: Table
    problems: tuple[Problem, ...] = field(default=())

    def problem(self, place: Place, path: str, message: str) -> Problem:
        """Make a problem of this file."""
        return problem_at(self.file, place, path, message)

    def find(self, loc: Loc) -> Found:
        """Follow a path as far as it goes."""
        found = Found(node=self.root, path="", key=self.root.place)
        for index, step in enumerate(loc):
            deeper = _step(found, step)
            if deeper is None:
                return replace(found, rest=loc[index:])
            found = deeper
        return found

    def get(self, *loc: str | int) -> Node | None:
        """Return the value under a path, or None where the path leads nowhere."""
        found = self.find(loc)
        return None if found.rest else found.node

    def table(self, *loc: str | int) -> Mapping[str, Entry]:
        """Return the entries of the mapping under a path; none where there is no mapping."""
        node = self.get(*loc)
        return node.entries if isinstance(node, Table) else {}

    def listing(self, *loc: str | int) -> tuple[Node, ...]:
        """Return the items of the list under a path; none where there is no list."""
        node = self.get(*loc)
        return node.items if isinstance(node, Listing) else ()

    def text(self, *loc: str | int) -> str | None:
        """Return the text under a path, or None where there is none."""
        node = self.get(*loc)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None

    def duration_ns(self, *loc: str | int) -> int | None:
        """Return the duration under a path, or None where there is none that can be read."""
        text = self.text(*loc)
        try:
            return None if text is None else parse_duration_ns(text)
        except ValueError:
            return None

    def everything(self) -> Iterator[Found]:
        """Yield the root and all that is below it, in the file's order; what aliases repeat, each time."""
        return _walk(Found(node=self.root, path="", key=self.root.place))

    def key_lines(self) -> dict[str, int]:
        """Return the line of each key and list item by its path."""
        lines: dict[str, int] = {}
        for found in self.everything():
            lines.setdefault(found.path, found.key.line)
        return lines


def plain(node: Node) -> object:
    """Return a value as dicts, lists and scalars, for the validating library."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items()}


def put(node: Node, loc: Loc, value: Scalar) -> Node | None:
    """Return a copy with `value` under the path, missing mappings made; None where the path is blocked."""
    if not loc:
        return value
    step, rest = loc[0], loc[1:]
    if isinstance(step, int):
        if not isinstance(node, Listing) or not 0 <= step < len(node.items):
            return None
        changed = put(node.items[step], rest, value)
        return changed and replace(node, items=(*node.items[:step], changed, *node.items[step + 1 :]))
    if not isinstance(node, Table):
        return None
    entry = node.entries.get(step)
    below = entry.node if entry is not None else Table(place=value.place, entries={}, size=1)
    changed = put(below, rest, value)
    place = entry.place if entry is not None else value.place
    return changed and replace(node, entries={**node.entries, step: Entry(place=place, node=changed)})


def _step(found: Found, step: str | int) -> Found | None:
    node = found.node
    if isinstance(node, Table) and isinstance(step, str) and step in node.entries:
        entry = node.entries[step]
        return Found(node=entry.node, path=_path(found, step, entry.node), key=entry.place)
    if isinstance(node, Listing) and isinstance(step, int) and 0 <= step < len(node.items):
        item = node.items[step]
        return Found(node=item, path=_path(found, step, item), key=item.place)
    return None


def _path(found: Found, step: str | int, node: Node) -> str:
    if isinstance(node, Scalar) and node.origin is not None:
        return node.origin
    return join(found.path, step)


def _walk(found: Found) -> Iterator[Found]:
    yield found
    node = found.node
    steps: Iterator[str | int] = iter(())
    if isinstance(node, Table):
        steps = iter(node.entries)
    elif isinstance(node, Listing):
        steps = iter(range(len(node.items)))
    for step in steps:
        deeper = _step(found, step)
        if deeper is not None:
            yield from _walk(deeper)
