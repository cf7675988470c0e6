"""One scenario in a lab that is up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from perfcheck.diagnose import RuleSet
from perfcheck.errors import InvalidLink
from perfcheck.model.proof import LinkProof, RealLinkProof
from perfcheck.model.record import ComparisonRecord, EventsRecord, ExpectationRecord, RunRecord, SeriesRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import MeasuringCore, Progress, Testbed
from perfcheck.model.unavailable import verdict_of
from perfcheck.model.verdict import Verdict
from perfcheck.output.events import EventLines
from perfcheck.output.series import SeriesFile
from perfcheck.runner import budget, detailing
from perfcheck.runner.explaining import explained
from perfcheck.runner.left_open import Line
from perfcheck.runner.patience import Patience, await_calm
from perfcheck.runner.series import KeepCurves
from perfcheck.runner.summary import expectation_records, summarise
from perfcheck.runner.trial import Trial, make_trial
from perfcheck.runner.unmeasured import now
from perfcheck.system.clock import epoch_ns
from perfcheck.system.pressure import CpuLook

MOST_PROOFS: Final = 3
"""A link that fails its proof is proved again only where others kept the CPUs busy meanwhile."""


class Bench:
    """One scenario in a lab that is up: trials are made on it and summed up as a record."""

    def __init__(
        self, scenario: Scenario, lab: Testbed, core: MeasuringCore, rules: RuleSet, progress: Progress,
        unavailable: Mapping[str, str], events: EventLines | None = None, series: SeriesFile | None = None,
    ) -> None:  # fmt: skip
        """Take what the session has made; nothing is measured yet.

        `events` gets the events of each trial, `series` its time series.

        `unavailable` is read when a record is made: hosts that are set up later may have modules loaded.
        """
        self._scenario = scenario
        self._lab = lab
        self._core = core
        self._rules = rules
        self._progress = progress
        self._unavailable = unavailable
        self._events = events
        self._series = series
        self._run_id = uuid.uuid4().hex
        self._started_at = now()
        self._trials: list[Trial] = []
        self._environment: Mapping[str, str] = {}
        self._emulated: Mapping[str, Mapping[str, Any]] = {}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials so far, without the packets of detail mode, and without events."""
        return tuple(self._trials)

    def go_on(self, record: RunRecord, trials: Sequence[Trial]) -> None:
        """Go on with a run that was summed up before: further trials are added to its own."""
        self._run_id = record.run_id
        self._started_at = record.started_at
        self._trials = [*trials, *self._trials]

    def prove(self) -> None:
        """Prove the links, and keep for the record what emulates each and what was measured of it."""
        self._progress.stage(self._scenario, "proving the links", 0, self._scenario.repeat)
        proofs = {proof.link: asdict(proof) for proof in self._prove()}
        self._emulated = {
            label: {"emulator": name} | ({"proof": proofs[index]} if index in proofs else {})
            for index, (label, name) in enumerate(self._lab.emulators.items())
        }

    def _prove(self) -> Sequence[LinkProof | RealLinkProof]:
        """Prove all links, again where others got into the way; a proof lasts less than their bursts do."""
        for attempt in range(1, MOST_PROOFS + 1):
            before = CpuLook.now()
            try:
                return self._lab.prove()
            except InvalidLink:
                if attempt == MOST_PROOFS or before.calm_until(CpuLook.now()):
                    raise
            self._say_waiting(0, self._scenario.repeat)
            await_calm()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def trial(self) -> bool:
        """Make one trial; gives whether it counts. The environment is that of the first one's beginning."""
        self._environment = self._environment or {**self._lab.fingerprint(), **self._lab.interfaces()}
        made = make_trial(self._scenario, self._lab, self._core, len(self._trials), self._keep_curves)
        write = None if self._events is None else partial(
            self._events.write, run_id=self._run_id, scenario=self._scenario.label, trial=made.record.index,
            epoch_ns=epoch_ns(),
        )  # fmt: skip
        self._trials.append(explained(made, self._scenario, self._rules, write))
        return made.record.valid

    @property
    def _keep_curves(self) -> KeepCurves | None:
        if self._series is None:
            return None
        return partial(self._series.write, run_id=self._run_id, trial=len(self._trials))

    def measure(self, runs: int, why: str = "") -> None:
        """Make trials until `runs` more count, or patience is at its end."""
        patience = Patience(runs)
        valid = 0
        while valid < runs and not patience.exhausted:
            self._progress.stage(self._scenario, f"{why}: run {valid + 1}" if why else f"run {valid + 1}", valid, runs)
            counts = self.trial()
            valid += counts
            patience.note(counts=counts)
            if not counts and not patience.exhausted:
                self._say_waiting(valid, runs)
                patience.wait_for_calm()

    def _say_waiting(self, done: int, total: int) -> None:
        self._progress.stage(self._scenario, "waiting for the machine to calm down", done, total)

    def summary(self) -> RunRecord:
        """Return the record of all trials so far, its `expect` lines judged unless it is INVALID."""
        kinds = sorted({str(link["emulator"]) for link in self._emulated.values()})
        environment = {**(self._environment or self._lab.fingerprint()), "emulators": kinds}
        record = summarise(
            scenario=self._scenario, trials=self._trials, rules=self._rules, run_id=self._run_id,
            started_at=self._started_at, environment=environment, emulators=self._emulated,
            unavailable=dict(self._unavailable),
        )  # fmt: skip
        if self._series is not None:
            where = SeriesRecord(file=str(self._series.path), interval_ms=self._scenario.measure.interval_ns / 1e6)
            record = record.model_copy(update={"series": where})
        if self._events is not None:
            record = record.model_copy(update={"events": EventsRecord(file=str(self._events.path))})
        if record.verdict is Verdict.INVALID:
            return record
        return judged(record, expectations=tuple(expectation_records(self._scenario, record)))


def _left_open(record: RunRecord, lines: Iterable[Line]) -> tuple[Line, ...]:
    """Leave open what rests on records that were lost, or on a collector that was stopped."""
    return budget.shed_left_open(record, detailing.lost_left_open(record, lines))


def judged(
    record: RunRecord,
    *,
    expectations: tuple[ExpectationRecord, ...] | None = None,
    comparisons: tuple[ComparisonRecord, ...] = (),
    changed_conditions: Mapping[str, tuple[str, str]] | None = None,
) -> RunRecord:
    """Return the record with these judgements, and the verdict that follows from all of them."""
    lines = record.expectations
    if expectations is not None:
        lines = _left_open(record, expectations)
    comparisons = _left_open(record, comparisons)
    verdict = verdict_of(record, [*lines, *comparisons])
    # An inconclusive comparison is ordinary noise, an expectation left open is a measurement that failed.
    if verdict is Verdict.PASS and any(line.verdict is Verdict.INCONCLUSIVE for line in lines):
        verdict = Verdict.INCONCLUSIVE
    return record.model_copy(
        update={
            "expectations": lines, "comparisons": comparisons, "verdict": verdict,
            "changed_conditions": dict(changed_conditions or {}),
        }
    )  # fmt: skip
