"""Turns a record's judgements into the result of an assertion: passed, failed, skipped, or could not measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from perfcheck.api.failure import PerformanceFailure
from perfcheck.errors import CouldNotMeasure
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import Case, Status, cases, failure_text

if TYPE_CHECKING:
    from perfcheck.api.caller import Caller
    from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord

Place = tuple[str, int | None]


def line_case(record: RunRecord, line: ExpectationRecord, *, strict: bool, place: Place) -> Case:
    """Return the case of one line that the test itself expects, judged as one of the scenario's `expect`."""
    from perfcheck.runner.bench import judged

    alone = judged(
        record, expectations=(line,), comparisons=record.comparisons, changed_conditions=record.changed_conditions
    )
    return replace(cases(alone, strict=strict)[0], file=place[0], line=place[1])


def cases_of(record: RunRecord, kind: Literal["expectations", "comparisons"], *, strict: bool) -> tuple[Case, ...]:
    """Return the cases of all of the record's expectations, or of all of its comparisons."""
    found = cases(record, strict=strict)
    count = len(record.expectations)
    return found[:count] if kind == "expectations" else found[count : count + len(record.comparisons)]


def settle(record: RunRecord, found: Sequence[Case], caller: Caller) -> None:
    """Tell the caller of the cases and end as the worst of them does.

    PerformanceFailure where one failed, else CouldNotMeasure where one could not be measured; skipped where none
    could be judged. A case that is INCONCLUSIVE passes, and is counted.
    """
    __tracebackhide__ = True
    for case in found:
        caller.note(record, case)
    failed = [case for case in found if case.status is Status.FAILED]
    if failed:
        raise PerformanceFailure(failure_text(record, failed), failed)
    for case in found:
        if case.status is Status.ERROR:
            raise CouldNotMeasure(case.row.note)
    if found and all(case.status is Status.SKIPPED for case in found):
        caller.not_judged(found[0])


def improvement(record: RunRecord, compared: ComparisonRecord) -> ExpectationRecord:
    """Return the demand that a metric is certainly better than what it was compared with, as a line to be judged."""
    from perfcheck.model.record import ExpectationRecord
    from perfcheck.output.rows import plain_pct

    against = "baseline" if record.sides is None else "A"
    beyond = "" if compared.margin_pct is None else f" by more than {plain_pct(compared.margin_pct)}"
    verdicts = {Verdict.IMPROVED: Verdict.PASS, Verdict.NO_BASELINE: Verdict.INVALID, Verdict.INVALID: Verdict.INVALID}
    return ExpectationRecord(
        metric=compared.metric, expected=f"better than {against}{beyond}, with certainty", actual=compared.current,
        verdict=verdicts.get(compared.verdict, Verdict.FAIL), reason=compared.reason,
    )  # fmt: skip
