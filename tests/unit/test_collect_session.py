"""The collectors as one, without a kernel: what is stopped gives no figures and stays stopped."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from perfcheck.collect import session as module
from perfcheck.collect.session import Core
from perfcheck.collect.shedding import Step
from perfcheck.errors import CollectError
from perfcheck.model.budget import Budget
from perfcheck.model.observation import Observation, Overhead, ProgramCost, Scope
from perfcheck.model.seams import Frugal
from perfcheck.system.clock import wait_until
from perfcheck.testing.fakes import FakeCollector

SCOPE = Scope(namespaces={}, netns_paths={}, warmup_ns=0)
SEEN = Observation(
    collector="nic", metrics={"nic.tx_packets": 5.0}, lost_events=3,
    overhead=Overhead(programs=(ProgramCost(program="nic/napi_poll", calls=1, run_ns=50),)),
)  # fmt: skip


@dataclass(kw_only=True)
class Dear(FakeCollector):
    """A collector whose programs take as much of a CPU as there is, until it did less."""

    name: str = "nic"
    can_do_less: int = 1
    ran_ns: int = 0
    asked: list[float] = field(default_factory=list)

    def program_ns(self) -> int:
        self.ran_ns += 10**9
        return self.ran_ns

    def do_less(self, share: float) -> str | None:
        self.asked.append(share)
        return "nic did less" if len(self.asked) <= self.can_do_less else None


def shedding(core: Core, count: int) -> None:
    core.begin(SCOPE)
    thread = core._thread
    assert thread is not None
    assert wait_until(lambda: len(thread.spending.shed) >= count or thread.problem is not None, timeout_s=10)


def test_a_collector_first_does_less_then_is_stopped_and_its_figures_are_gone() -> None:
    dear, tcp = Dear(script=(SEEN,)), FakeCollector()
    assert isinstance(dear, Frugal)
    core = Core([dear, tcp], Budget(cpu_pct=1.0), window_s=0.01)
    shedding(core, 2)
    seen = core.end()
    assert [(one.collector, one.stopped) for one in core.spending.shed] == [("nic", False), ("nic", True)]
    assert all(0 < share < 1 for share in dear.asked)
    assert [one.collector for one in seen] == ["nic", "tcp"]
    assert (seen[0].metrics, seen[0].lost_events, seen[0].overhead) == ({}, 3, SEEN.overhead)
    assert dear.calls[-2:] == ["end", "close"]
    core.begin(SCOPE)
    assert [one.collector for one in core.end()] == ["tcp"]
    assert [one.stopped for one in core.spending.earlier] == [False, True]
    assert core.shed_collectors == {"nic"}
    assert core.spending.shed == ()


def test_with_nothing_left_to_shed_it_says_what_it_still_took() -> None:
    dear = Dear(name="theirs", can_do_less=0)
    core = Core([dear], Budget(cpu_pct=1.0), window_s=0.01)
    core.begin(SCOPE)
    thread = core._thread
    assert thread is not None
    assert wait_until(lambda: thread.spending.still_pct is not None, timeout_s=10)
    assert [one.collector for one in core.end()] == ["theirs"]
    assert core.spending.still_pct is not None
    assert core.spending.still_pct > 1
    assert core.spending.shed == ()


def test_a_cost_that_cannot_be_read_fails_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> dict[str, float]:
        raise OSError("no clock")

    monkeypatch.setattr(module._Meter, "used_s", refuse)
    core = Core([FakeCollector()], Budget(cpu_pct=1.0), window_s=0.01)
    core.begin(SCOPE)
    with pytest.raises(CollectError, match="no clock"):
        core.end()


def test_a_trial_that_failed_ends_every_collector() -> None:
    broken, other = FakeCollector(name="broken", script=(CollectError("gone"),)), FakeCollector()
    core = Core([broken, other], Budget(cpu_pct=1.0))
    core.begin(SCOPE)
    core.abandon()
    assert broken.calls[-1] == other.calls[-1] == "end"


def test_a_step_for_what_is_not_there_does_nothing() -> None:
    core = Core([FakeCollector()], Budget(cpu_pct=1.0))
    assert core.take(Step(collector="nic", stop=True), 0.5) is None
    assert core.take(Step(collector="tcp", stop=False), 0.5) is None
