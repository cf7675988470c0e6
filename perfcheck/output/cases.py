"""Splits a run record into test cases, which pytest, JUnit, GitHub and the console report; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from perfcheck.model.printable import printable, printable_lines
from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord
from perfcheck.model.subject import is_diagnosis
from perfcheck.model.unavailable import is_unavailable
from perfcheck.model.verdict import Verdict
from perfcheck.output.case_lines import KeyLines, first_line, line_of_case
from perfcheck.output.explain import Subject, background, details, headline, place, unmeasured
from perfcheck.output.rows import (
    UNAVAILABLE,
    Row,
    cause_text,
    detectable_text,
    interval_text,
    scenario_label,
    signed_pct,
    value_text,
)

MEASURED: Final = "measured"


class Status(StrEnum):
    """How a test framework counts a case; ERROR means that it could not be measured."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One assertion's outcome; `headline`, `details` and `background` are empty for a plain pass.

    `details` are the case's own, `background` is shared by the cases of a run. `line` is that of
    the assertion in the scenario's `file`, where it is known. `properties` go into JUnit beside
    the metrics' values.
    """

    scenario: str
    name: str
    metric: str
    file: str
    line: int | None
    status: Status
    row: Row
    headline: str = ""
    details: str = ""
    background: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make each text printable: all reports are made of these."""
        for name in ("scenario", "name", "metric", "file"):
            object.__setattr__(self, name, printable(getattr(self, name)))
        for name in ("headline", "details", "background"):
            object.__setattr__(self, name, printable_lines(getattr(self, name)))
        shown = {printable(key): printable_lines(value) for key, value in self.properties.items()}
        object.__setattr__(self, "properties", shown)

    @property
    def full_name(self) -> str:
        """Scenario and assertion."""
        return self.scenario if self.name == MEASURED else f"{self.scenario} {self.name}"

    @property
    def text(self) -> str:
        """All there is to say, headline first."""
        if self.status in (Status.PASSED, Status.SKIPPED):
            return self.headline
        parts = (self.details, self.background, place(self.file, self.line))
        return "\n".join((self.headline, "", *(part for part in parts if part)))


