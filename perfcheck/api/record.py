"""A run as tests see it: its measured values, its diagnosis, and what can be asserted of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from perfcheck.api.failure import UnknownMetric, is_mistake
from perfcheck.api.judging import cases_of, line_case, settle
from perfcheck.api.quantity import Number, Quantity
from perfcheck.api.scenario import place_of
from perfcheck.errors import UsageError
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import scenario_label
from perfcheck.scenario import hint

if TYPE_CHECKING:
    from perfcheck.api.caller import Caller, MeasuredRun
    from perfcheck.api.scenario import Scenario
    from perfcheck.output.cases import Case


__tracebackhide__ = is_mistake
_HOLDS: Final = {
    "<": lambda own, other: own < other,
    "<=": lambda own, other: own <= other,
    ">": lambda own, other: own > other,
    ">=": lambda own, other: own >= other,
    "==": lambda own, other: own == other,
    "!=": lambda own, other: own != other,
}
MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Measured(Quantity):
    """One metric of a record: the median of its runs, in the metric's unit.

    Compares with quantities of its kind (`ms(60)`), with other measured values, and with bare numbers, which are
    taken to be in the metric's own unit, since its name carries it. TypeError for a quantity of another kind.
    Arithmetic gives plain quantities: `record["tcp.rtt_us.p99"] - record["tcp.rtt_us.p50"] < ms(5)`.
    """

    __slots__ = ("_name", "_per_trial", "_record")

    def __init__(self, name: str, value: float, unit: str, per_trial: tuple[float, ...], record: Record) -> None:
        """Take the metric's name, its median and the runs' own values in `unit`, and the record that it is of."""
        super().__init__(value, unit)
        self._name = name
        self._per_trial = per_trial
        self._record = record

    @property
    def name(self) -> str:
        """The metric's name, e.g. `tcp.rtt_us.p99`."""
        return self._name

    @property
    def value(self) -> float:
        """The median of the runs, in the metric's own unit (`unit`)."""
        return float(self.number)

    @property
    def per_trial(self) -> tuple[float, ...]:
        """The value of each run that counts, in the metric's own unit."""
        return self._per_trial

    @property
    def record(self) -> Record:
        """The record that it is of."""
        return self._record

    def holds(self, operator: str, other: object) -> bool | None:
        """Whether `self OPERATOR other`; None where the other is neither quantity nor number."""
        if isinstance(other, int | float) and not isinstance(other, bool):
            return bool(_HOLDS[operator](self.number, other))
        found = self._comparable(other)
        return None if found is None else bool(_HOLDS[operator](self.base, found))

    def expected(self, operator: str, other: object) -> str:
        """Return what was expected as an `expect` line says it, e.g. `<= 60ms`."""
        if isinstance(other, Measured):
            return f"{operator} {other} ({other.name} of {other.record.label})"
        return f"{operator} {other.notation if isinstance(other, Quantity) else other}"

    def _judged(self, operator: str, other: object) -> bool:
        held = self.holds(operator, other)
        if held:
            # A comparison that does not hold is no failure yet: it may stand in an `if`.
            self._record.note_passed(self, operator, other)
        return NotImplemented if held is None else held

    def __lt__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged("<", other)

    def __le__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged("<=", other)

    def __gt__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged(">", other)

    def __ge__(self, other: Quantity | Number) -> bool:
        """Compare."""
        return self._judged(">=", other)

    def __eq__(self, other: object) -> bool:
        """Compare."""
        return self._judged("==", other)

    def __ne__(self, other: object) -> bool:
        """Compare."""
        return self._judged("!=", other)

    __hash__ = Quantity.__hash__

    def __repr__(self) -> str:
        """Return e.g. `tcp.rtt_us.p99 = 46.7 ms`."""
        return f"{self._name} = {self}"


class Cause(str):
    """The most probable cause's name: a text that knows its record, for the message where it is not as expected."""

    __slots__ = ("record",)

    record: Record

    def __new__(cls, name: str, record: Record) -> Cause:
        """Make the text."""
        made = super().__new__(cls, name)
        made.record = record
        return made


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
        found = self.get(metric)
        if found is None:
            known = catalogue_of(self._raw)
            if metric not in known:
                raise UnknownMetric(f"unknown metric {metric!r}{hint(str(metric), known)}")
            self._tell_unmeasured(metric)
        return found

    def get(self, metric: str) -> Measured | None:
        """Return a metric, or None where it was not measured."""
        found = self._raw.figures.get(metric)
        if found is None:
            return None
        return Measured(metric, found.value, found.unit, found.per_trial, self)

    def __contains__(self, metric: object) -> bool:
        """Whether a metric was measured."""
        return metric in self._raw.figures

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
            reason=why_unmeasured(metric, self._raw),
        )  # fmt: skip
        case = self.case(line)
        settle(self._raw, (case,), self._caller)
        self._caller.not_judged(case)

    def _repeatable(self, record: RunRecord) -> RunRecord:
        """A scenario that is in no file is run again by its test."""
        if self._scenario.is_file:
            return record
        return record.model_copy(update={"reproduce": self._caller.repetition()})
