"""A baseline file: its text, its shape, its check sums, and located errors for whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from perfcheck.errors import BaselineError, Problem
from perfcheck.model.baseline import AcceptedChange, Baseline, BaselineSession
from perfcheck.system.json_bounds import LARGEST
from perfcheck.system.scalars import scalar_value
from perfcheck.system.yaml_bounds import YamlBounds, excess, fastest_loader

SCHEMA: Final = 1
BOUNDS: Final = YamlBounds(characters=8_000_000, values=200_000, depth=8, scalar=10_000)
"""Some 80 sessions of 20 runs; `save` refuses what would exceed it."""

MAX_PROBLEMS: Final = 50
"""Mistakes that are told: finding the place of each takes time by the size of the file."""

_DIGITS: Final = 10
_HEADER: Final = (
    "# A baseline of perfcheck: each metric's value in every run, session by session.\n"
    "# Written by `pytest --baseline-save`; the checksums detect damage and edits by hand.\n"
)
_MEND: Final = "restore it from version control, or delete it and measure it again with --baseline-save"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _figure(value: float) -> float:
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise ValueError(f"expected a finite number of at most {LARGEST:g}, got {value:g}")
    return value


Figure = Annotated[float, AfterValidator(_figure)]


class _Session(_Part):
    run_id: str
    started_at: str
    runs: dict[str, Annotated[tuple[Figure, ...], Field(min_length=1)]]
    check: str


class _Accepted(_Part):
    metric: str
    since: str
    reason: str


class _Document(_Part):
    schema_version: Literal[1] = Field(alias="schema")
    scenario: str
    point: dict[str, str]
    workload: str
    environment: dict[str, str]
    conditions: dict[str, str]
    accepted: tuple[_Accepted, ...]
    check: str
    sessions: Annotated[tuple[_Session, ...], Field(min_length=1)]


class _Dumper(yaml.SafeDumper):
    """Block style, but a tuple of numbers on one line: one line a metric is what a reviewer reads."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values out each time; an alias would couple two sessions."""
        del data
        return True


def _represent_runs(dumper: yaml.SafeDumper, values: tuple[float, ...]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(tuple, _represent_runs)


def dump(baseline: Baseline) -> str:
    """Return the file's text; the same baseline gives the same text, and what parse() gave is written back alike."""
    head = _head(baseline)
    content = {
        "schema": SCHEMA,
        **head,
        "check": _digest(head),
        "sessions": [body | {"check": _digest(body)} for body in map(_session_body, baseline.sessions)],
    }
    text = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=10**6, allow_unicode=False,
        explicit_end=True,
    )  # fmt: skip
    return _HEADER + text


def parse(text: str, file: str) -> Baseline:
    """Read a file's text; BaselineError gives the place of whatever is wrong, damaged or cut off."""
    over = excess(text, BOUNDS)
    if over is not None:
        message = f"not a valid baseline: {over.message}. {_MEND}"
        raise BaselineError(Problem(file=file, line=over.line, column=over.column, path="", message=message))
    root = _compose(text, file)
    data = _construct(root, file)
    if isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA:
        message = f"expected {SCHEMA}, got {data['schema']!r}: it was written by another version of perfcheck"
        raise BaselineError(_problem(root, ("schema",), message, file))
    try:
        document = _Document.model_validate(data)
    except ValidationError as error:
        raise BaselineError(*(_from_validation(root, each, file) for each in error.errors()[:MAX_PROBLEMS])) from None
    baseline = _baseline(document, file)
    _verify(document, baseline, root, file)
    if not text.endswith("...\n"):
        lines = text.count("\n") + 1
        raise BaselineError(
            Problem(file=file, line=lines, column=1, path="", message=f"the end mark '...' is missing: {_MEND}")
        )
    return baseline


def rounded(value: float) -> float:
    """Return the value as the file keeps it: ten digits, a whole number without a point."""
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _head(baseline: Baseline) -> dict[str, Any]:
    return {
        "scenario": baseline.scenario,
        "point": dict(sorted(baseline.point.items())),
        "workload": baseline.workload,
        "environment": dict(sorted(baseline.environment.items())),
        "conditions": dict(sorted(baseline.conditions.items())),
        "accepted": [
            {"metric": change.metric, "since": change.since, "reason": change.reason} for change in baseline.accepted
        ],
    }


