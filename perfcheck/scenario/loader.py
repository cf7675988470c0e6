"""Turns scenario files into scenarios, one for each point of the matrix, or reports every mistake with its position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from perfcheck.errors import Problem, ScenarioError, UnreadableFile, UsageError
from perfcheck.model.own_metric import with_own
from perfcheck.model.scenario import Scenario
from perfcheck.scenario.checks import check
from perfcheck.scenario.counts import too_long, too_many, too_many_connections
from perfcheck.scenario.digest import digest, workload_digest
from perfcheck.scenario.expectations import KNOWN
from perfcheck.scenario.explain import explain
from perfcheck.scenario.local_checks import check_here
from perfcheck.scenario.matrix import MATRIX, Point, axes, points
from perfcheck.scenario.own_metrics import own_metrics_of
from perfcheck.scenario.schema import ScenarioDocument
from perfcheck.scenario.texts import check_texts, name_problem
from perfcheck.scenario.traces import Traces
from perfcheck.scenario.tree import Document, plain
from perfcheck.scenario.trust import commands_of
from perfcheck.scenario.yamltree import parse, top_level_keys
from perfcheck.system.bounded_read import read_bounded

SUFFIX: Final = ".yaml"

MAX_BYTES: Final = 1_000_000
"""A file's size; what is larger is not read."""

MAX_PROBLEMS: Final = 50
"""Mistakes of one file that are told."""

