"""Waiting for a CPU, switches and migrations against hogs of known share and the tasks' own schedstat and status."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import collect_lab as lab
import pytest
from bracketing import bracketed

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect.cpu import CpuCollector
from perfcheck.collect.kernel.machine import MachineCollector
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
THROTTLED = """
import json, sys, time
from perfcheck.collect.kernel.machine import MachineCollector
from perfcheck.model.observation import Scope
sys.stdin.readline()
collector = MachineCollector()
collector.begin(Scope(namespaces={}, netns_paths={}, warmup_ns=0))
wall, cpu = time.monotonic(), time.process_time()
while time.monotonic() < wall + 2:
    pass
wall, cpu = time.monotonic() - wall, time.process_time() - cpu
metrics = {name: value for name, value in collector.end().metrics.items() if "throttled" in name}
print(json.dumps({**metrics, "kept_off_pct": 100 * (1 - cpu / wall), "length_us": 1e6 * wall}))
"""
QUOTA_US, PERIOD_US = 20_000, 100_000
MEASURED_NS = 2_000_000_000
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
"""A running task's account is settled at each tick of the scheduler, which is no longer than this."""
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def collector() -> Iterator[CpuCollector]:
    with lab.opened(CpuCollector()) as made:
        yield made


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


def switches(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Voluntary and forced switches since the process began."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t") for line in lines if "_ctxt_switches" in line)
    return {"voluntary": int(fields["voluntary_ctxt_switches"]), "forced": int(fields["nonvoluntary_ctxt_switches"])}


def accounts(processes: Sequence[subprocess.Popen[bytes]]) -> dict[str, float]:
    """What the kernel says that processes used and waited for in all, in us; `off` is the rest of the time."""
    now_us, kept = now_ns() / 1000, [schedstat(one) for one in processes]
    busy_us, waited_us = (sum(one[n] for one in kept) / 1000 for n in (0, 1))
    return {"us": now_us, "busy": busy_us, "waited": waited_us, "off": len(kept) * now_us - busy_us - waited_us}


def stalled() -> dict[str, float]:
    """Time in us in which some task of the machine waited for a CPU, from /proc/pressure."""
    some, _ = Path("/proc/pressure/cpu").read_text().splitlines()
    return {"some": int(some.split("total=")[1])}


def brought_up_to_date() -> bool:
    """Return when the kernel has just added up who stalled, which it does every 2 s where somebody looks."""
    before = stalled()
    return wait_until(lambda: stalled() != before, timeout_s=10, interval_s=0.005)


def after_a_while() -> bool:
    ends_ns = now_ns() + MEASURED_NS
    return wait_until(lambda: now_ns() >= ends_ns, timeout_s=10, interval_s=0.02)


@pytest.fixture(autouse=True)
def out_of_the_way() -> Iterator[None]:
    """Keep this process off the hogs' CPU: it could not look in time."""
    os.sched_setaffinity(0, CPUS[:-1] or CPUS)
    yield
    os.sched_setaffinity(0, CPUS)


def metrics(seen: dict[str, Observation]) -> dict[str, float]:
    return layer_metrics(tuple(seen.values()))


def test_two_hogs_on_one_cpu_wait_for_each_other_half_of_the_time(collector: CpuCollector, pair: lab.Pair) -> None:
    with (
        running(pair, HOG, CPUS[-1], count=2) as hogs,
        bracketed(lambda: accounts(hogs), pair.scope(), collector) as kept,
    ):
        assert after_a_while()
    found = metrics(kept.seen)
    waited_pct = 100 * kept.least["waited"] / (kept.least["busy"] + kept.least["waited"])
    assert found["cpu.runq_wait_pct"] == pytest.approx(waited_pct, rel=0.05)
    # Two alone: half and half. Whatever else wants this CPU makes them wait longer.
    assert found["cpu.runq_wait_pct"] > 48
    kept.holds_share("busy", found["cpu.busy_pct"], of="us", pct=5, slack=TICK_US)
    kept.holds("waited", found["cpu.off_forced_us"], pct=5, slack=TICK_US)
    assert found["cpu.switches_forced"] > 10
    # Each waits while the other has its slice, and slices are milliseconds.
    assert found["cpu.runq_delay_us.max"] > 1000
    kept.holds("waited", kept.seen["cpu"].distributions["cpu.runq_delay_us"].total, pct=5, slack=TICK_US)
    assert sum(one.lost_events for one in kept.seen.values()) == 0


