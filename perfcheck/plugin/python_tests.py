"""Implements the fixture `perfcheck`: measures for a Python test and notes its assertions."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

import pytest

from perfcheck.api.failure import is_mistake
from perfcheck.api.record import MIRRORED, Cause, Measured
from perfcheck.errors import CouldNotMeasure, PerfcheckError, Stopped, UsageError
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import MEASURED, Case, Status, measured_case, unmeasured_case, untrusted
from perfcheck.output.rows import scenario_label
from perfcheck.plugin.current import current_item
from perfcheck.plugin.session import PluginSession
from perfcheck.scenario import find, hint

if TYPE_CHECKING:
    from perfcheck.api.caller import MeasuredRun
    from perfcheck.runner.sides import Side

__tracebackhide__ = is_mistake

T = TypeVar("T")


@dataclass(slots=True)
class Notes:
    """What one test did: the records that it measured, and the cases that its assertions are."""

    runs: list[tuple[Scenario, MeasuredRun]] = field(default_factory=list)
    pairs: list[tuple[RunRecord, RunRecord]] = field(default_factory=list)
    cases: dict[tuple[str, str, str], Case] = field(default_factory=dict)
    records: dict[str, RunRecord] = field(default_factory=dict)
    failing: Case | None = None
    saved: dict[str, str] = field(default_factory=dict)

    def take(self, record: RunRecord, case: Case) -> None:
        """Keep a case; what is asserted twice is one, and fails where it failed once."""
        key = (record.run_id, case.name, case.row.against)
        known = self.cases.get(key)
        if known is None or known.status is Status.PASSED:
            self.cases[key] = case
        self.records[record.run_id] = record

    def told(self) -> tuple[Case, ...]:
        """Return the cases, and for each record of which nothing was asserted that it was measured."""
        asserted = {run_id for run_id, _, _ in self.cases}
        silent = [measured_case(record) for run_id, record in self.records.items() if run_id not in asserted]
        return (*self.cases.values(), *silent)


class PythonTests:
    """The Caller of the public API in one pytest process."""

    def __init__(self, config: pytest.Config) -> None:
        """Share the session, its runner and outputs with the items of scenario files."""
        self._config = config
        self._session = PluginSession.of(config)
        self._notes: dict[str, Notes] = {}
        self._workloads: dict[str, tuple[str, str]] = {}

    @property
    def strict(self) -> bool:
        """Whether what cannot be judged fails (--baseline-strict)."""
        return self._session.options.strict

    def notes_of(self, item: pytest.Item) -> Notes:
        """Return what a test did so far."""
        return self._notes.setdefault(item.nodeid, Notes())

    def forget(self, nodeid: str) -> None:
        """Let go of a test that has ended."""
        self._notes.pop(nodeid, None)

    def known(self, item: pytest.Item) -> bool:
        """Whether a test has measured or asserted anything."""
        return item.nodeid in self._notes

    def find(self, path: Path) -> Path:
        """Look in the test file's folder, then in the root directory."""
        if path.is_absolute():
            folders = [path.parent]
        else:
            folders = list(dict.fromkeys((self._item().path.parent, self._config.rootpath)))
        for folder in folders:
            if (folder / path).is_file():
                return _shown((folder / path).resolve())
        near = {str(_below(each, folder)) for folder in folders if folder.is_dir() for each in _scenarios(folder, path)}
        looked = " and ".join(str(_shown(folder)) for folder in folders)
        raise UsageError(f"there is no scenario file {str(path)!r} in {looked}{hint(str(path), sorted(near))}")

    def measure(self, scenario: Scenario) -> MeasuredRun:
        """Measure now; the record is written and saved when the test has ended."""
        __tracebackhide__ = True
        if self._session.options.ab is not None:
            pytest.skip("--ab compares the settings of scenario files; this test measures by itself")
        self._check_name(scenario)
        notes = self.notes_of(self._item())
        run = self._told(scenario, partial(self._session.measurements.anew, scenario))
        notes.runs.append((scenario, run))
        self._trusted(run.record)
        notes.records[run.record.run_id] = run.record
        return run

    def pairs(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        """Measure A and B; the records are written when the test has ended."""
        __tracebackhide__ = True
        running = [side.text for side in (a, b) if side.kind == "command"]
        if running and not self._session.options.commands:
            raise UsageError(f"side {running[0]!r} runs as root on this machine, which --no-commands forbids")
        self._check_name(scenario)
        notes = self.notes_of(self._item())
        before, after = self._told(scenario, partial(self._session.measurements.pairs, scenario, a, b))
        notes.pairs.append((before, after))
        self._trusted(after)
        notes.records[after.run_id] = after
        return before, after

    def _told(self, scenario: Scenario, measure: Callable[[], T]) -> T:
        """Measure; what could not be measured leaves a record, and a signal ends the session."""
        __tracebackhide__ = True
        try:
            return measure()
        except Stopped as stop:
            pytest.exit(f"{stop} while measuring {scenario.label}; everything that it created is removed", returncode=2)
        except CouldNotMeasure as error:
            from perfcheck.runner.unmeasured import reason_of

            self._unmeasured(scenario, reason_of(error))
            raise

    def note(self, record: RunRecord, case: Case) -> None:
        """Take down a case for the reports of the test that is being run."""
        self.notes_of(self._item()).take(record, case)

    def not_judged(self, case: Case) -> NoReturn:
        """Skip the test."""
        __tracebackhide__ = True
        pytest.skip(case.headline or f"{case.row.verdict}: {case.row.note}")

    def place(self) -> tuple[str, int | None]:
        """Return the file of the test and the line that is being run in it; its first line outside of it."""
        item = self._item()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == str(item.path):
                return str(_shown(item.path)), frame.f_lineno
            frame = frame.f_back
        line = item.reportinfo()[1]
        return str(_shown(item.path)), None if line is None else line + 1

    def repetition(self) -> str:
        """Return the command that runs the test again."""
        item = self._item()
        inside = item.nodeid.partition("::")[2]
        return shlex.join(("pytest", f"{_shown(item.path)}::{inside}" if inside else str(_shown(item.path))))

    def keep(self, item: pytest.Item) -> None:
        """Write what a test measured to all outputs, and as baselines where that is asked for."""
        notes = self._notes.get(item.nodeid)
        if notes is None:
            return
        runs, notes.runs = notes.runs, []
        pairs, notes.pairs = notes.pairs, []
        problems: list[PerfcheckError] = []
        for scenario, run in runs:
            try:
                saved = self._session.measurements.keep(scenario, notes.records.get(run.record.run_id, run.record))
            except PerfcheckError as error:
                problems.append(error)
                continue
            if saved is not None:
                notes.saved[scenario.label] = saved
        for before, after in pairs:
            try:
                self._session.measurements.keep_pair(before, after)
            except PerfcheckError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def could_not_measure(self, item: pytest.Item, reason: str) -> Case:
        """Return the case of a test that ended because nothing could be measured."""
        notes = self.notes_of(item)
        for case in notes.cases.values():
            if case.status is Status.ERROR and case.row.note == reason.split("\n", 1)[0]:
                return case
        file, line = self.place()
        label = item.name
        return unmeasured_case(label, MEASURED, reason, file=file, line=line, reproduce=self.repetition())

    def _item(self) -> pytest.Item:
        return current_item(self._config)

    def _check_name(self, scenario: Scenario) -> None:
        """See that a scenario's name means one thing in this session."""
        where = self.place()[0]
        for file in self._session.files.values():
            for other in file.scenarios:
                self._workloads.setdefault(other.label, (other.workload_digest, other.file))
        digest, first = self._workloads.setdefault(scenario.label, (scenario.workload_digest, where))
        if digest != scenario.workload_digest:
            raise UsageError(
                f"{scenario.label} was run with other hosts, links or traffic in {first}: baselines are kept by the "
                "name, so each scenario needs its own; give this one another name"
            )

    def _unmeasured(self, scenario: Scenario, reason: str) -> None:
        file, line = self.place()
        case = unmeasured_case(
            scenario.label, MEASURED, reason, file=file, line=line, reproduce=self.repetition()
        )  # fmt: skip
        self.notes_of(self._item()).cases[(scenario.label, MEASURED, "")] = case
        self._session.measurements.not_measured(scenario, reason)

    def _trusted(self, record: RunRecord) -> None:
        """Raise where a record must not be judged; it is written nevertheless."""
        __tracebackhide__ = True
        reason = untrusted(record)
        if reason is None:
            return
        file, line = self.place()
        case = unmeasured_case(
            scenario_label(record), MEASURED, reason, file=file, line=line, reproduce=record.reproduce
        )  # fmt: skip
        self.note(record, case)
        raise CouldNotMeasure(reason)


def compared_case(operator: str, left: object, right: object) -> Case | None:
    """Return the case of a comparison in an `assert` that does not hold; None where it is none of ours, or holds."""
    if isinstance(left, Measured):
        if left.holds(operator, right) is False:
            return left.record.compared_case(left, operator, right)
    elif isinstance(right, Measured):
        if right.holds(MIRRORED[operator], left) is False:
            return right.record.compared_case(right, MIRRORED[operator], left)
    elif operator in ("==", "!="):
        cause, other = (left, right) if isinstance(left, Cause) else (right, left)
        if isinstance(cause, Cause) and isinstance(other, str) and (str(cause) == other) is not (operator == "=="):
            expected = str(other) if operator == "==" else f"another cause than {other}"
            return cause.record.cause_case(expected, holds=False)
    return None


def properties(notes: Notes) -> Iterator[tuple[str, str]]:
    """Yield a test's JUnit properties: each case's, then the metrics of each record that it measured or judged."""
    from perfcheck.output.properties import metric_properties

    several = len(notes.records) > 1
    for case in notes.told():
        start = f"perfcheck.{case.scenario}." if several else "perfcheck."
        for key, value in case.properties.items():
            yield f"{start}{case.name}.{key}", value
    for record in notes.records.values():
        start = f"{scenario_label(record)}." if several else ""
        yield f"{start}perfcheck.scenario", scenario_label(record)
        yield f"{start}perfcheck.run_id", record.run_id
        for name, value in metric_properties(record):
            yield f"{start}{name}", value


def word_of(cases: Iterable[Case]) -> str | None:
    """Return the verdict that a test which passed has in pytest's counts, where it is not a plain pass."""
    verdicts = {case.row.verdict for case in cases}
    return next(
        (word.value for word in (Verdict.INCONCLUSIVE, Verdict.IMPROVED) if word.value in verdicts), None
    )  # fmt: skip


def _scenarios(folder: Path, path: Path) -> tuple[Path, ...]:
    """Return the scenario files near a path that does not exist: in its folder, or else anywhere below."""
    beside = (folder / path).parent
    return find([beside if beside.is_dir() else folder])


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _shown(path: Path) -> Path:
    """Return the path as the user would type it: relative to the working directory, if it lies below."""
    here = Path(os.getcwd())  # noqa: PTH109 - as pytest's own paths, without a look at links
    return path.relative_to(here) if path.is_relative_to(here) else path
