"""What the public API needs from the test runner: it measures, and it is told of each assertion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from perfcheck.model.record import RunRecord
    from perfcheck.model.scenario import Scenario
    from perfcheck.output.cases import Case
    from perfcheck.runner.sides import Side


class MeasuredRun(Protocol):
    """A run that was made, and that can be compared: what seems to be worse is measured again."""

    @property
    def record(self) -> RunRecord:
        """The record as it was measured, compared with nothing."""

    def against(self, baseline: str | RunRecord | None) -> RunRecord:
        """Return the record with its comparisons: with the stored baseline (None), one of a named set, or a record."""


class Caller(Protocol):
    """Whoever runs the tests."""

    @property
    def strict(self) -> bool:
        """Whether what cannot be judged fails."""

    def find(self, path: Path) -> Path:
        """Return where a scenario file lies that was given as `path`; UsageError with the nearest where nowhere."""

    def measure(self, scenario: Scenario) -> MeasuredRun:
        """Measure now; CouldNotMeasure where nothing may be judged."""

    def pairs(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        """Measure two settings in interleaved pairs; B's record has the comparisons."""

    def note(self, record: RunRecord, case: Case) -> None:
        """Take down what came of an assertion, for the reports."""

    def not_judged(self, case: Case) -> NoReturn:
        """End the test without a verdict: it is skipped."""

    def place(self) -> tuple[str, int | None]:
        """Return the file and the line of the test that is being run."""

    def repetition(self) -> str:
        """Return the command that runs this test again."""
