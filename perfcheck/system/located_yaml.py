"""A YAML file as plain values that know where they stand; for files without anchors, which rules and baselines are.

Scenario files have anchors, merges and the scalars of YAML 1.2, and so a reader of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from perfcheck.errors import FileError, Problem
from perfcheck.system.place import START, Loc, Place, place_at, place_of, problem_at, show_path
from perfcheck.system.scalars import scalar_value
from perfcheck.system.yaml_bounds import YamlBounds, excess, fastest_loader

MAX_PROBLEMS: Final = 50
"""Mistakes that are told at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedFile:
    """One YAML file: its value, and the nodes that know where each part of it stands."""

    file: str
    text: str
    value: object
    root: yaml.Node

    def place(self, path: Sequence[str | int]) -> Place:
        """Return the place of a value, or of the nearest enclosing one where it is missing."""
        *_, (_, value) = self._entries(path)
        return place_of(value.start_mark)

    def key_place(self, path: Sequence[str | int]) -> Place:
        """Return the place of a key, or of its value where it has no key."""
        entries = list(self._entries(path))
        key = entries[-1][0] if len(entries) > len(path) else None
        return self.place(path) if key is None else place_of(key.start_mark)

    def raw(self, path: Sequence[str | int]) -> str:
        """Return a scalar's text as YAML reads it, before any conversion; empty where there is none."""
        node = self._node(path)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def problem(self, path: Sequence[str | int], message: str) -> Problem:
        """Make a problem at the place of a value."""
        return problem_at(self.file, self.place(path), show_path(path), message)

    def place_within(self, path: Sequence[str | int], offset: int) -> Place:
        """Return the place of one character of a scalar's value.

        Folding a scalar changes only its white space, so the character is found by counting
        the others; in a double-quoted scalar with escapes the place is approximate.
        """
        node = self._node(path)
        if not isinstance(node, yaml.ScalarNode):
            return self.place(path)
        start, end = node.start_mark.index, node.end_mark.index
        if node.style in ("|", ">"):
            header = self.text.find("\n", start, end)
            start = end if header < 0 else header + 1
        elif node.style in ("'", '"'):
            start, end = start + 1, end - 1
        wanted = sum(not character.isspace() for character in node.value[:offset])
        inked = [at for at in range(start, end) if not self.text[at].isspace()]
        if not inked:
            return self.place(path)
        at = inked[wanted] if wanted < len(inked) else inked[-1] + 1
        return place_at(self.text, at)

    def _node(self, path: Sequence[str | int]) -> yaml.Node | None:
        entries = list(self._entries(path))
        return entries[-1][1] if len(entries) > len(path) else None

    def _entries(self, path: Sequence[str | int]) -> Iterator[tuple[yaml.Node | None, yaml.Node]]:
        """Yield key and value of the root and of each step, as far as the path leads; lists have no keys."""
        key, node = None, self.root
        yield key, node
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = next(((name, value) for name, value in node.value if name.value == step), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = (None, node.value[step])
            else:
                found = None
            if found is None:
                return
            key, node = found
            yield key, node


def read_located(file: str, text: str, bounds: YamlBounds, *, fast: bool = False) -> LocatedFile:
    """Read YAML; FileError says where it leaves its bounds, is no YAML, repeats a key or uses an alias.

    `fast`: by libyaml, which is for large files; `place_within` needs the marks of the parser in Python.
    """
    over = excess(text, bounds)
    if over is not None:
        raise FileError(problem_at(file, Place(line=over.line, column=over.column), "", over.message))
    try:
        root = yaml.compose(text, Loader=fastest_loader() if fast else yaml.SafeLoader)
        if root is None:
            raise FileError(problem_at(file, START, "", "the file is empty: expected `schema: 1`"))
        converter = _Converter(file)
        value = converter.convert(root, ())
    except (yaml.YAMLError, ValueError) as error:  # ValueError: surrogates that libyaml cannot encode
        raise FileError(_syntax_problem(error, text, file)) from None
    except RecursionError:
        raise FileError(problem_at(file, START, "", "nested too deeply")) from None
    if converter.problems:
        raise FileError(*converter.problems[:MAX_PROBLEMS])
    return LocatedFile(file=file, text=text, value=value, root=root)


def _syntax_problem(error: Exception, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = place_of(mark) if mark is not None else place_at(text, getattr(error, "position", 0))
    said = (getattr(error, name, None) for name in ("problem", "context", "reason"))
    what = next((text for text in said if text), " ".join(str(error).split()))
    return problem_at(file, place, "", f"invalid YAML: {what}")


class _Converter:
    """Turns composed nodes into plain values; each mistake is added to the problems."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def convert(self, node: yaml.Node, path: Loc) -> object:
        """Return the node's value, None where it is wrong."""
        if id(node) in self._seen:
            self._add(node, path, "anchors and aliases (&name, *name) are not allowed here: write the value out")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(each, (*path, index)) for index, each in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - there is no fourth kind of node
        try:
            return scalar_value(node, self._scalars)
        except ValueError as error:
            self._add(node, path, str(error))
            return None

    def _items(self, node: yaml.MappingNode, path: Loc) -> Iterator[tuple[str, object]]:
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                self._add(key, path, "expected plain text as a key")
                continue
            here = (*path, key.value)
            if key.value in keys:
                self._add(key, here, f"duplicate key {key.value!r}")
                continue
            keys.add(key.value)
            yield key.value, self.convert(value, here)

    def _add(self, node: yaml.Node, path: Loc, message: str) -> None:
        self.problems.append(problem_at(self._file, place_of(node.start_mark), show_path(path), message))
