"""Kernels, verdicts and watchers for tests of bisects, without a guest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perfcheck.kernels.store import Kernel
from perfcheck.model.bisection import BisectStep
from perfcheck.model.record import ComparisonRecord, RunRecord, TrialRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bisecting.bisection import Pair
from perfcheck.runner.bisecting.search import ListOrder
from perfcheck.runner.cost import GuestKernel
from perfcheck.runner.guests import GuestSide
from perfcheck.runner.sides import Side
from perfcheck.testing import make_record

METRIC: Final = "cpu.insns_per_request"
CHANGES: Final = {
    Verdict.REGRESSED: 2.5, Verdict.PASS: 0.01, Verdict.IMPROVED: -3.0, Verdict.INCONCLUSIVE: 0.2,
}  # fmt: skip

Answer = Verdict | BaseException


def guest_side(name: str, words: str = "") -> GuestSide:
    """Return a kernel as a side, without any file of it."""
    side = Side.parse(f"kernel={name} {words}".strip())
    kernel = Kernel(name=name, release="6.12.0", folder=Path("/nonexistent") / name)
    return GuestSide(side=side, guest=GuestKernel(kernel=kernel, command_line=side.command_line))


def pair_of(verdict: Verdict, change_pct: float | None = None) -> Pair:
    """Return the records of A and B after nine pairs with this verdict."""
    record = make_record(
        {METRIC: (1000.0,)}, trials=tuple(TrialRecord(index=i, metrics={METRIC: 1.0}) for i in range(9))
    )
    if verdict is Verdict.INVALID:
        return record, record.model_copy(update={"verdict": verdict, "invalid_reason": "only 3 pairs count"})
    size = CHANGES[verdict] if change_pct is None else change_pct
    compared = ComparisonRecord(
        metric=METRIC, baseline=1000.0, current=1000.0 + 10 * size, change_pct=size, detectable_pct=0.3,
        verdict=verdict,
        interval_pct=(size - 0.1, size + 0.1), margin_pct=0.2,
        reason="20 pairs were not enough to decide" if verdict is Verdict.INCONCLUSIVE else None,
    )  # fmt: skip
    return record, record.model_copy(update={"comparisons": (compared,), "verdict": verdict})


@dataclass
class ScriptedCompare:
    """Answers for each kernel by its name, with sizes where they matter, and notes what was compared."""

    answers: Mapping[str, Answer] | Callable[[str], Answer]
    compared: list[tuple[str, str]] = field(default_factory=list)
    sizes: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, good: GuestSide, other: GuestSide) -> Pair:
        name = other.guest.kernel.name
        self.compared.append((good.guest.kernel.name, name))
        answer = self.answers(name) if callable(self.answers) else self.answers[name]
        if isinstance(answer, BaseException):
            raise answer
        return pair_of(answer, self.sizes.get(name))


@dataclass
class NamedKernels:
    """Kernels in a list; `broken` maps those that cannot be made to why. Notes what is made and removed."""

    names: tuple[str, ...]
    broken: Mapping[str, Exception] = field(default_factory=dict)
    noted: list[str] = field(default_factory=list)

    @property
    def good(self) -> str:
        return self.names[0]

    @property
    def bad(self) -> str:
        return self.names[-1]

    def order(self) -> ListOrder:
        return ListOrder(self.names)

    def described(self, candidate: str) -> str:
        return f"kernel {candidate}"

    @contextmanager
    def built(self, candidate: str) -> Iterator[GuestSide]:
        if candidate in self.broken:
            raise self.broken[candidate]
        self.noted.append(f"make {candidate}")
        try:
            yield guest_side(candidate)
        finally:
            self.noted.append(f"remove {candidate}")


@dataclass
class KeptSteps:
    """Steps in memory; `lasting` are those that a file would have."""

    steps: list[BisectStep] = field(default_factory=list)

    def add(self, step: BisectStep) -> None:
        self.steps.append(step)

    @property
    def lasting(self) -> list[BisectStep]:
        return [step for step in self.steps if step.lasting]


@dataclass
class ListWatcher:
    """Notes what it is told."""

    told: list[str] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)

    def begins(self, candidate: str, number: int, left: int) -> None:
        self.told.append(f"{number} {candidate} {left}")

    def measured(self, pair: Pair) -> None:
        self.records += pair

    def failed(self, candidate: str, why: str) -> None:
        self.told.append(f"failed {candidate}: {why}")

    def ended(self, step: BisectStep) -> None:
        self.told.append(f"{step.candidate} {step.finding}")
