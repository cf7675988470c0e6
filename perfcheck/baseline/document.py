"""A baseline file: its text, its shape, its check sums, and located errors for whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from perfcheck.errors import BaselineError, FileError, Problem
from perfcheck.model.baseline import AcceptedChange, Baseline, BaselineSession
from perfcheck.system.json_bounds import LARGEST
from perfcheck.system.located_yaml import MAX_PROBLEMS, LocatedFile, read_located
from perfcheck.system.place import Place, problem_at
from perfcheck.system.yaml_bounds import YamlBounds

SCHEMA: Final = 1
BOUNDS: Final = YamlBounds(characters=8_000_000, values=200_000, depth=8, scalar=10_000)
"""Some 80 sessions of 20 runs; `save` refuses what would exceed it."""

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
    read = _read(text, file)
    if isinstance(read.value, dict) and read.value.get("schema", SCHEMA) != SCHEMA:
        message = f"expected {SCHEMA}, got {read.value['schema']!r}: it was written by another version of perfcheck"
        raise BaselineError(read.problem(("schema",), message))
    try:
        document = _Document.model_validate(read.value)
    except ValidationError as error:
        wrong = error.errors()[:MAX_PROBLEMS]
        raise BaselineError(*(read.problem(each["loc"], f"{each['msg'].lower()}: {_MEND}") for each in wrong)) from None
    baseline = _baseline(document, file)
    _verify(document, baseline, read)
    if not text.endswith("...\n"):
        end = Place(line=text.count("\n") + 1, column=1)
        raise BaselineError(problem_at(file, end, "", f"the end mark '...' is missing: {_MEND}"))
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


def _verify(document: _Document, baseline: Baseline, read: LocatedFile) -> None:
    message = f"the checksum does not match the content, which was damaged or edited by hand: {_MEND}"
    problems = []
    if document.check != _digest(_head(baseline)):
        problems.append(read.problem(("check",), message))
    for index, (written, session) in enumerate(zip(document.sessions, baseline.sessions, strict=True)):
        if written.check != _digest(_session_body(session)):
            problems.append(read.problem(("sessions", index, "check"), message))
    if problems:
        raise BaselineError(*problems)


def _read(text: str, file: str) -> LocatedFile:
    try:
        read = read_located(file, text, BOUNDS, fast=True)
    except FileError as error:
        raise BaselineError(*(_with_advice(problem) for problem in error.problems)) from None
    if not isinstance(read.value, dict):
        raise BaselineError(read.problem((), f"not a baseline file: {_MEND}"))
    return read


def _with_advice(problem: Problem) -> Problem:
    """Say what to do about a mistake; one that has no path is the whole file's."""
    message = f"{problem.message}: {_MEND}" if problem.path else f"not a valid baseline: {problem.message}. {_MEND}"
    return replace(problem, message=message)
