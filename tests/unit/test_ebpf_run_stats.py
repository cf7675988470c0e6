"""Programs that run often are timed a part of the time, and what is said of all of it follows from that part."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.ebpf.libbpf import Libbpf, RunCounters
from perfcheck.ebpf.run_stats import FEW_S, LOOK_S, OFF_S, ON_S, WHOLE_LOOK, RunClock

OFTEN = 50_000
NS_A_CALL = 100


class Kernel(Libbpf):
    """Programs that are called at a steady rate, counted only while the statistics are on."""

    def __init__(self, rates: dict[int, float], refuses: bool = False) -> None:
        self.rates = rates
        self.refuses = refuses
        self.now_s = 0.0
        self.calls = dict.fromkeys(rates, 0.0)
        self.stats_fd = -1

    def on(self) -> bool:
        """Whether calls are counted."""
        with suppress(OSError):
            os.fstat(self.stats_fd)
            return True
        return False

    def enable_stats(self) -> int:
        if self.refuses:
            raise PermissionError(1, "not allowed")
        self.stats_fd = os.open(os.devnull, os.O_RDONLY)
        return self.stats_fd

    def run_counters(self, prog_fd: int) -> RunCounters:
        calls = round(self.calls[prog_fd])
        return RunCounters(calls * NS_A_CALL, calls, 7)

    def clock(self) -> float:
        return self.now_s

    def passes(self, seconds: float) -> None:
        self.now_s += seconds
        if self.on():
            for fd, rate in self.rates.items():
                self.calls[fd] += rate * seconds


class Group:
    def __init__(self) -> None:
        self._running = True

    def pause(self) -> None:
        self._running = False

    def resume(self) -> None:
        self._running = True

    def running(self) -> bool:
        return self._running


class Idle(RunClock):
    """Without the thread: a test takes its turns itself."""

    def _run(self, done: threading.Event) -> None:
        done.wait()


@pytest.fixture
def steady() -> Iterator[tuple[Kernel, RunClock]]:
    kernel = Kernel({3: 1000.0, 4: 10.0})
    clock = Idle(OFTEN, kernel, kernel.clock)
    clock.watch([3, 4])
    yield kernel, clock
    clock.forget([3, 4])


def test_programs_that_run_seldom_are_timed_all_the_time(steady: tuple[Kernel, RunClock]) -> None:
    kernel, clock = steady
    for turn in range(10):
        kernel.passes(FEW_S)
        assert clock.turn() == (FEW_S if turn else LOOK_S)
        assert kernel.on()
    kernel.passes(0.1)
    seconds = 10 * FEW_S + 0.1
    found = clock.counters({"a": 3, "b": 4})
    assert found["a"].calls == pytest.approx(1000 * seconds, abs=11)
    assert found["a"].run_ns == found["a"].calls * NS_A_CALL
    assert found["b"].calls == pytest.approx(10 * seconds, abs=11)
    assert found["b"].missed == 7


@given(st.lists(st.floats(0.001, 0.2), min_size=1, max_size=30), st.floats(60_000, 2_000_000))
def test_what_was_timed_stands_for_what_was_not(steps: list[float], rate: float) -> None:
    kernel = Kernel({3: rate})
    clock = Idle(OFTEN, kernel, kernel.clock)
    clock.watch([3])
    left_s, before = LOOK_S, 0
    for step in [LOOK_S, *steps]:
        kernel.passes(step)
        left_s -= step
        if left_s <= 0:
            left_s = clock.turn()
            assert left_s == ON_S or OFF_S[0] <= left_s <= OFF_S[1]
        calls = clock.counters({"a": 3})["a"].calls
        assert calls >= before
        assert calls == pytest.approx(rate * kernel.now_s, rel=0.01)
        before = calls
    clock.forget([3])
    assert not kernel.on()


def test_a_sampled_group_runs_in_timed_spans_alone_and_counts_for_itself() -> None:
    kernel, group = Kernel({3: 200_000.0, 4: 1000.0}), Group()
    clock = Idle(OFTEN, kernel, kernel.clock)
    clock.watch([3, 4], sampled=[4])
    clock.sample(group)
    kernel.passes(LOOK_S)
    clock.turn()
    assert not group.running()
    assert not kernel.on()
    kernel.passes(0.5)
    assert clock.turn() == ON_S
    assert group.running()
    kernel.passes(ON_S)
    found = clock.counters({"all": 3, "sampled": 4})
    assert found["sampled"].calls == pytest.approx(1000 * (LOOK_S + ON_S), abs=5)
    assert found["all"].calls == pytest.approx(200_000 * (LOOK_S + 0.5 + ON_S), rel=0.001)
    clock.forget([3, 4], group)


def test_a_new_trial_is_timed_from_its_begin_on() -> None:
    kernel, group = Kernel({3: 200_000.0}), Group()
    clock = Idle(OFTEN, kernel, kernel.clock)
    clock.watch([3])
    clock.sample(group)
    kernel.passes(LOOK_S)
    clock.turn()
    assert not kernel.on()
    clock.renew()
    assert kernel.on()
    assert group.running()
    kernel.rates[3] = 0.0
    before = clock.counters({"a": 3})["a"].calls
    kernel.passes(5.0)
    assert clock.counters({"a": 3})["a"].calls == before
    clock.forget([3])


def test_a_kernel_that_does_not_time_programs_is_no_error() -> None:
    kernel = Kernel({3: 100.0}, refuses=True)
    clock = RunClock(OFTEN, kernel, kernel.clock)
    clock.watch([3])
    assert clock.refused
    assert clock.counters({"a": 3})["a"].calls == 0
    clock.renew()
    clock.forget([3])
    clock.forget([3])


def test_its_thread_lives_as_long_as_there_is_something_to_time() -> None:
    kernel = Kernel({3: 100.0, 4: 100.0})
    clock = RunClock(OFTEN, kernel)
    before = threading.active_count()
    clock.watch([3])
    clock.watch([4])
    assert threading.active_count() == before + 1
    clock.forget([3])
    assert kernel.on()
    clock.forget([4])
    assert threading.active_count() == before
    assert not kernel.on()


def test_a_few_programs_tell_that_all_run_often(steady: tuple[Kernel, RunClock]) -> None:
    kernel, clock = steady
    for turn in range(3):
        kernel.passes(FEW_S)
        assert clock.turn() == (FEW_S if turn else LOOK_S)
    kernel.rates[3] = 10.0 * OFTEN
    kernel.passes(LOOK_S)
    before = clock.counters({"a": 3})["a"].calls
    assert clock.turn() == ON_S
    kernel.passes(ON_S)
    assert OFF_S[0] <= clock.turn() <= OFF_S[1]
    assert not kernel.on()
    kernel.passes(1.0)
    calls = clock.counters({"a": 3})["a"].calls - before
    assert calls == pytest.approx(10 * OFTEN * (ON_S + 1.0), rel=0.001)


def test_a_program_that_was_not_among_the_busiest_is_found_by_the_look_at_all() -> None:
    kernel = Kernel(dict.fromkeys(range(3, 11), 100.0) | {11: 0.0})
    clock = Idle(OFTEN, kernel, kernel.clock)
    clock.watch(list(kernel.rates))
    kernel.passes(LOOK_S)
    assert clock.turn() == LOOK_S
    kernel.rates[11] = 2.0 * OFTEN
    lasts = []
    for _ in range(WHOLE_LOOK):
        kernel.passes(FEW_S)
        lasts.append(clock.turn())
    assert lasts == [*[FEW_S] * (WHOLE_LOOK - 1), ON_S]
    clock.forget(list(kernel.rates))


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.3), st.sampled_from([100.0, 400_000.0])), max_size=20))
def test_what_is_told_stands_still_while_it_rests(steps: list[tuple[bool, float, float]]) -> None:
    kernel = Kernel({3: 100.0})
    clock = Idle(OFTEN, kernel, kernel.clock)
    clock.watch([3])
    told = 0
    for rests, seconds, rate in steps:
        kernel.rates[3] = rate
        if rests:
            clock.rest()
            told = clock.counters({"a": 3})["a"].calls
            kernel.passes(seconds)
            assert clock.counters({"a": 3})["a"].calls == told
            assert not kernel.on()
            assert not clock.threads
            clock.renew()
            assert kernel.on()
            assert len(clock.threads) == 1
        else:
            kernel.passes(seconds)
            clock.turn()
        calls = clock.counters({"a": 3})["a"].calls
        assert calls >= told
        told = calls
    clock.forget([3])


def test_a_clock_that_has_nothing_to_time_may_be_told_to_rest() -> None:
    clock = RunClock(OFTEN, Kernel({}))
    clock.rest()
    clock.renew()
    assert not clock.threads
