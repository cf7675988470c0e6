"""A runner that measures nothing, for the hook `pytest_perfcheck_runner`; it judges records like the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perfcheck.errors import PerfcheckError
from perfcheck.model.catalogue_of import own_metrics
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord, RunRecord, ScenarioRef
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress
from perfcheck.model.unavailable import verdict_of
from perfcheck.model.verdict import Verdict
from perfcheck.testing.values import make_record


def make_judged_record(
    scenario: Scenario, metrics: Mapping[str, Sequence[float]], *, cause: str = "healthy",
    comparisons: Sequence[ComparisonRecord] = (), **changes: Any,
) -> RunRecord:  # fmt: skip
    """Make the record of a run of this scenario, its `expect` lines judged; `metrics` are values per trial.

    A metric of `expect` that is not among `metrics` could not be measured.
    """
    own = own_metrics(scenario)
    record = make_record(metrics, name=scenario.name, own=own)
    lines = [
        ExpectationRecord(metric=line.metric, expected=line.text, actual=found.value,
                          verdict=Verdict.PASS if line.holds(found.value) else Verdict.FAIL)
        if (found := record.figures.get(line.metric)) is not None
        else ExpectationRecord(metric=line.metric, expected=line.text, actual=None, verdict=Verdict.INVALID,
                               reason=f"{line.metric} was not measured")
        for line in scenario.expect
    ]  # fmt: skip
    if scenario.expected_cause is not None:
        verdict = Verdict.PASS if cause == scenario.expected_cause else Verdict.FAIL
        lines.append(
            ExpectationRecord(metric="diagnosis", expected=scenario.expected_cause, actual=cause, verdict=verdict)
        )
    for entry, expected in scenario.expected_causes.items():
        verdict = Verdict.PASS if cause == expected else Verdict.FAIL
        lines.append(ExpectationRecord(metric=f"diagnosis@{entry}", expected=expected, actual=cause, verdict=verdict))
    fields: dict[str, Any] = {
        "scenario": ScenarioRef(
            name=scenario.name, digest=scenario.digest, file=scenario.file, point=dict(scenario.point),
            workload=scenario.workload_digest, title=scenario.title, own_metrics=own,
        ),
        "diagnosis": (DiagnosisRecord(cause=cause, confidence=0.9),),
        "expectations": tuple(lines),
        "comparisons": tuple(comparisons),
        "reproduce": f"perfcheck run {scenario.file}",
    }  # fmt: skip
    made = record.model_copy(update=fields | changes)
    return (
        made
        if "verdict" in changes
        else made.model_copy(update={"verdict": verdict_of(made, [*made.expectations, *made.comparisons])})
    )


@dataclass(kw_only=True)
class FakeRun:
    """A run that was not compared yet; `asked` holds what it was to be compared with."""

    judged: RunRecord
    asked: list[str | RunRecord | None] = field(default_factory=list)

    @property
    def record(self) -> RunRecord:
        """The record without its comparisons."""
        verdict = self.judged.verdict
        if self.judged.comparisons:
            verdict = verdict_of(self.judged, self.judged.expectations)
        return self.judged.model_copy(update={"comparisons": (), "changed_conditions": {}, "verdict": verdict})

    def against(self, baseline: str | RunRecord | None) -> RunRecord:
        """Note it, and give the record with its comparisons."""
        self.asked.append(baseline)
        return self.judged


@dataclass(kw_only=True)
class FakeRunner:
    """Makes the record, or raises, that `answers` hold for a scenario's label; `compared` are the planned comparisons.

    Each call is noted in `calls` and, for tests with several processes, as a line of `log`.
    """

    answers: Mapping[str, BaseException | Callable[[Scenario], RunRecord]] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[float]] = field(default_factory=lambda: {"app.throughput_bps": (80e6, 81e6, 79e6)})
    compared: tuple[str, ...] = ()
    moved: tuple[ComparisonRecord, ...] = ()
    progress: Progress | None = None
    baseline_dir: Path = Path("baselines")
    log: Path | None = None
    calls: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Note it."""
        self._note("enter")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note it."""
        self._note("exit")

    def planned_comparisons(self, scenario: Scenario) -> tuple[str, ...]:
        """Return `compared`."""
        del scenario
        return self.compared

    def run(self, scenario: Scenario) -> RunRecord:
        """Answer for the scenario; one without an answer is judged on `metrics`."""
        self._note(f"run {scenario.label}")
        if self.progress is not None:
            self.progress.stage(scenario, "run 1 of 1", 0, 1)
        answer = self.answers.get(scenario.label)
        if isinstance(answer, BaseException):
            raise answer
        return answer(scenario) if answer is not None else make_judged_record(scenario, self.metrics)

    def measure(self, scenario: Scenario) -> FakeRun:
        """Answer for the scenario as `run` does, without its comparisons; those are what comparing it gives later."""
        return FakeRun(judged=self.run(scenario))

    def ab(self, scenario: Scenario, a: object, b: object) -> tuple[RunRecord, RunRecord]:
        """Answer for the scenario as A and as B, whose record has the comparisons and the texts of the sides."""
        self._note(f"ab {scenario.label}")
        after = self.run(scenario)
        sides = (str(getattr(a, "text", a)), str(getattr(b, "text", b)))
        before = after.model_copy(update={"comparisons": (), "expectations": (), "verdict": Verdict.PASS})
        return before, after.model_copy(update={"sides": sides, "expectations": ()})

    def moved_since_saved(self, scenario: Scenario, record: RunRecord) -> tuple[ComparisonRecord, ...]:
        """Return `moved`."""
        del scenario, record
        return self.moved

    def save_baseline(
        self, record: RunRecord, *, update: bool = False, accept: Sequence[str] = (), reason: str = ""
    ) -> Path:
        """Write the record's JSON to a file of its name; PerfcheckError where that fails."""
        kind = "update" if update else "accept" if accept else "save"
        known = f" {','.join(accept)} {reason}" if accept else ""
        self._note(f"{kind} {record.scenario.name}{known}")
        path = self.baseline_dir / f"{record.scenario.name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(record.to_json())
        except OSError as error:
            raise PerfcheckError(f"{path}: cannot write the baseline: {error.strerror}") from error
        return path

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.write(f"{call}\n")