def expectation_names(lines: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Name `expect` lines given as (metric, text): `expect:tcp.rtt_us.p99`; a repeated metric gets its text too."""
    counts = Counter(metric for metric, _ in lines)
    return tuple(
        metric
        if is_diagnosis(metric)
        else f"expect:{metric}"
        if counts[metric] == 1
        else f"expect:{metric}:{text.replace(' ', '')}"
        for metric, text in lines
    )


def comparison_name(metric: str, *, side_by_side: bool = False) -> str:
    """Name the comparison of a metric, with a baseline or of B with A."""
    return f"{'ab' if side_by_side else 'baseline'}:{metric}"


def untrusted(record: RunRecord) -> str | None:
    """Say why a run as a whole must not be judged, or None where it may."""
    if record.invalid_reason is not None:
        return record.invalid_reason
    parts: tuple[ExpectationRecord | ComparisonRecord, ...] = (*record.expectations, *record.comparisons)
    if record.verdict is Verdict.INVALID and not any(part.verdict is Verdict.INVALID for part in parts):
        return "the run is invalid"
    return None


def cases(record: RunRecord, *, strict: bool = False, lines: KeyLines | None = None) -> tuple[Case, ...]:
    """Return the cases of a record: `expect` lines in the file's order, then comparisons.

    A record with nothing to assert gives the one case `measured`, and so does an untrusted one.
    `strict` fails what has no baseline or is unavailable. `lines` are the lines of the keys of the
    scenario's file.
    """
    places = lines or {}
    reason = untrusted(record)
    if reason is not None:
        return (error_case(record, MEASURED, reason, first_line(places)),)
    names = expectation_names([(part.metric, part.expected) for part in record.expectations])
    found = [
        *(
            _expectation_case(record, part, name, places, strict)
            for part, name in zip(record.expectations, names, strict=True)
        ),
        *(_comparison_case(record, part, places, strict) for part in record.comparisons),
    ]
    if record.verdict.fails_a_build and not any(case.status is Status.FAILED for case in found):
        found.append(_unexplained(record))
    return tuple(found) or (measured_case(record, line_of_case(MEASURED, places)),)


def error_case(record: RunRecord, name: str, reason: str, line: int | None = None) -> Case:
    """Return a case that could not be judged on this record."""
    return unmeasured_case(
        scenario_label(record), name, reason, file=record.scenario.file, line=line, reproduce=record.reproduce
    )


def unmeasured_case(
    label: str, name: str, reason: str, *, file: str, line: int | None = None, reproduce: str = ""
) -> Case:
    """Return a case of a scenario of which there is no record at all."""
    metric = name.removeprefix("expect:").removeprefix("baseline:").removeprefix("ab:")
    first = reason.split("\n", 1)[0]
    return Case(
        scenario=label, name=name, metric=metric, file=file, line=line, status=Status.ERROR,
        row=Row(scenario=label, metric=metric, verdict=Verdict.INVALID.value, note=first),
        headline=f"could not measure: {first}", details=unmeasured(reason, reproduce),
        properties={"verdict": Verdict.INVALID.value},
    )  # fmt: skip


def measured_case(record: RunRecord, line: int | None = None) -> Case:
    """Return the case of a run that asserts nothing; it passes because it was measured."""
    label = scenario_label(record)
    runs = sum(trial.valid for trial in record.trials)
    row = Row(
        scenario=label, metric=MEASURED, value=f"{runs} run{'s' if runs != 1 else ''}",
        against="", verdict=Verdict.PASS.value, note=cause_text(record.diagnosis[0]),
    )  # fmt: skip
    return Case(
        scenario=label, name=MEASURED, metric=MEASURED, file=record.scenario.file, line=line,
        status=Status.PASSED, row=row, properties={"verdict": Verdict.PASS.value},
    )  # fmt: skip


def _unexplained(record: RunRecord) -> Case:
    """Return the failure of a record whose verdict none of its checks has: it was edited, or lost a part."""
    word, label = record.verdict.value, scenario_label(record)
    why = f"the record's verdict is {word}, but none of its checks failed; measure it again"
    return Case(
        scenario=label, name=MEASURED, metric=MEASURED, file=record.scenario.file, line=None, status=Status.FAILED,
        row=Row(scenario=label, metric=MEASURED, verdict=word, note=why), headline=why, properties={"verdict": word},
    )  # fmt: skip


def _expectation_case(record: RunRecord, part: ExpectationRecord, name: str, places: KeyLines, strict: bool) -> Case:
    compared = next((other for other in record.comparisons if other.metric == part.metric), None)
    subject = Subject.of(record, part.metric, expectation=part, comparison=compared)
    row = Row(
        scenario=scenario_label(record), metric=part.metric, value=value_text(part.actual, subject.unit),
        against=part.expected, verdict=part.verdict.value, note=part.reason or "",
    )  # fmt: skip
    properties = {"expected": part.expected, "actual": _plain(part.actual)}
    case = _passed(record, name, row, subject, properties, line_of_case(name, places))
    return _judged(case, record, subject, part.verdict, strict)


def _comparison_case(record: RunRecord, part: ComparisonRecord, places: KeyLines, strict: bool) -> Case:
    subject = Subject.of(record, part.metric, comparison=part)
    name = comparison_name(part.metric, side_by_side=record.sides is not None)
    row = Row(
        scenario=scenario_label(record), metric=part.metric, value=value_text(part.current, subject.unit),
        against=value_text(part.baseline, subject.unit), change=signed_pct(part.change_pct, part.margin_pct),
        interval=interval_text(part.interval_pct, part.margin_pct), detectable=detectable_text(part, subject.unit),
        verdict=part.verdict.value, note=_note(part, side_by_side=record.sides is not None),
    )  # fmt: skip
    properties = {
        "actual": _plain(part.current),
        "baseline": _plain(part.baseline),
        "change_pct": _plain(part.change_pct),
        "interval_pct": "" if part.interval_pct is None else " to ".join(map(repr, part.interval_pct)),
        "detectable_pct": _plain(part.detectable_pct),
        "margin_pct": _plain(part.margin_pct),
        "runs_needed": "" if part.runs_needed is None else str(part.runs_needed),
    }
    case = _passed(record, name, row, subject, properties, line_of_case(name, places))
    return _judged(case, record, subject, part.verdict, strict)


def _note(part: ComparisonRecord, *, side_by_side: bool) -> str:
    if part.verdict is not Verdict.INCONCLUSIVE or part.runs_needed is None:
        return part.reason or ""
    return (
        f"{part.reason or 'in doubt'}; {part.runs_needed} {'pairs' if side_by_side else 'runs per side'} would "
        "decide it"
    )


def _passed(
    record: RunRecord, name: str, row: Row, subject: Subject, properties: Mapping[str, str], line: int | None
) -> Case:
    known = {"verdict": row.verdict, "unit": subject.unit, **properties}
    return Case(
        scenario=row.scenario, name=name, metric=subject.metric, file=record.scenario.file, line=line,
        status=Status.PASSED, row=row, properties={key: value for key, value in known.items() if value},
    )  # fmt: skip


def _judged(case: Case, record: RunRecord, subject: Subject, verdict: Verdict, strict: bool) -> Case:
    """Turn a case that passed so far into what its verdict makes of it."""
    if verdict.fails_a_build:
        return replace(
            case, status=Status.FAILED, headline=headline(record, subject), details=details(record, subject),
            background=background(record, subject),
        )  # fmt: skip
    if verdict is Verdict.NO_BASELINE:
        return _unjudged(case, verdict.value, "no baseline is stored for this scenario", strict)
    if verdict is Verdict.INVALID and is_unavailable(record, subject.metric):
        return _unjudged(case, UNAVAILABLE, f"{subject.metric} cannot be measured here", strict)
    if verdict is Verdict.INVALID:
        return error_case(record, case.name, case.row.note or f"{subject.metric} has no value", case.line)
    return case


def _unjudged(case: Case, word: str, reason: str, strict: bool) -> Case:
    """Return a case that this machine or this store cannot judge: skipped, or failed where the user is strict."""
    row = replace(case.row, verdict=word, note=case.row.note or reason)
    case = replace(case, row=row, headline=f"{word}: {row.note}", status=Status.SKIPPED)
    if not strict:
        return case
    return replace(
        case, status=Status.FAILED, details="  strict     a case without a verdict fails, because of --baseline-strict"
    )


def _plain(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(float(value))


def failures(found: Sequence[Case]) -> Iterator[Case]:
    """Yield the cases that failed or could not be measured."""
    return (case for case in found if case.status in (Status.FAILED, Status.ERROR))


def failure_text(record: RunRecord, failed: Sequence[Case]) -> str:
    """Return one text for cases of a record that failed together; a single case's is its own, word for word.

    What the failures of a run share is said once, after each case's own part.
    """
    if len(failed) == 1:
        return failed[0].text
    first = f"{failed[0].headline}, and {len(failed) - 1} more failed"
    own = [f"\n{case.headline}\n{case.details}".rstrip() for case in failed]
    places = dict.fromkeys(place(case.file, case.line) for case in failed)
    return "\n".join((first, *own, "", background(record), *places))
