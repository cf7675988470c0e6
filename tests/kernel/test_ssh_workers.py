"""pytest-xdist over ssh: machines share scenarios among them, one at a time on each, and write one history."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from ssh_desk import desk_with
from ssh_machines import Desk, Machine

from perfcheck.baseline import HistoryStore

NAMES = ("one", "two", "three")
SCENARIO = """\
scenario: NAME
hosts: {client: {}, server: {}}
links: [{between: [client, server]}]
traffic: [{connections: {from: client, to: server, duration: 300ms, rate: 50}}]
measure: {layers: [app]}
warmup: 100ms
repeat: 1
expect: {app.connections_per_s: ">= 10", app.errors: "<= 0"}
"""
THERE = "/run/workers"
"""Where xdist copies the scenarios on each machine, and where its records are."""
WAIT_S = 60.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_with(tmp_path) as made:
        (made.folder / "scenarios").mkdir()
        for name in NAMES:
            (made.folder / "scenarios" / f"{name}.yaml").write_text(SCENARIO.replace("NAME", name))
        yield made


def started(desk: Desk) -> subprocess.Popen[bytes]:
    """Start pytest at the desk, with a worker on each machine."""
    workers = [
        f"--tx=id={name}//ssh=root@{machine.address}//python={sys.executable}//chdir={THERE}"
        for name, machine in desk.machines.items()
    ]
    return desk.popen(
        sys.executable, "-m", "pytest", str(desk.folder / "scenarios"), *workers, "--dist=loadfile",
        f"--rsyncdir={desk.folder}/scenarios", f"--history={desk.folder}/history",
        f"--perfcheck-json={THERE}/records.jsonl", "--junitxml=report.xml",
        # Its workers ask a server of the first machine alone.
        "-p", "no:rerunfailures", "-p", "no:cacheprovider",
    )  # fmt: skip


def measured_on(machine: Machine) -> Sequence[str]:
    """Return the scenarios that a machine's worker has measured, by its own records."""
    lines = machine.inside("cat", f"{THERE}/records.jsonl", check=False).splitlines()
    return [json.loads(line)["scenario"]["name"] for line in lines]


@contextmanager
def measuring(machine: Machine) -> Iterator[None]:
    """Hold a machine's measuring lock, as another run there would."""
    machine.inside("mkdir", "-p", "-m", "700", "/run/perfcheck")
    lock = "/run/perfcheck/measuring.lock"
    machine.inside("sh", "-c", f"setsid --fork flock {lock} sleep 4322 >/dev/null 2>&1 </dev/null")
    while "sleep 4322" not in machine.processes():
        time.sleep(0.01)
    try:
        yield
    finally:
        machine.inside("pkill", "-f", "sleep 4322")


def until(desk: Desk, running: subprocess.Popen[bytes], count: int) -> Sequence[str]:
    """Return what machine a has measured, once that is so much."""
    deadline = time.monotonic() + WAIT_S
    while len(found := measured_on(desk.machines["a"])) < count:
        if running.poll() is not None or time.monotonic() > deadline:
            printed, said = running.communicate(timeout=10)
            raise AssertionError((printed + said).decode())
        time.sleep(0.05)
    return found


def test_machines_share_the_scenarios_one_at_a_time_on_each_and_write_one_history(desk: Desk) -> None:
    a, b = desk.machines["a"], desk.machines["b"]
    with measuring(b):
        running = started(desk)
        first = until(desk, running, 1)
        assert measured_on(b) == []
    printed, said = running.communicate(timeout=WAIT_S)
    assert running.returncode == 0, (printed + said).decode()
    assert "6 passed" in printed.decode()
    assert sorted([*measured_on(a), *measured_on(b)]) == sorted(NAMES)
    # xdist hands each worker two files in advance, where there are so many.
    assert set(first) <= set(measured_on(a))
    assert len(measured_on(b)) == 1
    series = HistoryStore(desk.folder / "history").series("app.connections_per_s")
    assert {one.scenario: len(one.values) for one in series} == dict.fromkeys(NAMES, 1)
    assert (desk.folder / "report.xml").read_text().count("<testcase ") == 6
    for machine in (a, b):
        assert machine.left() == []
        # Nor is a host of a lab left.
        assert machine.inside("find", "/run/netns", "-mindepth", "1", check=False) == ""
