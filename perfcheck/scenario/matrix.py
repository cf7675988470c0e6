"""The `matrix` block: which settings vary, and the file's tree at each point."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.bounds import MAX_POINTS
from perfcheck.scenario.schema import known_keys, subschemas
from perfcheck.scenario.suggest import hint
from perfcheck.scenario.tree import Document, Entry, Listing, Node, Scalar, Table, put
from perfcheck.system.place import Loc, join

MATRIX: Final = "matrix"

_STEP: Final = re.compile(r"(?P<key>[^.\[\]]+)(?P<index>(\[[0-9]{1,4}\])*)")
_ROOTS: Final = ("hosts", "links", "traffic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One key of the matrix: its path in the file and its values."""

    key: str
    loc: Loc
    values: tuple[Scalar, ...]

    @property
    def name(self) -> str:
        """The key in its shortest form, the same however the file wrote it: a host's settings begin with the host."""
        steps = self.loc[1:] if self.loc[0] == "hosts" and self.loc[1] not in _ROOTS else self.loc
        name = ""
        for step in steps:
            name = join(name, step)
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination of values: the tree with them in place, and the (key, value) pairs."""

    document: Document
    values: tuple[tuple[str, str], ...]


def axes(document: Document) -> tuple[tuple[Axis, ...], list[Problem]]:
    """Read the matrix; with problems, the axes are incomplete."""
    found: list[Axis] = []
    problems: list[Problem] = []
    for key, entry in document.table(MATRIX).items():
        path = join(MATRIX, key)
        try:
            loc = locate(key, document)
            axis = Axis(key=key, loc=loc, values=_values(entry, path))
            _refuse_same(axis, found)
        except ValueError as error:
            problems.append(document.problem(entry.place, path, str(error)))
            continue
        problems += _repeated(document, axis)
        found.append(axis)
    count = math.prod(max(1, len(axis.values)) for axis in found)
    if count > MAX_POINTS:
        place = document.find((MATRIX,)).key
        problems.append(document.problem(place, MATRIX, f"expected at most {MAX_POINTS} combinations, got {count}"))
    return tuple(found), problems


def points(document: Document, found: tuple[Axis, ...]) -> Iterator[Point]:
    """Return the tree at each combination, the last key varying fastest; without a matrix the file is the one point."""
    base = replace(document, root=_without_matrix(document.root))
    for combination in itertools.product(*(axis.values for axis in found)):
        root: Node = base.root
        for axis, value in zip(found, combination, strict=True):
            root = put(root, axis.loc, value) or root
        assert isinstance(root, Table)  # noqa: S101 - `put` keeps a table a table
        values = tuple((axis.name, value.text) for axis, value in zip(found, combination, strict=True))
        yield Point(document=replace(base, root=root), values=values)


def locate(key: str, document: Document) -> Loc:
    """Turn a key such as `links[0].delay` or `server.sysctl.net.ipv4.tcp_rmem` into a path, or raise ValueError."""
    loc = _split(key, document.table("hosts"))
    if loc[0] not in _ROOTS:
        raise ValueError(
            f"only hosts, links and traffic can vary, as in links[0].delay or server.congestion{_meant(loc, document)}"
        )
    if loc[0] == "hosts":
        _in_hosts(loc, document)
    elif len(loc) < 3 or not isinstance(loc[1], int):
        raise ValueError(f"expected a key such as {loc[0]}[0].{'delay' if loc[0] == 'links' else 'iperf3.streams'}")
    elif loc[1] >= (count := len(document.listing(loc[0]))):
        raise ValueError(f"there is no {loc[0]}[{loc[1]}]; the file has {count}")
    _known(loc)
    _reachable(loc, document)
    return loc


def _split(key: str, hosts: Mapping[str, Entry]) -> Loc:
    head, _, rest = key.partition(".")
    if head in hosts and head not in _ROOTS:
        head, rest = "hosts", key
    if head == "hosts":
        host, _, setting = rest.partition(".")
        block, _, name = setting.partition(".")
        return ("hosts", host, "sysctl", name) if block == "sysctl" else ("hosts", host, *_steps(setting))
    return _steps(key)


def _steps(text: str) -> Loc:
    steps: list[str | int] = []
    for part in text.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            raise ValueError("expected a key such as links[0].delay, links.0.loss or server.sysctl.net.ipv4.tcp_rmem")
        name = match["key"]
        steps.append(int(name) if steps and name.isascii() and name.isdigit() and len(name) <= 4 else name)
        steps += [int(index) for index in re.findall(r"[0-9]+", match["index"])]
    return tuple(steps)


def _in_hosts(loc: Loc, document: Document) -> None:
    hosts = document.table("hosts")
    host = str(loc[1])
    if host not in hosts:
        raise ValueError(f"unknown host {host!r}{hint(host, hosts)}")
    if loc[2:] == ("sysctl", ""):
        raise ValueError("expected a sysctl's name, as in server.sysctl.net.ipv4.tcp_rmem")


def _meant(loc: Loc, document: Document) -> str:
    return hint(str(loc[0]), (*_ROOTS, *document.table("hosts")))


def _known(loc: Loc) -> None:
    """Refuse a path that the schema does not have, or that ends at a whole block."""
    for length in range(2, len(loc) + 1):
        if not subschemas(loc[:length]):
            raise ValueError(
                f"unknown key {loc[length - 1]!r}{hint(str(loc[length - 1]), known_keys(loc[: length - 1]))}"
            )
    forms = {part.get("type", "string") for part in subschemas(loc)}
    if not forms & {"string", "integer", "boolean"}:
        raise ValueError("this key holds a mapping or a list; vary one value, such as links[0].delay")


def _reachable(loc: Loc, document: Document) -> None:
    """Refuse a path that a value of the file blocks, such as `loss.p` where loss is `0.1%`."""
    blocked = put(document.root, loc, Scalar(place=document.root.place, value=None, text="")) is None
    if blocked:
        found = document.find(loc)
        raise ValueError(f"{found.path} is {found.node.shown()} in this file, so it has no part that can vary")


def _values(entry: Entry, path: str) -> tuple[Scalar, ...]:
    """Return the values, each speaking of itself by its place in the matrix; the validator refuses other shapes."""
    items = entry.node.items if isinstance(entry.node, Listing) else ()
    return tuple(
        replace(item, origin=join(path, index)) for index, item in enumerate(items) if isinstance(item, Scalar)
    )


def _refuse_same(axis: Axis, found: list[Axis]) -> None:
    for other in found:
        shorter = min(len(axis.loc), len(other.loc))
        if axis.loc[:shorter] == other.loc[:shorter]:
            raise ValueError(f"varies the same setting as {join(MATRIX, other.key)}")


def _repeated(document: Document, axis: Axis) -> Iterator[Problem]:
    seen: set[str] = set()
    for value in axis.values:
        if value.text in seen:
            yield document.problem(value.place, str(value.origin), f"duplicate value {value.shown()}")
        seen.add(value.text)


def _without_matrix(root: Table) -> Table:
    return replace(root, entries={key: entry for key, entry in root.entries.items() if key != MATRIX})
