"""`perfcheck report`: run records as a page that people read, in HTML, Markdown or PDF."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from perfcheck.baseline import HistoryStore
from perfcheck.cli.formats import STDOUT
from perfcheck.errors import UsageError
from perfcheck.model.history import Series
from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord
from perfcheck.model.subject import is_diagnosis
from perfcheck.output import read_records
from perfcheck.output.rows import scenario_label
from perfcheck.report.history.story import Story
from perfcheck.report.run import Given, Source, run_document
from perfcheck.report.write import Form, content_of, require_possible, write_report
from perfcheck.system.printing import complain, say

_MOST_HISTORIES: Final = 8
"""Metrics of one scenario whose history is looked up."""
_MOST_LISTED: Final = 5
_QUIET_S: Final = 2.0


def report(arguments: argparse.Namespace) -> int:
    """Write the report in each form that was asked for. The exit status does not depend on the verdicts."""
    wanted = _wanted(arguments)
    for form, path in wanted.items():
        if path != STDOUT:
            require_possible(path, form)
    given = [Source(record=record, folder=file.parent) for file in arguments.records for record in read_records(file)]
    # Who names folders of files may name a run twice: it is one measurement all the same.
    sources = list({source.record.run_id: source for source in reversed(given)}.values())[::-1]
    progress = _Progress()
    baselines, notes = _baselines(arguments.baseline_record, sources)
    stories = _stories(arguments.history, sources, progress) if arguments.history is not None else {}
    document = run_document(
        Given(sources=sources, baselines=baselines, stories=stories, notes=notes), step=progress.scenario
    )
    for form, path in wanted.items():
        progress.say(f"writing {form.value}")
        if path == STDOUT:
            say(content_of(document, form).decode())
        else:
            write_report(document, path, form)
            if STDOUT not in wanted.values():
                say(f"written to {path}")
    return 0


def _wanted(arguments: argparse.Namespace) -> dict[Form, Path]:
    """Return the forms that were asked for, with their files."""
    asked = {Form.HTML: arguments.html, Form.MARKDOWN: arguments.md, Form.PDF: arguments.pdf}
    found = {form: path for form, path in asked.items() if path is not None}
    if not found:
        raise UsageError("no form of the report is named: add --html PATH, --md PATH or --pdf PATH")
    return found


def _baselines(file: Path | None, sources: Sequence[Source]) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Return the records to compare with by their scenario's label, and what is to be said of them."""
    if file is None:
        return {}, ()
    found = {scenario_label(record): Source(record=record, folder=file.parent) for record in read_records(file)}
    labels = list(dict.fromkeys(scenario_label(source.record) for source in sources))
    if not set(found) & set(labels):
        raise UsageError(
            f"--baseline-record: no scenario of the report is in {file}: it has {_listed(found)}, the report "
            f"{_listed(labels)}"
        )
    lacking = [label for label in labels if label not in found]
    notes = (f"{file} has no record of {_listed(lacking)}: nothing is compared there",) if lacking else ()
    return {label: source for label, source in found.items() if label in labels}, notes


def _listed(labels: Iterable[str]) -> str:
    known = sorted(labels)
    more = len(known) - _MOST_LISTED
    return ", ".join(known[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _stories(folder: Path, sources: Sequence[Source], progress: _Progress) -> Mapping[str, Sequence[Story]]:
    """Return the histories of what each scenario asserts and compares; UsageError where the folder has none at all."""
    from perfcheck.compare.outlook import outlook

    if not folder.is_dir():
        raise UsageError(f"--history: no history in {folder}: runs are kept with `perfcheck run FILE --history DIR`")
    store = HistoryStore(folder)
    found: dict[str, list[Story]] = {}
    for source in sources:
        record, label = source.record, scenario_label(source.record)
        if label in found or not (folder / record.scenario.name).is_dir():
            continue
        progress.say(f"history of {label}")
        series = [
            one for metric in _asserted(record) for one in store.series(metric, record.scenario.name)
            if _is_of(one, record)
        ]  # fmt: skip
        found[label] = [Story(one, outlook(one.values)) for one in series]
    return found


def _asserted(record: RunRecord) -> list[str]:
    """Return the metrics that a scenario compares and expects something of, those that failed first."""
    parts: list[ExpectationRecord | ComparisonRecord] = [*record.expectations, *record.comparisons]
    order = sorted(parts, key=lambda part: not part.verdict.fails_a_build)
    metrics = dict.fromkeys(part.metric for part in order if not is_diagnosis(part.metric))
    return list(metrics)[:_MOST_HISTORIES]


def _is_of(series: Series, record: RunRecord) -> bool:
    """Whether a history is the record's: has its run, or is of the same workload and matrix point."""
    point = ",".join(f"{key}={value}" for key, value in sorted(record.scenario.point.items()))
    return record.run_id in series.run_ids or (series.workload, series.point) == (record.scenario.workload, point)


class _Progress:
    """Says on standard error what is being made, where that takes long."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def scenario(self, label: str, done: int, total: int) -> None:
        """Say which scenario's part begins."""
        self.say(f"{label} [{done}/{total}]")

    def say(self, text: str) -> None:
        """Say it, unless something was said or begun just now."""
        now = time.monotonic()
        if now - self._last_s >= _QUIET_S:
            self._last_s = now
            complain(f"perfcheck: report: {text}")