def _session_body(session: BaselineSession) -> dict[str, Any]:
    runs = {name: tuple(rounded(value) for value in values) for name, values in sorted(session.runs.items())}
    return {"run_id": session.run_id, "started_at": session.started_at, "runs": runs}


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _baseline(document: _Document, file: str) -> Baseline:
    return Baseline(
        file=file,
        scenario=document.scenario,
        point=document.point,
        workload=document.workload,
        environment=document.environment,
        conditions=document.conditions,
        sessions=tuple(
            BaselineSession(run_id=each.run_id, started_at=each.started_at, runs=each.runs)
            for each in document.sessions
        ),
        accepted=tuple(
            AcceptedChange(metric=each.metric, since=each.since, reason=each.reason) for each in document.accepted
        ),
    )


def _verify(document: _Document, baseline: Baseline, root: yaml.Node, file: str) -> None:
    message = f"the checksum does not match the content, which was damaged or edited by hand: {_MEND}"
    problems = []
    if document.check != _digest(_head(baseline)):
        problems.append(_problem(root, ("check",), message, file))
    for index, (written, session) in enumerate(zip(document.sessions, baseline.sessions, strict=True)):
        if written.check != _digest(_session_body(session)):
            problems.append(_problem(root, ("sessions", index, "check"), message, file))
    if problems:
        raise BaselineError(*problems)


def _compose(text: str, file: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=fastest_loader())
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BaselineError(_from_yaml(error, text, file)) from None
    if not isinstance(root, yaml.MappingNode):
        problem = Problem(file=file, line=1, column=1, path="", message=f"not a baseline file: {_MEND}")
        raise BaselineError(problem)
    return root


def _construct(root: yaml.Node, file: str) -> Any:
    """Return plain data; BaselineError for what YAML's own loader would overlook, or fail on without a place."""
    loader = yaml.SafeLoader("")
    try:
        return _Constructor(file, loader).value(root, "")
    except RecursionError:
        raise BaselineError(_at(root, file, "", f"nested too deeply: {_MEND}")) from None
    finally:
        loader.dispose()


class _Constructor:
    """Builds plain data from nodes; a key given twice, an alias or a tag that does not fit is an error."""

    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self._file = file
        self._loader = loader
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: str) -> Any:
        """Return a node's value."""
        if id(node) in self._seen:
            raise BaselineError(_at(node, self._file, path, f"aliases (*name) are not allowed in a baseline: {_MEND}"))
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, f"{path}[{index}]") for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 - there is no fourth kind of node
        try:
            return scalar_value(node, self._loader)
        except ValueError as error:
            raise BaselineError(_at(node, self._file, path, f"{error}: {_MEND}")) from None

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BaselineError(_at(key, self._file, path, f"expected text as a key: {_MEND}"))
            if key.value in found:
                raise BaselineError(_at(key, self._file, path, f"duplicate key {key.value!r}: {_MEND}"))
            found[key.value] = self.value(value, f"{path}.{key.value}" if path else key.value)
        return found


def _from_yaml(error: Exception, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else _place_of(error, text)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "invalid YAML"
    return Problem(file=file, line=line, column=column, path="", message=f"not a valid baseline: {what}. {_MEND}")


def _place_of(error: Exception, text: str) -> tuple[int, int]:
    before = text[: getattr(error, "position", 0)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _from_validation(root: yaml.Node, error: Any, file: str) -> Problem:
    location: Sequence[str | int] = error["loc"]
    return _problem(root, location, f"{error['msg'].lower()}: {_MEND}", file)


def _problem(root: yaml.Node, location: Sequence[str | int], message: str, file: str) -> Problem:
    """Place a problem at the deepest node on the way to `location` that exists."""
    node = root
    for step in location:
        child = _child(node, step)
        if child is None:
            break
        node = child
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return _at(node, file, path, message)


def _child(node: yaml.Node, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found
    return None


def _at(node: yaml.Node, file: str, path: str, message: str) -> Problem:
    mark = node.start_mark
    return Problem(file=file, line=mark.line + 1, column=mark.column + 1, path=path, message=message)
