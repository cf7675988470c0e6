"""The relay's lead on timers and its claim on the CPU, without a timer and without a claim."""

from __future__ import annotations

import os
import select

import pytest

from perfcheck.lab.links.relay import priority, timer
from perfcheck.lab.links.relay.priority import CHECK_NS, GIVE_WAY_PPS, TAKE_BACK_PPS, Awake, RealTime
from perfcheck.lab.links.relay.timer import NEVER_NS, Timer


class Kernel:
    """Remembers what scheduling was asked for; refuses it where told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cpus: int = 2, refuses: bool = False) -> None:
        self.policies: list[int] = []
        self.refuses = refuses
        self.cpu_ns = 0
        self.packets = 0
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
        monkeypatch.setattr(os, "sched_setscheduler", self._set)
        monkeypatch.setattr(priority, "process_time_ns", lambda: self.cpu_ns)

    def _set(self, pid: int, policy: int, parameter: os.sched_param) -> None:
        del pid, parameter
        if self.refuses:
            raise PermissionError
        self.policies.append(policy)


def checks(claim: RealTime, kernel: Kernel, *load: tuple[int, float]) -> None:
    """Let checks pass, each after CHECK_NS of so many packets a second at so large a share of a CPU."""
    for pps, share in load:
        kernel.packets += pps * CHECK_NS // 10**9
        kernel.cpu_ns += round(share * CHECK_NS)
        claim.check(claim.next_check_ns, kernel.packets)


def test_real_time_gives_way_to_many_packets_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    claim = RealTime(0)
    assert kernel.policies == [os.SCHED_FIFO]
    checks(claim, kernel, (GIVE_WAY_PPS - 500, 0.5), (GIVE_WAY_PPS + 500, 0.5))
    assert kernel.policies == [os.SCHED_FIFO, os.SCHED_OTHER]
    checks(claim, kernel, (TAKE_BACK_PPS + 500, 0.2))
    assert kernel.policies[2:] == []
    checks(claim, kernel, (0, 0.2), (0, 0.2))
    assert kernel.policies[2:] == [os.SCHED_FIFO]


def test_real_time_gives_way_before_the_kernel_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    claim = RealTime(0)
    checks(claim, kernel, (100, 0.89), (100, 0.93), (100, 0.6), (100, 0.4))
    assert kernel.policies == [os.SCHED_FIFO, os.SCHED_OTHER, os.SCHED_FIFO]


@pytest.mark.parametrize(("cpus", "refuses"), [(1, False), (2, True)])
def test_without_a_second_cpu_or_the_right_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, cpus: int, refuses: bool
) -> None:
    kernel = Kernel(monkeypatch, cpus=cpus, refuses=refuses)
    claim = RealTime(0)
    assert not claim.possible
    checks(claim, kernel, (100_000, 1.0), (0, 0.0))
    assert kernel.policies == []


def test_processors_may_sleep_where_the_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "PM_QOS", "/nonexistent/cpu_dma_latency")
    awake = Awake()
    assert not awake.begin()
    awake.end()
    awake.end()


def test_the_lead_follows_how_late_timers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]

    def sleep(fds: object, writers: object, errors: object, timeout_s: float) -> tuple[list[int], list[int], list[int]]:
        now[0] += round(timeout_s * 1e9) + late_ns
        return [], [], []

    monkeypatch.setattr(select, "select", sleep)
    monkeypatch.setattr(timer, "monotonic_ns", lambda: now[0])
    waiting = Timer()
    for late_ns in (70_000, 20_000):
        for _ in range(500):
            assert waiting.wait((), now[0], now[0] + 1_000_000) == []
        assert waiting.lead_ns == pytest.approx(late_ns, abs=3000)
    late_ns = 10_000_000
    for _ in range(500):
        waiting.wait((), now[0], now[0] + 1_000_000)
    assert waiting.lead_ns == timer.LONGEST_LEAD_NS


def test_near_the_time_it_polls_and_without_one_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, ...]] = []

    def see(
        fds: list[int], writers: object, errors: object, *timeout_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        asked.append(timeout_s)
        return fds, [], []

    monkeypatch.setattr(select, "select", see)
    waiting = Timer()
    assert waiting.wait([7], 0, waiting.lead_ns) == [7]
    assert waiting.wait([7], 0, 1_000_000 + waiting.lead_ns) == [7]
    assert waiting.wait([7], 0, NEVER_NS) == [7]
    assert asked == [(0,), (0.001,), ()]


def test_it_tells_for_how_long_it_was_kept_from_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    now, late = [0], [0]

    def wake(
        fds: list[int], writers: object, errors: object, timeout_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        now[0] += round(timeout_s * 1e9) + late[0]
        return fds, [], []

    monkeypatch.setattr(select, "select", wake)
    monkeypatch.setattr(timer, "monotonic_ns", lambda: now[0])
    waiting = Timer()
    for late[0], told_ns in ((-300_000, 0), (40_000_000, 40_000_000), (-1, 0)):
        assert waiting.wait([3], now[0], now[0] + 2_000_000) == [3]
        assert waiting.overslept_ns == told_ns
    assert waiting.lead_ns == 50_000
