"""Tests a cause: unchanged runs and runs in which only the suspected limit is relieved, interleaved."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final, Protocol

from perfcheck.compare import Effect, Finding, effect_of, order_of_pairs, overall_finding
from perfcheck.confirm import (
    CannotRelieve,
    HostRelief,
    Intervention,
    LineOf,
    Move,
    Relief,
    Sign,
    relieved,
    shipped_interventions,
)
from perfcheck.errors import CouldNotMeasure, UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.confirmation import Answer, ChangeRecord, ConfirmationRecord, EffectRecord
from perfcheck.model.record import TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress, Testbed
from perfcheck.model.traffic import entry_names
from perfcheck.model.units import format_value
from perfcheck.runner.patience import MAX_ATTEMPTS, Patience
from perfcheck.scenario import hint

LOOKS: Final = (3, 5, 7)
"""Pairs of runs after which the question may be settled; after the last it stays open."""

RUNS_FOR_A_SIGN: Final = 2
"""A sign of the cause that no unchanged run of so many shows is not there."""

PrepareLab = Callable[[Testbed], None]
"""Does something in a lab whose hosts are set up."""

_ANSWERS: Final = {Finding.MOVED: Answer.CONFIRMED, Finding.STAYED: Answer.REFUTED, Finding.OPEN: Answer.UNTESTED}


class Run(Protocol):
    """Makes one trial in a lab of its own."""

    def __call__(
        self, one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True
    ) -> TrialRecord | None:  # fmt: skip
        """Return the trial; None where only the lab was built (`traffic` is false)."""


class CauseTest:
    """The test of one cause of one scenario."""

    def __init__(self, scenario: Scenario, cause: str, entry: str | None, run: Run, progress: Progress) -> None:
        """Take what is tested and how a run is made; UsageError for a cause that names no limit."""
        known = shipped_interventions()
        if cause not in known:
            raise UsageError(f"{cause!r} is not a cause that can be tested{hint(cause, known)}")
        self._scenario = scenario
        self._intervention: Intervention = known[cause]
        self._entry = entry
        self._run = run
        self._progress = progress
        self._relief = Relief(scenario=scenario, changes=(), in_hosts=())
        self._in_hosts = HostRelief(())
        self._trials: dict[str, list[TrialRecord]] = {"A": [], "B": []}
        self._line_of: LineOf = lambda _: 1

    def outcome(self, line_of: LineOf) -> ConfirmationRecord:
        """Measure, and return what the runs say; what stands in the way is the reason of a cause left untested."""
        try:
            self._line_of = line_of
            self._relieve()
            self._in_hosts = HostRelief(self._relief.in_hosts, self._relief.most_queue_bytes)
            if not self._anything_to_relieve():
                return self._without_runs()
            return self._measured()
        except CannotRelieve as why:
            return self._record(Answer.UNTESTED, reason=str(why))
        except CouldNotMeasure as why:
            return self._record(Answer.UNTESTED, reason=f"a run failed: {why}")

    def so_far(self, why: str) -> ConfirmationRecord:
        """Return what was found until the test was ended for this reason: medians, and no answer."""
        made = f"{why} after {self._pairs} {'run' if self._pairs == 1 else 'runs'} of each side"
        seen = [text for move in self._intervention.moves if (text := self._medians(move.metric)) is not None]
        return self._record(Answer.UNTESTED, reason=": ".join([made, ", ".join(seen)] if seen else [made]))

    def _medians(self, metric: str) -> str | None:
        values = [self._values(side, metric) for side in ("A", "B")]
        if not all(values):
            return None
        before, after = (format_value(median(each), CATALOGUE[metric].unit) for each in values)
        return f"{metric} {before} -> {after}"

    def _relieve(self, unchanged: TrialRecord | None = None) -> None:
        """Relieve the limit in the scenario, by what an unchanged run shows of it where there is one."""
        self._relief = relieved(
            self._scenario, self._intervention, entry=self._entry, line_of=self._line_of,
            downloads=frozenset() if unchanged is None else downloads(self._scenario, unchanged),
        )  # fmt: skip

    @property
    def _learns(self) -> bool:
        """Whether the relief depends on a run: a transfer takes a program's place, and goes the way its data went."""
        return any(step.program is not None for step in self._intervention.steps) and any(
            spec.command is not None and spec.command.server is not None for spec in self._scenario.traffic
        )

    @property
    def _nice(self) -> int | None:
        return next((step.priority for step in self._relief.in_hosts if step.priority is not None), None)

    def _prepare(self, lab: Testbed) -> None:
        """Relieve what the hosts' own commands made, and favour the traffic's processes where that is the relief."""
        self._in_hosts.act(lab.hosts)
        if any(step.listeners is not None for step in self._relief.in_hosts):
            lab.lengthen_backlogs()
        if self._nice is not None:
            lab.favour(self._nice)

    def _anything_to_relieve(self) -> bool:
        if self._relief.changes or self._nice is not None:
            return True
        if self._relief.in_hosts:
            self._progress.stage(self._scenario, "looking for what could be relieved", 0, 2 * LOOKS[0])
            self._run(self._relief.scenario, self._prepare, traffic=False)
        return bool(self._in_hosts.changes)

    def _without_runs(self) -> ConfirmationRecord:
        """Answer where there is nothing of the kind; what cannot be read, or a metric that shows it, may hide it."""
        reason = self._intervention.reason
        if not self._in_hosts.opaque and self._intervention.nothing == "refuted":
            return self._record(Answer.REFUTED, reason=reason)
        signs = self._intervention.signs or self._intervention.elsewhere
        if signs:
            self._progress.stage(self._scenario, "run 1, unchanged", 0, 1)
            trial = self._run(self._scenario, None)
            if trial is not None and trial.valid:
                self._trials["A"].append(trial)
            missing = self._no_sign(signs)
            if missing is not None:
                return self._record(Answer.REFUTED, reason=f"{reason}; {missing}")
        hidden = "; ".join(dict.fromkeys(self._in_hosts.opaque))
        return self._record(Answer.UNTESTED, reason=f"{reason}, but {hidden}" if hidden else reason)

    def _another_cause(self) -> str | None:
        """Say what shows that whatever moved has another cause; None: nothing does."""
        for sign in self._intervention.unless:
            values = self._values("A", sign.metric)
            if values and median(values) > sign.above:
                value = format_value(median(values), CATALOGUE[sign.metric].unit)
                return f"another cause is there: {sign.metric} is {value}"
        return self._no_sign(self._intervention.signs)

    def _no_sign(self, signs: Sequence[Sign]) -> str | None:
        """Say that no unchanged run shows a sign of the cause; None: one does, or none of the signs was measured."""
        found = {sign.metric: max(values) for sign in signs if (values := self._values("A", sign.metric))}
        if not found or any(found.get(sign.metric, 0.0) > sign.above for sign in signs):
            return None
        told = (f"{metric} is {format_value(value, CATALOGUE[metric].unit)}" for metric, value in found.items())
        return f"there is no sign of it: {', '.join(told)}"

    def _looked(self) -> str | None:
        """Make unchanged runs until one shows the cause, two at most; return what says that it is not there.

        The runs are kept for the pairs: a relieved run of each follows.
        """
        for number in range(RUNS_FOR_A_SIGN):
            self._progress.stage(self._scenario, f"run {number + 1}, unchanged", number, 2 * LOOKS[0])
            trial = self._run(self._scenario, None)
            if trial is None or not trial.valid:
                return None
            if self._learns and not number:
                self._relieve(trial)
            self._trials["A"].append(trial)
            if (missing := self._another_cause()) is None:
                return None
        return missing

    def _measured(self) -> ConfirmationRecord:
        if self._learns or self._intervention.signs or self._intervention.unless:
            missing = self._looked()
            if missing is not None:
                return self._record(Answer.REFUTED, reason=missing)
        order = iter(order_of_pairs(MAX_ATTEMPTS * LOOKS[-1], secrets.randbits(32)))
        patience = Patience(LOOKS[-1])
        finding, effects = Finding.OPEN, list[tuple[Move, Effect]]()
        for look in LOOKS:
            while self._pairs < look and not patience.exhausted:
                counts = self._pair(next(order), look)
                patience.note(counts=counts)
                if not counts and not patience.exhausted:
                    patience.wait_for_calm()
                if self._pairs >= RUNS_FOR_A_SIGN and self._another_cause() is not None:
                    return self._concluded(finding, list(self._effects()))
            if self._pairs < look:
                break
            effects = list(self._effects())
            finding = overall_finding([effect for _, effect in effects])
            if not effects or finding is not Finding.OPEN:
                break
        return self._concluded(finding, effects)

    @property
    def _pairs(self) -> int:
        return min(map(len, self._trials.values()))

    def _pair(self, sides: Sequence[str], wanted: int) -> bool:
        """Make one run of each side; both count, or neither does."""
        made: dict[str, TrialRecord] = {}
        begun = len(self._trials["A"]) > len(self._trials["B"])
        if begun:
            sides = ("B",)
        elif self._learns and not self._trials["A"]:
            sides = ("A", "B")
        for number, side in enumerate(sides):
            words = "unchanged" if side == "A" else f"{self._intervention.cause} relieved"
            done = sum(map(len, self._trials.values())) + number
            self._progress.stage(self._scenario, f"run {done + 1}, {words}", done, 2 * wanted)
            changed = side == "B"
            trial = self._run(
                self._relief.scenario if changed else self._scenario, self._prepare if changed else None
            )  # fmt: skip
            if trial is None or not trial.valid:
                if begun:
                    self._trials["A"].pop()
                return False
            made[side] = trial
            if side == "A" and self._learns and not self._trials["A"]:
                self._relieve(trial)
        for side, trial in made.items():
            self._trials[side].append(trial)
        return True

    def _values(self, side: str, metric: str) -> list[float]:
        """Return one metric of each run of a side: the entry's own where it has one."""
        found = []
        for trial in self._trials[side]:
            own = trial.subjects.get(self._entry, {}) if self._entry is not None else {}
            value = own.get(metric, trial.metrics.get(metric))
            if value is not None:
                found.append(value)
        return found

    def _effects(self) -> Iterator[tuple[Move, Effect]]:
        for move in self._intervention.moves:
            effect = effect_of(self._values("A", move.metric), self._values("B", move.metric), move.wanted_pct)
            if effect is None or (move.above is not None and effect.unchanged <= move.above):
                continue
            yield move, effect
            if self._intervention.decides == "first":
                return

    def _concluded(self, finding: Finding, effects: Sequence[tuple[Move, Effect]]) -> ConfirmationRecord:
        records = tuple(_recorded(move, effect) for move, effect in effects)
        if not self._pairs:
            return self._record(Answer.UNTESTED, reason="no pair of runs counts: the machine was too busy")
        if (other := self._another_cause()) is not None:
            return self._record(Answer.REFUTED, effects=records, reason=other)
        if not effects:
            wanted = ", ".join(move.metric for move in self._intervention.moves)
            return self._record(Answer.UNTESTED, reason=f"none of the metrics that would show it can tell: {wanted}")
        if finding is Finding.OPEN:
            reason = f"{self._pairs} runs of each side vary too much to decide"
            return self._record(Answer.UNTESTED, effects=records, reason=reason)
        if finding is Finding.STAYED and (missed := self._did_not_take() or self._hidden()) is not None:
            return self._record(Answer.UNTESTED, effects=records, reason=missed)
        return self._record(_ANSWERS[finding], effects=records)

    def _did_not_take(self) -> str | None:
        """Say that the relief took no effect, where a metric shows that; None: it did, or nobody knows."""
        took = self._intervention.took
        if took is None:
            return None
        effect = effect_of(self._values("A", took.metric), self._values("B", took.metric), took.wanted_pct)
        if effect is None or effect.change_pct is None or effect.unchanged <= (took.above or 0.0):
            return None
        if effect.change_pct / took.wanted_pct >= 1:
            return None
        value = format_value(effect.relieved, CATALOGUE[took.metric].unit)
        return f"the relief took no effect: {took.metric} stayed at {value}"

    def _hidden(self) -> str | None:
        """Say what may make the limit and was not relieved; None: nothing that is known of."""
        if not self._in_hosts.opaque:
            return None
        return f"nothing moved, but {'; '.join(dict.fromkeys(self._in_hosts.opaque))}"

    def _record(
        self, answer: Answer, *, effects: tuple[EffectRecord, ...] = (), reason: str = ""
    ) -> ConfirmationRecord:  # fmt: skip
        cannot = self._intervention.cannot is not None
        return ConfirmationRecord(
            cause=self._intervention.cause,
            entry=self._entry,
            outcome=answer,
            relief="" if cannot else self._intervention.relief,
            changes=(*self._relief.changes, *self._in_hosts.changes, *self._priority()),
            effects=effects,
            runs=self._pairs,
            reason=reason,
        )

    def _priority(self) -> Iterator[ChangeRecord]:
        if self._nice is not None and self._pairs:
            yield ChangeRecord(where="the traffic's processes: nice", before="0", after=str(self._nice))


def downloads(scenario: Scenario, trial: TrialRecord) -> frozenset[str]:
    """Return the entries with a program whose server sent more bytes than it received in a run."""
    return frozenset(
        name
        for name, spec in zip(entry_names(scenario.traffic), scenario.traffic, strict=True)
        if spec.command is not None and spec.command.server is not None and _sends(trial, spec.command.server.host)
    )


def _sends(trial: TrialRecord, host: str) -> bool:
    seen = trial.subjects.get(host, {})
    sent, received = (
        seen.get(f"nic.{way}_packets", 0.0) * seen.get(f"nic.{way}_packet_bytes.mean", 0.0) for way in ("tx", "rx")
    )
    return sent > received


def _recorded(move: Move, effect: Effect) -> EffectRecord:
    return EffectRecord(
        metric=move.metric, unit=CATALOGUE[move.metric].unit, unchanged=effect.unchanged, relieved=effect.relieved,
        change_pct=effect.change_pct, interval_pct=effect.interval_pct, wanted_pct=move.wanted_pct,
        outcome=_ANSWERS[effect.finding],
    )  # fmt: skip
