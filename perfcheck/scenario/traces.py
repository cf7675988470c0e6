"""The trace files of a scenario: found below its folder, read once, never shown."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from perfcheck.errors import Problem, UnreadableFile
from perfcheck.model.impairments import Impairments
from perfcheck.model.link import DIRECTIONS, LinkSpec
from perfcheck.model.trace import MAX_BYTES, Trace, parse_trace
from perfcheck.scenario.tree import Document
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.place import Loc


class Traces:
    """Traces of one scenario file. `outside` permits those that do not lie below its folder."""

    def __init__(self, folder: Path, *, outside: bool = False) -> None:
        """Take the scenario file's folder; no trace is looked for yet."""
        self._folder = folder
        self._outside = outside
        self._found: dict[str, Trace | str] = {}

    def check(self, document: Document) -> Iterator[Problem]:
        """Yield a problem for each trace that cannot be replayed."""
        for index in range(len(document.listing("links"))):
            for direction in ((), ("forward",), ("reverse",)):
                loc: Loc = ("links", index, *direction, "trace")
                name = document.text(*loc)
                why = self._look(name) if name else None
                if isinstance(why, str):
                    found = document.find(loc)
                    yield document.problem(found.node.place, found.path, why)

    def bound_to(self, link: LinkSpec) -> LinkSpec:
        """Return the link with its traces' paths and digests."""
        changed: dict[str, object] = {"trace": self._bind(link.trace)}
        for name in DIRECTIONS:
            override: Impairments | None = getattr(link, name)
            if override is not None:
                changed[name] = override.model_copy(update={"trace": self._bind(override.trace)})
        return link.model_copy(update=changed)

    def _bind(self, trace: Trace | None) -> Trace | None:
        found = None if trace is None else self._look(trace.name)
        return found if isinstance(found, Trace) else trace

    def _look(self, name: str) -> Trace | str:
        """Return the trace, or why it cannot be replayed."""
        if name not in self._found:
            try:
                self._found[name] = self._read(name)
            except (UnreadableFile, ValueError) as wrong:
                why = f"cannot be read: {wrong.reason}" if isinstance(wrong, UnreadableFile) else str(wrong)
                self._found[name] = f"the trace {name!r} {why}"
        return self._found[name]

    def _read(self, name: str) -> Trace:
        path = self._path(name)
        content = read_bounded(path, MAX_BYTES)
        try:
            parse_trace(content)
        except ValueError as wrong:
            raise ValueError(f"cannot be replayed: {wrong}") from None
        return Trace(name=name, path=str(path), sha256=hashlib.sha256(content).hexdigest())

    def _path(self, name: str) -> Path:
        """Return where the name leads, symbolic links followed; ValueError where that is not below the folder."""
        if not self._outside and Path(name).is_absolute():
            raise ValueError(f"is an absolute path; {_INSTEAD}")
        try:
            folder = Path(os.path.realpath(self._folder))
            path = Path(os.path.realpath(folder / name))
        except ValueError:
            raise ValueError("cannot be read: not a valid file name") from None
        if not self._outside and not path.is_relative_to(folder):
            raise ValueError(f"leads out of the scenario's folder; {_INSTEAD}")
        return path


_INSTEAD = "give a path below the scenario file's folder, relative to it, or allow other paths with --trace-outside"
