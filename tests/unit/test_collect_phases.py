"""Snapshots at the begin of each phase: taken in time, paired, and turned into what each phase saw."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

import pytest

from perfcheck.collect.phases import PhaseSnapshots
from perfcheck.collect.session import Core
from perfcheck.errors import CollectError
from perfcheck.model.budget import Budget
from perfcheck.model.observation import Observation, Scope
from perfcheck.system.clock import now_ns
from perfcheck.testing import FakeCollector

MS = 10**6


def test_each_phase_ends_where_the_next_begins_and_the_last_one_at_the_end() -> None:
    numbers = itertools.count()
    taken = PhaseSnapshots({"a": now_ns(), "b": now_ns() + 20 * MS, "c": now_ns() + 3600 * 1000 * MS}, numbers.__next__)
    taken.start()
    time.sleep(0.06)
    assert taken.finish() == {"a": (0, 1), "b": (1, 2)}


def test_they_are_taken_in_time() -> None:
    begin_ns = now_ns() + 30 * MS
    taken = PhaseSnapshots({"a": begin_ns}, now_ns)
    taken.start()
    time.sleep(0.08)
    first_ns, _ = taken.finish()["a"]
    assert begin_ns <= first_ns < begin_ns + 40 * MS


def test_before_the_first_phase_there_is_nothing() -> None:
    taken = PhaseSnapshots({"a": now_ns() + 3600 * 1000 * MS}, now_ns)
    taken.start()
    assert taken.finish() == {}


def test_what_goes_wrong_in_the_thread_is_told_by_who_waits() -> None:
    def refuse() -> int:
        raise OSError("no such map")

    taken = PhaseSnapshots({"a": now_ns()}, refuse)
    taken.start()
    with pytest.raises(CollectError, match="a phase cannot be measured: no such map"):
        taken.finish()


@dataclass(kw_only=True)
class Counting(FakeCollector):
    """A collector that can be read meanwhile: each reading is one more."""

    readings: int = 0
    asked: list[tuple[object, object]] = field(default_factory=list)

    def snapshot(self) -> int:
        """Count."""
        self.readings += 1
        return self.readings

    def between(self, first: object, second: object) -> Observation:
        """Return the difference as a metric."""
        self.asked.append((first, second))
        return Observation(collector=self.name, metrics={"ip.route_lookups": float(str(second)) - float(str(first))})


def scope(**begins_ns: int) -> Scope:
    return Scope(namespaces={}, netns_paths={}, warmup_ns=0, phases_ns=begins_ns)


def test_the_core_tells_what_each_phase_saw() -> None:
    sampled, other = Counting(name="routes"), FakeCollector(name="sockdiag")
    core = Core([sampled, other], Budget(cpu_pct=100))
    core.begin(scope(before=now_ns(), after=now_ns() + 10 * MS))
    time.sleep(0.05)
    core.end()
    assert {name: [seen.metrics for seen in each] for name, each in core.by_phase.items()} == {
        "before": [{"ip.route_lookups": 1.0}], "after": [{"ip.route_lookups": 1.0}]
    }  # fmt: skip
    assert sampled.asked == [(1, 2), (2, 3)]


def test_without_phases_no_collector_is_read_meanwhile() -> None:
    sampled = Counting(name="routes")
    core = Core([sampled], Budget(cpu_pct=100))
    core.begin(scope())
    core.end()
    assert (sampled.readings, core.by_phase) == (0, {})


def test_the_phases_of_an_earlier_trial_are_forgotten() -> None:
    core = Core([Counting(name="routes")], Budget(cpu_pct=100))
    core.begin(scope(before=now_ns()))
    time.sleep(0.02)
    core.end()
    assert core.by_phase
    core.begin(scope())
    core.end()
    assert not core.by_phase


def test_a_trial_that_failed_takes_no_more() -> None:
    sampled = Counting(name="routes")
    core = Core([sampled], Budget(cpu_pct=100))
    core.begin(scope(late=now_ns() + 30 * MS))
    core.abandon()
    time.sleep(0.06)
    assert sampled.readings == 0
