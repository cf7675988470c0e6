"""What came of Python tests, in the reports that pytest makes of them."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from perfcheck.api.failure import PerformanceFailure
from perfcheck.errors import CouldNotMeasure, PerfcheckError
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import Case, Status
from perfcheck.output.explain import reasoned
from perfcheck.output.rows import circumstances, needs, remarks, scenario_label
from perfcheck.plugin.current import current_item
from perfcheck.plugin.python_tests import Notes, PythonTests, compared_case, properties, word_of
from perfcheck.plugin.stories import sent_stories


def note_comparison(
    tests: PythonTests, config: pytest.Config, operator: str, left: object, right: object
) -> list[str] | None:
    """Note the case of a comparison that failed, and return its headline; None where it is none of ours.

    Its whole text is told with the report: pytest would cut it here.
    """
    case = compared_case(operator, left, right)
    if case is None:
        return None
    notes = tests.notes_of(current_item(config))
    record = next(each.record for each in (left, right) if hasattr(each, "record"))
    notes.take(record.raw, case)
    if case.row.verdict == Verdict.INCONCLUSIVE.value:
        pytest.skip(f"{case.row.verdict}: {case.row.note}")
    if case.status is not Status.FAILED:
        raise CouldNotMeasure(case.row.note)
    notes.failing = case
    return [case.headline]


def making_report(
    tests: PythonTests, item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put texts, properties and cases into the report of a test that used the fixture."""
    if not tests.known(item) and not _is_ours(call):
        return (yield)
    notes = tests.notes_of(item)
    headline = _tell_failure(call, notes)
    if call.when == "call":
        item.user_properties.extend(properties(notes))
    report = yield
    crash = getattr(report.longrepr, "reprcrash", None)
    if headline is not None and crash is not None:
        crash.message = headline
    if report.failed and call.excinfo is not None and isinstance(call.excinfo.value, PerfcheckError):
        _tell_error(tests, item, report, call.excinfo.value)
    elif report.skipped and call.excinfo is not None and notes.cases:
        place = item.reportinfo()
        report.longrepr = (os.fspath(item.path), (place[1] or 0) + 1, f"Skipped: {call.excinfo.value}")
    vars(report)["perfcheck"] = payload(report, notes)
    return report


def _tell_error(tests: PythonTests, item: pytest.Item, report: pytest.TestReport, error: PerfcheckError) -> None:
    """What could not be measured has neither passed nor failed: an error, with the text of a scenario file's."""
    if report.when == "call":
        # To pytest an error is what fails outside of the call.
        report.when = "setup"
    if not isinstance(error, CouldNotMeasure):
        return
    case = tests.could_not_measure(item, str(error))
    notes = tests.notes_of(item)
    if case not in notes.cases.values():
        notes.cases[case.scenario, case.name, case.row.against] = case
    report.longrepr = case.text


def payload(report: pytest.TestReport, notes: Notes) -> dict[str, Any]:
    """Return what the reporter needs of a report: the cases once, with the teardown what became of the records."""
    cases: Sequence[Case] = ()
    if report.when == "call" or report.failed or report.skipped:
        cases = notes.told()
    records = list(notes.records.values()) if cases else []
    return {
        "cases": [asdict(case) | {"status": case.status.value, "properties": dict(case.properties)} for case in cases],
        "word": _word(report, notes),
        "remarks": [
            (scenario_label(record), text)
            for record in records
            for text in (*circumstances(record), *needs(record), *remarks(record))
        ],
        "why": [list(reasoned(record)) for record in records],
        "stories": [
            story
            for record in records
            for story in sent_stories(record, (case for case in cases if case.scenario == scenario_label(record)))
        ],
        "environment": json.loads(json.dumps(records[0].environment, default=str)) if records else {},
        "saved": dict(notes.saved) if report.when == "teardown" else {},
    }


def _word(report: pytest.TestReport, notes: Notes) -> str | None:
    if report.when != "call":
        return None
    if report.passed:
        return word_of(notes.cases.values())
    skipped = {case.row.verdict for case in notes.cases.values() if case.status is Status.SKIPPED}
    return Verdict.NO_BASELINE.value if report.skipped and Verdict.NO_BASELINE.value in skipped else None


def _is_ours(call: pytest.CallInfo[None]) -> bool:
    return call.excinfo is not None and isinstance(call.excinfo.value, PerfcheckError | PerformanceFailure)


def _tell_failure(call: pytest.CallInfo[None], notes: Notes) -> str | None:
    """Put the whole text into the exception of a failed comparison, and return the headline of a failure of ours."""
    failing, notes.failing = notes.failing, None
    if call.excinfo is None:
        return None
    error = call.excinfo.value
    if isinstance(error, PerformanceFailure):
        return error.headline
    if failing is None or not isinstance(error, AssertionError) or failing.headline not in str(error):
        return None
    before, _, after = str(error).partition(f"assert {failing.headline}")
    said = before.strip()
    error.args = ("\n".join(part for part in (said, failing.text, after.strip("\n")) if part),)
    return failing.headline
