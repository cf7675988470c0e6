"""The assertions of a scenario point, known before it is measured, and the case of each assertion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from perfcheck.errors import ScenarioError
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import DIAGNOSIS
from perfcheck.output.case_lines import line_of_case
from perfcheck.output.cases import (
    MEASURED,
    Case,
    Status,
    cases,
    comparison_name,
    error_case,
    expectation_names,
    measured_case,
    untrusted,
)
from perfcheck.plugin.measurement import Measured
from perfcheck.scenario import ScenarioFile, read, same_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One item to be: the name of its case, and its line in the file."""

    name: str
    line: int


def read_once(
    path: Path, known: dict[str, ScenarioFile], *, commands: bool = True, trace_outside: bool = False
) -> ScenarioFile:  # fmt: skip
    """Read a file; ScenarioError lists its mistakes, a name that another file of the session has among them.

    `commands`: whether it may run commands of its own, `trace_outside`: whether its traces may lie anywhere.
    """
    found = read(path, commands=commands, trace_outside=trace_outside)
    known[found.file] = found
    problems = [problem for problem in same_names(known.values()) if problem.file == found.file]
    if problems:
        del known[found.file]
        raise ScenarioError(*problems)
    return found


def planned(
    file: ScenarioFile, scenario: Scenario, compared: tuple[str, ...], *, side_by_side: bool = False
) -> tuple[Assertion, ...]:
    """Return the assertions of a point: `expect` lines, the diagnosis, comparisons; `measured` where there is none.

    Side by side there are only comparisons: neither of the two settings needs to be the file's.
    """
    names = [] if side_by_side else list(_expected(scenario))
    names += [comparison_name(metric, side_by_side=side_by_side) for metric in compared]
    return tuple(Assertion(name=name, line=line_of_case(name, file.lines) or 1) for name in names or [MEASURED])


def _expected(scenario: Scenario) -> Iterator[str]:
    yield from expectation_names([(line.metric, line.text) for line in scenario.expect])
    if scenario.expected_cause is not None:
        yield DIAGNOSIS
    yield from (f"{DIAGNOSIS}@{entry}" for entry in scenario.expected_causes)


def case_of(assertion: Assertion, outcome: Measured, *, strict: bool) -> Case:
    """Return the case of one assertion; an error where the run cannot be trusted, says nothing of it, or was not kept.

    A failure stays one where the run was not kept.
    """
    record = outcome.record
    found = _judged(assertion, record, strict=strict)
    if outcome.unwritten is None or found.status in (Status.FAILED, Status.ERROR):
        return found
    return error_case(record, assertion.name, outcome.unwritten, assertion.line)


def _judged(assertion: Assertion, record: RunRecord, *, strict: bool) -> Case:
    reason = untrusted(record)
    if reason is not None:
        return error_case(record, assertion.name, reason, assertion.line)
    if assertion.name == MEASURED:
        return measured_case(record, assertion.line)
    for case in cases(record, strict=strict):
        if case.name == assertion.name:
            return replace(case, line=assertion.line)
    return error_case(record, assertion.name, "the run has no result for it", assertion.line)
