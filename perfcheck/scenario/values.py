"""Scenarios made of Python values instead of a file's text: the same keys, notations and checks.

A scenario in Python has values (the file's top level as plain values) and changes (one value for each key that a
matrix could vary). Both together are read like a file whose matrix has that one point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final, cast

from perfcheck.errors import Problem, ScenarioError
from perfcheck.model.scenario import Scenario
from perfcheck.scenario.loader import document_at, read_document
from perfcheck.scenario.matrix import MATRIX, axes
from perfcheck.scenario.tree import Document, Entry, Listing, Node, Scalar, Table, plain
from perfcheck.scenario.yamltree import MAX_DEPTH, MAX_VALUES
from perfcheck.system.place import Place, join, problem_at

NOWHERE: Final = Place(line=0, column=0)
"""The place of a value that stands in no file."""

_NAME: Final = "scenario"
_LARGEST_WHOLE: Final = 10**18
_LONGEST_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePoint:
    """One point of a file: the scenario that was read, and the values and changes from which others can be made."""

    scenario: Scenario
    values: Mapping[str, object]
    changes: Mapping[str, object]
    lines: Mapping[str, int]


def read_values(
    values: Mapping[str, object], changes: Mapping[str, object], origin: str, *, here: bool = True
) -> Scenario:
    """Read a scenario from Python values; ScenarioError lists every mistake as `ORIGIN: links[0].delay: ...`.

    `values` has the keys of a file's top level, `name` in place of `scenario`. `changes` holds a value for each key
    that a matrix could vary, such as `links[0].delay`; they become the scenario's point.
    """
    builder = _Builder(file=origin)
    if MATRIX in values:
        message = "a scenario in Python has no matrix: use pytest.mark.parametrize and with_({KEY: VALUE})"
        raise ScenarioError(builder.problem(MATRIX, message))
    root = builder.table({key: value for key, value in values.items() if key != "name"}, "", 1)
    entries = dict(root.entries)
    if "name" in values:
        named = builder.node(values["name"], "name", 2)
        # Messages about the name must say `name`, which is what the key is called in Python.
        named = replace(named, origin="name") if isinstance(named, Scalar) else named
        entries = {_NAME: Entry(place=NOWHERE, node=named), **entries}
    if changes:
        varied = {
            key: Entry(place=NOWHERE, node=Listing(place=NOWHERE, items=(builder.node(value, key, 2),), size=2))
            for key, value in changes.items()
        }
        entries[MATRIX] = Entry(place=NOWHERE, node=Table(place=NOWHERE, entries=varied, size=1 + 3 * len(varied)))
    if builder.problems:
        raise ScenarioError(*builder.problems)
    try:
        return read_document(Document(file=origin, root=replace(root, entries=entries)), here=here).scenarios[0]
    except ScenarioError as error:
        raise ScenarioError(*(_without_matrix(problem, changes) for problem in error.problems)) from None


def sources(path: Path) -> tuple[SourcePoint, ...]:
    """Read a scenario file's points, each with the values and changes that it is made of."""
    document = document_at(path)
    file = read_document(document, here=True)
    values = cast("dict[str, object]", plain(document.root))
    values["name"] = values.pop(_NAME)
    values.pop(MATRIX, None)
    found, _ = axes(document)
    varied = [axis.key for axis in found]
    kinds = {axis.key: {value.text: value.value for value in axis.values} for axis in found}
    return tuple(
        SourcePoint(
            scenario=scenario,
            values=values,
            changes={key: kinds[key][text] for key, (_, text) in zip(varied, scenario.point, strict=True)},
            lines=file.lines,
        )
        for scenario in file.scenarios
    )  # fmt: skip


def changed(
    values: Mapping[str, object], changes: Mapping[str, object], new: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Return values and changes with `new` in them: keys of the top level replace values, all others are changes."""
    top = {key: value for key, value in new.items() if "." not in key and "[" not in key}
    inner = {key: value for key, value in new.items() if key not in top}
    return {**values, **top}, {**changes, **inner}


@dataclass(slots=True)
class _Builder:
    """Builds the tree of Python values; what no file could hold is a problem with its path."""

    file: str
    problems: list[Problem]

    def __init__(self, *, file: str) -> None:
        self.file = file
        self.problems = []

    def problem(self, path: str, message: str) -> Problem:
        return problem_at(self.file, NOWHERE, path, message)

    def node(self, value: object, path: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ScenarioError(self.problem(path, f"nested deeper than {MAX_DEPTH} levels"))
        if isinstance(value, Mapping):
            return self.table(value, path, depth)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
            items = tuple(self.node(item, join(path, index), depth + 1) for index, item in enumerate(value))
            return Listing(place=NOWHERE, items=items, size=self.counted(path, 1 + sum(item.size for item in items)))
        return self.scalar(value, path)

    def table(self, value: Mapping[object, object], path: str, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        for key, inner in value.items():
            if not isinstance(key, str):
                self.problems.append(self.problem(path, f"expected a text as key, got {_shown(key)}"))
                continue
            entries[key] = Entry(place=NOWHERE, node=self.node(inner, join(path, key), depth + 1))
        size = self.counted(path, 1 + sum(entry.node.size for entry in entries.values()))
        return Table(place=NOWHERE, entries=entries, size=size)

    def scalar(self, value: object, path: str) -> Scalar:
        if value is None:
            return Scalar(place=NOWHERE, value=None, text="")
        if isinstance(value, bool):
            return Scalar(place=NOWHERE, value=value, text=str(value).lower())
        if isinstance(value, int) and abs(value) < _LARGEST_WHOLE:
            return Scalar(place=NOWHERE, value=int(value), text=str(int(value)))
        if isinstance(value, float) and math.isfinite(value):
            return Scalar(place=NOWHERE, value=float(value), text=repr(float(value)))
        if isinstance(value, str | PurePath):
            return Scalar(place=NOWHERE, value=str(value), text=str(value))
        notation = getattr(value, "notation", None)
        if isinstance(notation, str):
            return Scalar(place=NOWHERE, value=notation, text=notation)
        message = f"expected a text, a number, a quantity such as ms(10), a list or a mapping, got {_shown(value)}"
        self.problems.append(self.problem(path, message))
        return Scalar(place=NOWHERE, value=None, text="")

    def counted(self, path: str, size: int) -> int:
        if size > MAX_VALUES:
            raise ScenarioError(self.problem(path, f"more than {MAX_VALUES:,} values"))
        return size


def _shown(value: object) -> str:
    text = repr(value)
    if " at 0x" in text:
        # An object without a text of its own; its address says nothing.
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def _without_matrix(problem: Problem, changes: Mapping[str, object]) -> Problem:
    """Speak of a change by its own key: the matrix is not the user's."""
    path = problem.path.removeprefix(f"{MATRIX}.")
    if path == problem.path:
        return replace(problem, path="name") if path == _NAME else replace(problem, message=_own(problem, changes))
    return replace(problem, path=path.removesuffix("[0]") if path.removesuffix("[0]") in changes else path)


def _own(problem: Problem, changes: Mapping[str, object]) -> str:
    """Leave out which point of the matrix it is: there is one, and the user made it."""
    return problem.message.partition(" (where ")[0] if changes else problem.message