def test_the_machines_pressure_and_busiest_cpu_show_two_hogs(pair: lab.Pair) -> None:
    with running(pair, HOG, CPUS[-1], count=2):
        assert brought_up_to_date()
        with bracketed(lambda: stalled() | {"us": now_ns() / 1000}, pair.scope(), MachineCollector()) as kept:
            assert after_a_while()
            assert brought_up_to_date()
    found = kept.seen["machine"].metrics
    kept.holds_share("some", found["cpu.pressure_pct"], of="us", pct=5, slack=TICK_US)
    # One of the two waits all the time.
    assert found["cpu.pressure_pct"] == pytest.approx(100, rel=0.05)
    assert found["cpu.busiest_pct"] == pytest.approx(100, rel=0.05)


def test_switches_are_those_that_the_kernel_counts_of_the_task(collector: CpuCollector, pair: lab.Pair) -> None:
    program = SLEEPER.format(times=500)
    with (
        running(pair, program, CPUS[-1]) as (sleeper,),
        bracketed(lambda: switches(sleeper) | accounts([sleeper]), pair.scope(), collector) as kept,
    ):
        assert said(sleeper)
    found = metrics(kept.seen)
    assert kept.least["voluntary"] > 400
    kept.holds("voluntary", found["cpu.switches_voluntary"], slack=2)
    assert kept.least["forced"] <= found["cpu.switches_forced"] <= kept.most["forced"]
    # What an idle CPU needs to wake up the scheduler counts as the task's own time, the clock does not.
    assert found["cpu.off_voluntary_us"] == pytest.approx(kept.least["off"], rel=0.05)


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
    """It shares its CPU with a stranger, who is nobody's."""
    argv = ["taskset", "-c", str(CPUS[-1]), sys.executable, "-S", "-c", HOG]
    with contextlib.ExitStack() as stack:
        relay, stranger = (subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(2))
        for one in (relay, stranger):
            stack.callback(one.communicate)
            stack.callback(one.kill)
            assert said(one)
        scope = replace(pair.scope(), emulator_pids=(relay.pid,))
        with bracketed(lambda: accounts([relay]), scope, collector) as kept:
            assert after_a_while()
    found = metrics(kept.seen)
    kept.holds_share("busy", found["cpu.emulator_busy_pct"], of="us", pct=5, slack=TICK_US)
    waited_pct = 100 * kept.least["waited"] / (kept.least["busy"] + kept.least["waited"])
    assert found["cpu.emulator_runq_wait_pct"] == pytest.approx(waited_pct, rel=0.05)
    waits = kept.seen["cpu"].distributions["cpu.emulator_runq_delay_us"]
    kept.holds("waited", waits.total, pct=5, slack=TICK_US)
    assert "cpu.busy_pct" not in found


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    """A control group of its own for a process whose CPU time is to be limited, of either version."""
    tag = f"perfcheck-{secrets.token_hex(3)}"
    version_1, version_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    if (version_1 / "cpu.cfs_quota_us").exists() or (version_1 / "cgroup.procs").exists():
        made, limits = version_1 / tag, {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(QUOTA_US)}
    else:
        made, limits = version_2 / tag, {"cpu.max": f"{QUOTA_US} {PERIOD_US}"}
    made.mkdir()
    try:
        if not (made / next(iter(limits))).exists():
            pytest.skip("this machine's control groups do not limit CPU time")
        for name, value in limits.items():
            (made / name).write_text(value)
        yield made
    finally:
        made.rmdir()


def test_a_quota_throttles_for_as_long_as_the_clock_runs_and_the_process_does_not() -> None:
    # From its start: what was throttled on the CPU that it left would be added for the rest of that period.
    argv = ["taskset", "-c", str(CPUS[-1]), sys.executable, "-c", THROTTLED]
    with control_group() as group, subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        (group / "cgroup.procs").write_text(str(process.pid))
        output, _ = process.communicate(b"go\n", timeout=30)
    found = json.loads(output)
    assert found["cpu.throttled_pct"] == pytest.approx(found["kept_off_pct"], rel=0.05)
    assert found["cpu.throttled_periods"] == pytest.approx(found["length_us"] / PERIOD_US, abs=1)
    assert found["cpu.throttled_pct"] > 60
