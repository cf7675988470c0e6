"""Reads the data files of the fault matrix, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from perfcheck.errors import FaultError, FileError, Problem, UnreadableFile
from perfcheck.faults.document import FaultDocument, InjectorSpec, LoadSpec, PairSpec, PathSpec
from perfcheck.model.causes import CAUSES
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.located_yaml import LocatedFile, read_located
from perfcheck.system.place import START, Loc, problem_at
from perfcheck.system.yaml_bounds import YamlBounds

BOUNDS: Final = YamlBounds(characters=200_000, values=20_000, depth=16, scalar=4096)
MAX_BYTES: Final = 400_000
DISTINCT: Final = ("paths", "loads")
_IN_TREE: Final = Path(__file__).parents[2] / "scenarios" / "faults"
_INSTALLED: Final = Path(__file__).parent / "data"

Named = TypeVar("Named", PathSpec, LoadSpec, PairSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One injector of a cause, and where its file has it."""

    cause: str
    spec: InjectorSpec
    file: LocatedFile
    loc: Loc


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """All data files, checked against each other."""

    paths: Mapping[str, PathSpec]
    loads: Mapping[str, LoadSpec]
    faults: tuple[Fault, ...]
    pairs: tuple[PairSpec, ...]


@dataclass(slots=True)
class _Read:
    """What was read so far."""

    paths: dict[str, PathSpec] = field(default_factory=dict)
    loads: dict[str, LoadSpec] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    pairs: list[tuple[PairSpec, LocatedFile, Loc]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def default_folder() -> Path:
    """Return the folder of the data files that come with perfcheck: of the source tree, else the installed one."""
    return _IN_TREE if _IN_TREE.is_dir() else _INSTALLED


def load_library(folder: Path | None = None) -> Library:
    """Read every `*.yaml` of the folder; FaultError lists every mistake of all of them."""
    folder = folder or default_folder()
    read = _Read()
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise FaultError(problem_at(str(folder), START, "", "no data files of the fault matrix (*.yaml) are here"))
    for path in files:
        try:
            _add(read, *_document(path))
        except FileError as error:
            read.problems += error.problems
    if not read.problems:
        read.problems += [*_unknown_names(read), *_unknown_faults(read)]
    if read.problems:
        raise FaultError(*read.problems)
    pairs = tuple(pair for pair, _, _ in read.pairs)
    return Library(paths=read.paths, loads=read.loads, faults=tuple(read.faults), pairs=pairs)


def _document(path: Path) -> tuple[LocatedFile, FaultDocument]:
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8")
    except UnreadableFile as error:
        raise FaultError(problem_at(str(path), START, "", f"cannot be read: {error.reason}")) from None
    except UnicodeDecodeError:
        raise FaultError(problem_at(str(path), START, "", "expected UTF-8 text")) from None
    located = read_located(str(path), text, BOUNDS)
    try:
        return located, FaultDocument.model_validate(located.value)
    except ValidationError as error:
        raise FaultError(
            *(_mistake(located, each["loc"], each["type"], each["msg"]) for each in error.errors())
        ) from None


def _mistake(located: LocatedFile, loc: Loc, kind: str, message: str) -> Problem:
    if kind == "extra_forbidden":
        place = located.key_place(loc)
        return problem_at(located.file, place, located.problem(loc, "").path, "unknown key")
    return located.problem(loc, message.removeprefix("Value error, "))


def _add(read: _Read, located: LocatedFile, document: FaultDocument) -> None:
    read.problems += _added(located, "paths", document.paths, read.paths)
    read.problems += _added(located, "loads", document.loads, read.loads)
    read.pairs += [(pair, located, ("pairs", place)) for place, pair in enumerate(document.pairs)]
    if document.faults and document.cause is None:
        read.problems.append(located.problem((), "expected `cause:`, the cause that these faults make"))
    if document.cause is None:
        return
    if document.cause not in CAUSES:
        read.problems.append(located.problem(("cause",), f"unknown cause {document.cause!r}"))
    known = {(fault.cause, fault.spec.name) for fault in read.faults}
    for place, spec in enumerate(document.faults):
        if (document.cause, spec.name) in known:
            read.problems.append(located.problem(("faults", place, "name"), f"duplicate name {spec.name!r}"))
        known.add((document.cause, spec.name))
        read.faults.append(Fault(cause=document.cause, spec=spec, file=located, loc=("faults", place)))


def _added(located: LocatedFile, key: str, specs: Iterable[Named], known: dict[str, Named]) -> Iterator[Problem]:
    for place, spec in enumerate(specs):
        if spec.name in known:
            yield located.problem((key, place, "name"), f"duplicate name {spec.name!r}")
        known[spec.name] = spec


def _unknown_names(read: _Read) -> Iterator[Problem]:
    """Yield a problem for each path or load that no file has."""
    users: list[tuple[InjectorSpec | PairSpec, LocatedFile, Loc]] = [
        *((fault.spec, fault.file, fault.loc) for fault in read.faults), *read.pairs,
    ]  # fmt: skip
    for spec, located, loc in users:
        for key, known in (("paths", read.paths), ("loads", read.loads)):
            for place, name in enumerate(getattr(spec, key)):
                if name not in known:
                    yield located.problem((*loc, key, place), f"no file has {key[:-1]} {name!r}")


def _unknown_faults(read: _Read) -> Iterator[Problem]:
    """Yield a problem for each fault of a pair that no file has."""
    known = {
        f"{fault.cause}/{fault.spec.name}/{severity}" for fault in read.faults for severity in fault.spec.severities
    }
    for pair, located, loc in read.pairs:
        for place, name in enumerate(pair.faults):
            if name not in known:
                yield located.problem((*loc, "faults", place), f"no file has fault {name!r} (cause/injector/severity)")
