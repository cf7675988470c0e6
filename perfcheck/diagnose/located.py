"""A YAML file as plain values, with the place of every key and value for messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from perfcheck.errors import Problem, RuleError
from perfcheck.system.scalars import scalar_value
from perfcheck.system.yaml_bounds import YamlBounds, excess

_BOUNDS: Final = YamlBounds(characters=200_000, values=10_000, depth=16, scalar=4000)

Path = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, both from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedFile:
    """One YAML file: its value, and where each path's key and value stand."""

    file: str
    text: str
    value: object
    keys: dict[Path, Place] = field(default_factory=dict)
    nodes: dict[Path, yaml.Node] = field(default_factory=dict)

    def place(self, path: Sequence[str | int]) -> Place:
        """Return the place of a value, or of the nearest enclosing one where it is missing."""
        for length in range(len(path), -1, -1):
            node = self.nodes.get(tuple(path[:length]))
            if node is not None:
                return _place(node.start_mark)
        return 1, 1

    def key_place(self, path: Sequence[str | int]) -> Place:
        """Return the place of a key, or of its value where it has no key."""
        return self.keys.get(tuple(path)) or self.place(path)

    def place_within(self, path: Sequence[str | int], offset: int) -> Place:
        """Return the place of one character of a scalar's value.

        Folding a scalar changes only its white space, so the character is found by counting
        the others; in a double-quoted scalar with escapes the place is approximate.
        """
        node = self.nodes.get(tuple(path))
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
        line_start = self.text.rfind("\n", 0, at) + 1
        return self.text.count("\n", 0, at) + 1, at - line_start + 1


def read_located(file: str, text: str) -> LocatedFile:
    """Read YAML; RuleError says where it is not YAML, repeats a key or uses an alias."""
    over = excess(text, _BOUNDS)
    if over is not None:
        raise RuleError(Problem(file=file, line=over.line, column=over.column, path="", message=over.message))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line, column = _place(error.problem_mark or error.context_mark)
        message = f"invalid YAML: {error.problem or error.context}"
        raise RuleError(Problem(file=file, line=line, column=column, path="", message=message)) from None
    except (yaml.YAMLError, RecursionError) as error:
        message = f"invalid YAML: {' '.join(str(error).split())}"
        raise RuleError(Problem(file=file, line=1, column=1, path="", message=message)) from None
    if root is None:
        raise RuleError(
            Problem(file=file, line=1, column=1, path="", message="the file is empty: expected `schema: 1`")
        )
    problems: list[Problem] = []
    keys: dict[Path, Place] = {}
    nodes: dict[Path, yaml.Node] = {}
    value = _Converter(file, problems, keys, nodes).convert(root, ())
    if problems:
        raise RuleError(*problems)
    return LocatedFile(file=file, text=text, value=value, keys=keys, nodes=nodes)


class _Converter:
    """Turns composed nodes into plain values and notes their places."""

    def __init__(
        self, file: str, problems: list[Problem], keys: dict[Path, Place], nodes: dict[Path, yaml.Node]
    ) -> None:
        self._file = file
        self._problems = problems
        self._keys = keys
        self._nodes = nodes
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def convert(self, node: yaml.Node, path: Path) -> object:
        """Return the node's value; each mistake is added to the problems."""
        if id(node) in self._seen:
            self._problem(
                node.start_mark, path, "anchors and aliases (&name, *name) are not allowed here: write the value out"
            )
            return None
        self._seen.add(id(node))
        self._nodes[path] = node
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(each, (*path, index)) for index, each in enumerate(node.value)]
        try:
            assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - there is no fourth kind of node
            return scalar_value(node, self._scalars)
        except ValueError as error:
            self._problem(node.start_mark, path, str(error))
            return None

    def _items(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, object]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                self._problem(key.start_mark, path, "expected plain text as a key")
                continue
            here = (*path, key.value)
            if here in self._keys:
                self._problem(key.start_mark, here, f"duplicate key {key.value!r}")
                continue
            self._keys[here] = _place(key.start_mark)
            yield key.value, self.convert(value, here)

    def _problem(self, mark: yaml.Mark, path: Path, message: str) -> None:
        line, column = _place(mark)
        self._problems.append(
            Problem(file=self._file, line=line, column=column, path=show_path(path), message=message)
        )  # fmt: skip


def show_path(path: Sequence[str | int]) -> str:
    """Return a path as messages show it, e.g. `rules[3].when`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _place(mark: yaml.Mark | None) -> Place:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
