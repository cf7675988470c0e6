"""Bisects: compares one kernel after the other with the good one, until the first bad one is certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from perfcheck.errors import BuildFailed, CouldNotMeasure, GuestDied, LabError, TrafficError
from perfcheck.model.bisection import BisectOutcome, BisectStep, Finding
from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bisecting.search import Order, Search
from perfcheck.runner.guests import GuestSide
from perfcheck.runner.unmeasured import now

SKIPPING: Final = (GuestDied, BuildFailed, LabError, TrafficError)
"""What keeps one kernel from being judged; other errors are the machine's, and end the bisect."""

Pair = tuple[RunRecord, RunRecord]
Compare = Callable[[GuestSide, GuestSide], Pair]
"""Measures the good kernel (A) and another (B)."""


class Kernels(Protocol):
    """The kernels that are searched."""

    @property
    def good(self) -> str:
        """The kernel that all others are compared with."""

    @property
    def bad(self) -> str:
        """The kernel that is known to be bad."""

    def order(self) -> Order:
        """Return what comes before what."""

    def described(self, candidate: str) -> str:
        """Return how a kernel is called."""

    def built(self, candidate: str) -> AbstractContextManager[GuestSide]:
        """Make a kernel, and remove it afterwards; BuildFailed where it cannot be made."""


class Steps(Protocol):
    """Where steps are kept."""

    @property
    def steps(self) -> Sequence[BisectStep]:
        """All steps so far."""

    def add(self, step: BisectStep) -> None:
        """Keep a step."""


class Watcher(Protocol):
    """Who is told of a bisect while it goes on."""

    def begins(self, candidate: str, number: int, left: int) -> None:
        """Say which kernel is judged now, its number, and how many are left with it if none is skipped."""

    def measured(self, pair: Pair) -> None:
        """Take the records of a step that was measured."""

    def failed(self, candidate: str, why: str) -> None:
        """Take why a kernel could not be measured."""

    def ended(self, step: BisectStep) -> None:
        """Take a step that is kept."""


@dataclass(slots=True, kw_only=True)
class Bisection:
    """A bisect of one metric; steps that are kept already are not made again."""

    kernels: Kernels
    metric: str
    compare: Compare
    kept: Steps
    watcher: Watcher
    verify: bool = True
    _stack: ExitStack = field(default_factory=ExitStack)
    _good: GuestSide | None = None

    def run(self) -> BisectOutcome:
        """Judge kernels until no verdict could tell more."""
        known = {step.candidate: step for step in self.kept.steps}
        with self._stack:
            if (reason := self._unfounded(known)) is not None:
                return self._outcome((), reason)
            search = Search(self.kernels.order(), self.kernels.good, self.kernels.bad)
            while (candidate := search.next()) is not None:
                step = known.get(candidate) or self._judged(candidate, search.most_left())
                search.note(candidate, step.finding)
        suspects = search.suspects()
        return self._outcome(suspects, None if len(suspects) == 1 else "the others could not be judged")

    def _unfounded(self, known: Mapping[str, BisectStep]) -> str | None:
        """Return why there is nothing to search: the bad kernel is not, or cannot be seen to be, worse."""
        bad = self.kernels.bad
        if not self.verify:
            return None
        step = known.get(bad) or self._judged(bad, 1)
        match step.finding:
            case Finding.BAD:
                return None
            case Finding.GOOD:
                return f"{self.metric} of {self._named(bad)} is no worse than that of {self._named(self.kernels.good)}"
        return f"{self._named(bad)} could not be judged: {step.reason}"

    def _judged(self, candidate: str, left: int) -> BisectStep:
        number = len(self.kept.steps) + 1
        self.watcher.begins(candidate, number, left)
        good = self._good_guest()
        try:
            with self.kernels.built(candidate) as guest:
                pair = self._compared(good, guest)
        except SKIPPING as error:
            self.watcher.failed(candidate, str(error))
            step = skipped(candidate, error)
        else:
            self.watcher.measured(pair)
            step = step_of(candidate, pair[1], self.metric)
        self.kept.add(step)
        self.watcher.ended(step)
        return step

    def _compared(self, good: GuestSide, guest: GuestSide) -> Pair:
        try:
            return self.compare(good, guest)
        except GuestDied as death:
            if death.kernel == good.guest.kernel.name != guest.guest.kernel.name:
                raise CouldNotMeasure(f"the good kernel cannot be compared with: {death}") from death
            raise

    def _good_guest(self) -> GuestSide:
        """Return the good kernel, made at its first use; without it nothing can be judged."""
        if self._good is None:
            try:
                self._good = self._stack.enter_context(self.kernels.built(self.kernels.good))
            except BuildFailed as error:
                raise CouldNotMeasure(f"the good kernel {self._named(self.kernels.good)}: {error}") from error
        return self._good

    def _named(self, candidate: str) -> str:
        return self.kernels.described(candidate)

    def _outcome(self, suspects: tuple[str, ...], reason: str | None) -> BisectOutcome:
        return BisectOutcome(
            metric=self.metric, good=self.kernels.good, bad=self.kernels.bad, steps=tuple(self.kept.steps),
            suspects=suspects, reason=reason,
        )  # fmt: skip


def step_of(candidate: str, record: RunRecord, metric: str) -> BisectStep:
    """Return the step that B's record of a comparison with the good kernel makes."""
    compared = next((each for each in record.comparisons if each.metric == metric), None)
    pairs = sum(trial.valid for trial in record.trials)
    if compared is None:
        reason = record.invalid_reason or f"{metric} was not measured"
        return BisectStep(
            candidate=candidate, finding=Finding.SKIPPED, verdict=Verdict.INVALID, pairs=pairs,
            reason=printable(reason), run_id=record.run_id, ended_at=now(), lasting=False,
        )  # fmt: skip
    finding = _FINDINGS.get(compared.verdict, Finding.SKIPPED)
    return BisectStep(
        candidate=candidate, finding=finding, verdict=compared.verdict, change_pct=compared.change_pct,
        interval_pct=compared.interval_pct, margin_pct=compared.margin_pct, pairs=pairs,
        reason=compared.reason if finding is Finding.SKIPPED else None, run_id=record.run_id, ended_at=now(),
    )  # fmt: skip


_FINDINGS: Final[Mapping[Verdict, Finding]] = {
    Verdict.REGRESSED: Finding.BAD, Verdict.PASS: Finding.GOOD, Verdict.IMPROVED: Finding.GOOD,
}  # fmt: skip


def skipped(candidate: str, error: CouldNotMeasure) -> BisectStep:
    """Return the step of a kernel that could not be judged: for good where that is certainly its own fault."""
    own = isinstance(error, BuildFailed) or (isinstance(error, GuestDied) and error.panicked)
    return BisectStep(
        candidate=candidate, finding=Finding.SKIPPED, verdict=Verdict.INVALID, reason=printable(str(error)),
        ended_at=now(), lasting=own,
    )  # fmt: skip