_KEY_LINE: Final = re.compile(r"^(scenario|'scenario'|\"scenario\")\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFile:
    """A file that was read: its scenarios in the matrix's order, and where its keys stand."""

    file: str
    scenarios: tuple[Scenario, ...]
    lines: Mapping[str, int]

    @property
    def name(self) -> str:
        """The name that the file's scenarios share."""
        return self.scenarios[0].name

    def line_of(self, path: str) -> int:
        """Return the line of a key such as `expect.tcp.rtt_us.p99`; of the nearest key around it where it has none."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


def load(path: Path) -> tuple[Scenario, ...]:
    """Read a file's scenarios; ScenarioError lists every mistake."""
    return read(path).scenarios


def load_text(text: str, file: str) -> tuple[Scenario, ...]:
    """Read scenarios from a text; `file` is the name that messages and scenarios carry."""
    return read_text(text, file).scenarios


def read(path: Path, *, commands: bool = True, trace_outside: bool = False) -> ScenarioFile:
    """Read a file with the places of its keys; ScenarioError lists every mistake, or why the file cannot be read.

    `commands`: whether the file may run commands of its own; where not, each that would is a mistake.
    `trace_outside`: whether its traces may lie elsewhere than below its folder.
    """
    return read_document(document_at(path), here=True, commands=commands, trace_outside=trace_outside)


def document_at(path: Path) -> Document:
    """Parse a file; ScenarioError says why it cannot be read, or where it is no YAML."""
    file = str(path)
    unnamed = name_problem(file)
    if unnamed is not None:
        raise ScenarioError(unnamed)
    try:
        content = read_bounded(path, MAX_BYTES)
    except UnreadableFile as error:
        raise ScenarioError(_first_line(file, f"cannot be read: {error.reason}")) from None
    return parse(_decode(content, file), file)


def read_text(text: str, file: str, *, here: bool = False, commands: bool = True) -> ScenarioFile:
    """Read a text as `read` reads a file; what it names is looked for on this machine where `here` says so."""
    return read_document(parse(text, file), here=here, commands=commands)


def read_document(
    document: Document, *, here: bool = False, commands: bool = True, trace_outside: bool = False
) -> ScenarioFile:
    """Read a tree, whatever it was made of; ScenarioError lists every mistake."""
    crowded = too_many(document)
    if crowded:
        raise ScenarioError(*_in_order([*document.problems, *crowded]))
    traces = Traces(Path(document.file).parent, outside=trace_outside) if here else None
    base, problems = _validate(document, traces)
    told = {(problem.line, problem.column, problem.path) for problem in problems}
    problems += [
        problem for problem in check_texts(document) if (problem.line, problem.column, problem.path) not in told
    ]
    if not commands:
        problems += commands_of(document)
    found, more = axes(document)
    problems += [*document.problems, *more]
    loaded: list[Scenario] = []
    if not problems:
        for point in points(document, found):
            validated, wrong = _validate(point.document, traces)
            if not commands:
                wrong += commands_of(point.document)
            problems += [_at_point(problem, point) for problem in wrong]
            if validated is not None and not wrong:
                loaded.append(_scenario(validated, point, document.file, traces))
        problems += too_long(document, loaded)
    if problems or base is None:
        raise ScenarioError(*_in_order(problems))
    return ScenarioFile(file=document.file, scenarios=tuple(loaded), lines=MappingProxyType(document.key_lines()))


def find(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the scenario files among files and folders: a named file as it is, in a folder every `*.yaml` that is one.

    Folders are searched in depth, hidden ones left out; a file that is named twice is given once.
    UsageError where a path does not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            path.stat()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            reason = "" if isinstance(error, FileNotFoundError) else f": {why or error}"
            raise UsageError(f"no such file or folder: {str(path)!r}{reason}") from None
        for file in _in_folder(path) if path.is_dir() else (path,):
            found.setdefault(file.resolve(), file)
    return tuple(found.values())


def load_all(
    paths: Iterable[Path], *, commands: bool = True, trace_outside: bool = False
) -> tuple[ScenarioFile, ...]:  # fmt: skip
    """Read all scenario files among files and folders; ScenarioError lists the mistakes of all of them.

    A name that two files use is a mistake of the second. `commands` and `trace_outside` are as for `read`.
    """
    files: list[ScenarioFile] = []
    problems: list[Problem] = []
    for path in find(paths):
        try:
            files.append(read(path, commands=commands, trace_outside=trace_outside))
        except ScenarioError as error:
            problems += error.problems
    problems += same_names(files)
    if problems:
        raise ScenarioError(*problems)
    return tuple(files)


def same_names(files: Iterable[ScenarioFile]) -> list[Problem]:
    """Return a problem for each file whose scenario's name an earlier file has."""
    first: dict[str, ScenarioFile] = {}
    problems: list[Problem] = []
    for file in files:
        other = first.setdefault(file.name, file)
        if other is not file:
            where = f"{other.file}:{other.line_of('scenario')}"
            message = f"duplicate name {file.name!r}, first in {where}; each scenario needs its own name"
            line = file.line_of("scenario")
            problems.append(Problem(file=file.file, line=line, column=1, path="scenario", message=message))
    return problems


def is_scenario(path: Path) -> bool:
    """Whether a file's top level has the key `scenario`; never raises.

    A file that is no valid YAML counts when a line of it begins with `scenario:`, so that its error is shown.
    """
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8", "replace")
    except UnreadableFile:
        return False
    if "scenario" not in text:
        return False
    return _KEY_LINE.search(text) is not None or "scenario" in top_level_keys(text)


def _in_folder(folder: Path) -> list[Path]:
    visible = (
        path for path in folder.rglob(f"*{SUFFIX}")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )  # fmt: skip
    return sorted(path for path in visible if path.is_file() and is_scenario(path))


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"expected UTF-8 text, got the byte 0x{content[error.start]:02x}"
        raise ScenarioError(Problem(file=file, line=line, column=column, path="", message=message)) from None


def _validate(document: Document, traces: Traces | None) -> tuple[ScenarioDocument | None, list[Problem]]:
    """Validate a tree; what it names is looked for on this machine where there are traces to be looked for."""
    problems = check(document)
    if traces is not None:
        problems += [*check_here(document), *traces.check(document)]
    try:
        # Only the file's own keys count, not the names that the fields have in Python.
        validated = ScenarioDocument.model_validate(
            plain(document.root), by_alias=True, by_name=False, context={KNOWN: with_own(own_metrics_of(document))}
        )
    except ValidationError as error:
        return None, [*explain(error, document), *problems]
    return validated, [*problems, *too_many_connections(document, validated.traffic)]


def _scenario(document: ScenarioDocument, point: Point, file: str, traces: Traces | None) -> Scenario:
    scenario = Scenario(
        name=document.scenario,
        file=file,
        title=document.title,
        tags=document.tags,
        reference=document.reference,
        hosts=document.hosts,
        links=document.links if traces is None else tuple(traces.bound_to(link) for link in document.links),
        traffic=document.traffic,
        measure=document.measure,
        repeat=document.repeat,
        warmup_ns=document.warmup_ns,
        phases_ns=document.phases_ns,
        point=point.values,
        expect=document.expect.lines,
        expected_cause=document.expect.cause,
        expected_causes=dict(document.expect.causes),
        tolerance_pct=document.tolerance_pct,
    )
    return scenario.model_copy(
        update={"digest": digest(scenario), "workload_digest": workload_digest(scenario)}
    )  # fmt: skip


def _at_point(problem: Problem, point: Point) -> Problem:
    """Say at which point of the matrix a key that is not the matrix's own is wrong."""
    if problem.path.startswith(MATRIX):
        return problem
    values = ", ".join(f"{key} = {value}" for key, value in point.values)
    return replace(problem, message=f"{problem.message} (where {values})") if values else problem


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by place; what several points of the matrix repeat is told once."""
    told: dict[tuple[int, int, str, str], Problem] = {}
    for problem in problems:
        told.setdefault((problem.line, problem.column, problem.path, problem.message.partition(" (where ")[0]), problem)
    ordered = [told[key] for key in sorted(told)]
    rest = len(ordered) - MAX_PROBLEMS
    if rest > 0:
        ordered[MAX_PROBLEMS:] = [replace(ordered[MAX_PROBLEMS], path="", message=f"and {rest} more mistakes")]
    return ordered


def _first_line(file: str, message: str) -> Problem:
    return Problem(file=file, line=1, column=1, path="", message=message)
