"""Waiting for a CPU, switches and migrations against hogs of known share and the tasks' own schedstat and status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import collect_lab as lab
import pytest

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect.cpu import CpuCollector
from perfcheck.model.observation import Observation
from perfcheck.system.clock import now_ns, wait_until

HOG = "print(flush=True)\nwhile True: pass"
SLEEPER = """
import time
print(flush=True)
for _ in range({times}):
    time.sleep(0.002)
print(flush=True)
time.sleep(60)
"""
WANDERER = """
import os
print(flush=True)
for turn in range({times}):
    os.sched_setaffinity(0, [turn % 2])
print(flush=True)
while True: pass
"""
MEASURED_NS = 1_000_000_000
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def collector() -> Iterator[CpuCollector]:
    made = CpuCollector()
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[lab.Pair]:
    with lab.pair() as made:
        yield made


@contextmanager
def running(pair: lab.Pair, program: str, cpu: int | None, count: int = 1) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start a Python program in the client so many times; each has said its first line when the block begins."""
    where = [] if cpu is None else ["taskset", "-c", str(cpu)]
    argv = [*where, sys.executable, "-S", "-c", program]
    made = [pair.client(lambda: subprocess.Popen(argv, stdout=subprocess.PIPE)) for _ in range(count)]
    try:
        for one in made:
            said(one)
        yield made
    finally:
        for one in made:
            one.kill()
            one.communicate()


def said(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == b"\n"


def schedstat(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Time on a CPU and time waiting for one, in ns, since the process began."""
    busy_ns, waited_ns, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
    return int(busy_ns), int(waited_ns)


def switches(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Voluntary and forced switches since the process began."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t") for line in lines if "_ctxt_switches" in line)
    return int(fields["voluntary_ctxt_switches"]), int(fields["nonvoluntary_ctxt_switches"])


@dataclass(kw_only=True)
class Accounts:
    """What the kernel says that processes used and waited for in about a second, in ns; and how long it really was."""

    busy_ns: int = 0
    waited_ns: int = 0
    length_ns: int = 0


def a_second(processes: Sequence[subprocess.Popen[bytes]]) -> Accounts:
    started_ns, before = now_ns(), [schedstat(one) for one in processes]
    assert wait_until(lambda: now_ns() >= started_ns + MEASURED_NS, timeout_s=10, interval_s=0.02)
    ended_ns, after = now_ns(), [schedstat(one) for one in processes]
    busy_ns, waited_ns = (sum(now[n] - was[n] for now, was in zip(after, before, strict=True)) for n in (0, 1))
    return Accounts(busy_ns=busy_ns, waited_ns=waited_ns, length_ns=ended_ns - started_ns)


@pytest.fixture(autouse=True)
def out_of_the_way() -> Iterator[None]:
    """Keep this process off the hogs' CPU: it could not look in time."""
    os.sched_setaffinity(0, CPUS[:-1] or CPUS)
    yield
    os.sched_setaffinity(0, CPUS)


def metrics(seen: dict[str, Observation]) -> dict[str, float]:
    return layer_metrics(tuple(seen.values()))


def test_two_hogs_on_one_cpu_wait_for_each_other_half_of_the_time(collector: CpuCollector, pair: lab.Pair) -> None:
    with running(pair, HOG, CPUS[-1], count=2) as hogs, lab.measuring(pair.scope(), collector) as seen:
        kept = a_second(hogs)
    found = metrics(seen)
    assert found["cpu.runq_wait_pct"] == pytest.approx(100 * kept.waited_ns / (kept.busy_ns + kept.waited_ns), rel=0.05)
    # Two alone: half and half. Whatever else wants this CPU makes them wait longer.
    assert found["cpu.runq_wait_pct"] > 48
    assert found["cpu.busy_pct"] == pytest.approx(100 * kept.busy_ns / kept.length_ns, rel=0.05)
    assert found["cpu.off_forced_us"] == pytest.approx(kept.waited_ns / 1000, rel=0.1)
    assert found["cpu.switches_forced"] > 10
    # Each waits while the other has its slice, and slices are milliseconds.
    assert found["cpu.runq_delay_us.max"] > 1000
    assert seen["cpu"].distributions["cpu.runq_delay_us"].total == pytest.approx(kept.waited_ns / 1000, rel=0.05)
    assert sum(one.lost_events for one in seen.values()) == 0


def test_switches_are_those_that_the_kernel_counts_of_the_task(collector: CpuCollector, pair: lab.Pair) -> None:
    program = SLEEPER.format(times=300)
    with running(pair, program, CPUS[-1]) as (sleeper,), lab.measuring(pair.scope(), collector) as seen:
        before = switches(sleeper)
        assert said(sleeper)
        after = switches(sleeper)
    found = metrics(seen)
    assert after[0] - before[0] > 200
    assert found["cpu.switches_voluntary"] == pytest.approx(after[0] - before[0], rel=0.02, abs=2)
    assert found["cpu.switches_forced"] == pytest.approx(after[1] - before[1], rel=0.02, abs=2)
    assert found["cpu.off_voluntary_us"] > 0.8 * 200 * 2000


@pytest.mark.skipif(len(CPUS) < 2, reason="a task needs a second CPU to go to")
def test_each_change_of_cpu_is_a_migration(collector: CpuCollector, pair: lab.Pair) -> None:
    program = WANDERER.format(times=200).replace("turn % 2", f"{CPUS[:2]}[turn % 2]")
    with lab.measuring(pair.scope(), collector) as seen, running(pair, program, None) as (wanderer,):
        assert said(wanderer)
    assert seen["cpu"].lost_events == 0
    assert metrics(seen)["cpu.migrations"] == pytest.approx(200, abs=4)


def test_processes_outside_the_lab_and_this_one_do_not_count(collector: CpuCollector, pair: lab.Pair) -> None:
    argv = [sys.executable, "-S", "-c", HOG]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as stranger, lab.measuring(pair.scope(), collector) as seen:
        assert said(stranger)
        pair.client(lambda: sum(range(1_000_000)))
        stranger.kill()
    assert seen["cpu"].metrics == {}
    assert seen["cpu"].distributions == {}


def test_a_links_process_is_told_from_the_hosts(collector: CpuCollector, pair: lab.Pair) -> None:
    argv = ["taskset", "-c", str(CPUS[-1]), sys.executable, "-S", "-c", HOG]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as relay:
        assert said(relay)
        with lab.measuring(replace(pair.scope(), emulator_pids=(relay.pid,)), collector) as seen:
            kept = a_second([relay])
        relay.kill()
    found = metrics(seen)
    assert found["cpu.emulator_busy_pct"] == pytest.approx(100 * kept.busy_ns / kept.length_ns, rel=0.05)
    assert "cpu.busy_pct" not in found
