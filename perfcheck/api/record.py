"""A run as tests see it: its metrics, its diagnosis, and what can be asserted of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

from perfcheck.api.failure import UnknownMetric
from perfcheck.api.judging import cases_of, line_case, settle
from perfcheck.api.measured import Cause, Measured
from perfcheck.api.scenario import place_of
from perfcheck.errors import UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import scenario_label
from perfcheck.scenario import hint

if TYPE_CHECKING:
    from perfcheck.api.caller import Caller, MeasuredRun
    from perfcheck.api.scenario import Scenario
    from perfcheck.output.cases import Case


class Record:
    """One scenario, measured: `record["tcp.rtt_us.p99"]` is the median of its runs.

    Example:
        >>> record = perfcheck.run("scenarios/office.yaml", repeat=3)    # doctest: +SKIP
        >>> assert record["tcp.rtt_us.p99"] < ms(60)                     # doctest: +SKIP
        >>> assert record.cause == "healthy"                             # doctest: +SKIP
        >>> record.assert_no_regression()                                # doctest: +SKIP
    """

    def __init__(
        self, run: MeasuredRun, scenario: Scenario, caller: Caller, *, baseline: str | Record | None = None
    ) -> None:
        """Take a run that may be judged; `baseline` is what `assert_no_regression` compares with by default."""
        self._run = run
        self._scenario = scenario
        self._caller = caller
        self._baseline = baseline
        self._raw = self._repeatable(run.record)

    @property
    def raw(self) -> RunRecord:
        """The whole record, as `--perfcheck-json` writes it; with comparisons once one was asked for."""
        return self._raw

    @property
    def scenario(self) -> Scenario:
        """The scenario that was run."""
        return self._scenario

    @property
    def label(self) -> str:
        """The scenario's name with its point, e.g. `office[delay=20ms]`."""
        return scenario_label(self._raw)

    @property
    def diagnosis(self) -> DiagnosisRecord:
        """The most probable cause with its `confidence` (0 to 1), `evidence_for`, `evidence_against`, `advice`."""
        return self._raw.diagnosis[0]

    @property
    def cause(self) -> str:
        """The most probable cause's name, `healthy` where nothing is wrong."""
        return Cause(self._raw.diagnosis[0].cause, self)

    @property
    def comparisons(self) -> Mapping[str, ComparisonRecord]:
        """What `assert_no_regression` found, by metric; empty before."""
        return {each.metric: each for each in self._raw.comparisons}

    def __getitem__(self, metric: str) -> Measured:
        """Return a metric.

        UnknownMetric (a KeyError) for a name that no metric has. A metric that this machine cannot measure skips the
        test (`--baseline-strict` fails it); CouldNotMeasure where the traffic does not produce it.
        """
        __tracebackhide__ = True
        if metric not in CATALOGUE:
            raise UnknownMetric(f"unknown metric {metric!r}{hint(str(metric), CATALOGUE)}")
        found = self.get(metric)
        if found is None:
            self._tell_unmeasured(metric)
        return found

    def get(self, metric: str) -> Measured | None:
        """Return a metric, or None where it was not measured."""
        found = self._raw.metrics.get(metric)
        if found is None:
            return None
        return Measured(metric, found.value, found.unit, found.per_trial, self)

    def __contains__(self, metric: object) -> bool:
        """Whether a metric was measured."""
        return metric in self._raw.metrics

    def __iter__(self) -> Iterator[str]:
        """Return the names of the metrics that were measured."""
        return iter(self._raw.metrics)

    def __len__(self) -> int:
        """Return how many metrics were measured."""
        return len(self._raw.metrics)

    def __repr__(self) -> str:
        """Return e.g. `<Record office-upload: 3 runs, healthy>`."""
        runs = sum(trial.valid for trial in self._raw.trials)
        return f"<Record {self.label}: {runs} run{'s' if runs != 1 else ''}, {self._raw.diagnosis[0].cause}>"

    def assert_expectations(self) -> None:
        """Assert all lines of the scenario's own `expect`; UsageError where it has none."""
        __tracebackhide__ = True
        if not self._raw.expectations:
            raise UsageError(
                f"{self.label} has no expectations: give it expect={{...}}, or assert on the record itself"
            )
        found = cases_of(self._raw, "expectations", strict=self._caller.strict)
        settle(self._raw, [place_of(case, self._scenario, self._caller.place()) for case in found], self._caller)

    def assert_no_regression(self, baseline: str | Record | None = None) -> None:
        """Assert that no compared metric is worse than the baseline, as `pytest --baseline` does.

        `baseline`: a named set of stored baselines, or another record; None takes that of `run`, else the stored one
        that --baseline-dir and --baseline-name choose. What seems to be worse is measured again, and the fresh runs
        decide. Without a baseline the test is skipped (`--baseline-strict` fails it); INCONCLUSIVE passes, counted.
        """
        __tracebackhide__ = True
        chosen = baseline if baseline is not None else self._baseline
        if chosen is self:
            raise UsageError(f"{self.label}: a record cannot be its own baseline")
        against = chosen.raw if isinstance(chosen, Record) else chosen
        self._raw = self._repeatable(self._run.against(against))
        found = cases_of(self._raw, "comparisons", strict=self._caller.strict)
        place = self._caller.place()
        settle(self._raw, [place_of(case, self._scenario, place) for case in found], self._caller)

    def case(self, line: ExpectationRecord) -> Case:
        """Return the case of a line that the test expects, at the place of the test."""
        return line_case(self._raw, line, strict=self._caller.strict, place=self._caller.place())

    def compared_case(self, measured: Measured, operator: str, other: object) -> Case:
        """Return the case of a comparison that a test makes."""
        line = ExpectationRecord(
            metric=measured.name, expected=measured.expected(operator, other), actual=measured.value,
            verdict=Verdict.PASS if measured.holds(operator, other) else Verdict.FAIL,
        )  # fmt: skip
        return self.case(line)

    def cause_case(self, expected: str, *, holds: bool) -> Case:
        """Return the case of a comparison of the cause with a name."""
        line = ExpectationRecord(
            metric="diagnosis", expected=expected, actual=self._raw.diagnosis[0].cause,
            verdict=Verdict.PASS if holds else Verdict.FAIL,
        )  # fmt: skip
        return self.case(line)

    def note_passed(self, measured: Measured, operator: str, other: object) -> None:
        """Tell the reports of a comparison that held."""
        self._caller.note(self._raw, self.compared_case(measured, operator, other))

    def _tell_unmeasured(self, metric: str) -> NoReturn:
        __tracebackhide__ = True
        from perfcheck.runner.summary import why_unmeasured

        line = ExpectationRecord(
            metric=metric, expected="a value", actual=None, verdict=Verdict.INVALID,
            reason=why_unmeasured(metric, self._raw.unavailable),
        )  # fmt: skip
        case = self.case(line)
        settle(self._raw, (case,), self._caller)
        self._caller.not_judged(case)

    def _repeatable(self, record: RunRecord) -> RunRecord:
        """A scenario that is in no file is run again by its test."""
        if self._scenario.is_file:
            return record
        return record.model_copy(update={"reproduce": self._caller.repetition()})
