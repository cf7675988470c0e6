"""A scenario across two machines is ended in its middle: nothing is left on either, and all settings are as before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import ssh_machines
from ssh_desk import desk_with, write
from ssh_machines import Desk, Machine

SCENARIO = """\
scenario: killed
hosts:
  a:
    ssh: root@$a
    interface: eth1
    python: $python
    sysctl: {net.ipv4.tcp_rmem: 4096 65536 65536, net.core.somaxconn: 77}
    settings: [ethtool -K eth1 gro on, ethtool -L eth1 rx 2 tx 2, tc qdisc replace dev eth1 root pfifo limit 100]
  b:
    ssh: root@$b
    interface: eth1
    python: $python
    congestion: reno
    settings: [ethtool -K eth1 tx off]
    setup: [touch /run/was-here, "sh -c 'env -i setsid --fork sleep 4321 >/dev/null 2>&1 </dev/null'"]
    teardown: [rm /run/was-here]
links: [{between: [a, b]}]
traffic: [{iperf3: {from: a, to: b, duration: 20s}}]
measure: {layers: [app]}
repeat: 1
"""
NEXT = """\
scenario: next
hosts:
  a: {ssh: root@$a, interface: eth1, python: $python}
  b: {ssh: root@$b, interface: eth1, python: $python}
links: [{between: [a, b]}]
traffic: [{command: {host: b, run: "true"}}]
measure: {layers: [app]}
repeat: 1
"""
KEYS = ("net.ipv4.tcp_rmem", "net.core.somaxconn", "net.ipv4.tcp_congestion_control")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_with(tmp_path_factory.mktemp("machines")) as made:
        write(made, "killed.yaml", SCENARIO)
        write(made, "next.yaml", NEXT)
        yield made


def state(machine: Machine) -> Mapping[str, object]:
    return {
        "processes": machine.processes(),
        "files of perfcheck": machine.run_files(),
        "was here": machine.inside("find", "/run", "-maxdepth", "1", "-name", "was-here"),
        "features": machine.features(),
        "channels": machine.inside("ethtool", "-l", "eth1"),
        "qdisc": machine.inside("tc", "qdisc", "show", "dev", "eth1"),
        "sysctls": {key: machine.sysctl(key) for key in KEYS},
    }


def states(desk: Desk) -> Mapping[str, Mapping[str, object]]:
    return {name: state(machine) for name, machine in desk.machines.items()}


def at_rest(desk: Desk) -> Mapping[str, Mapping[str, object]]:
    """Return the machines' states before a run, with nothing left of the one before."""
    assert {name: machine.left() for name, machine in desk.machines.items()} == {"a": [], "b": []}
    return states(desk)


def at_its_traffic(desk: Desk) -> subprocess.Popen[bytes]:
    """Return a run whose traffic has begun on both machines."""
    running = desk.popen(*ssh_machines.PERFCHECK, "run", "killed.yaml")
    while running.poll() is None:
        if all(any("iperf3" in line for line in machine.processes()) for machine in desk.machines.values()):
            return running
        time.sleep(0.02)
    _, said = running.communicate()
    raise AssertionError(said.decode())


def settled(desk: Desk, before: Mapping[str, Mapping[str, object]]) -> Mapping[str, Mapping[str, object]]:
    """Return the machines' states once they are as before, or as they are when that takes too long."""
    deadline = time.monotonic() + ssh_machines.SETTLING_S
    while (now := states(desk)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def session_of(machine: Machine) -> str:
    """Return the pid, on the machine, of sshd's process for the one connection."""
    for line in machine.inside("ps", "-eo", "pid,args", "--no-headers").splitlines():
        pid, _, args = line.strip().partition(" ")
        if args.startswith("sshd: root@"):
            return pid
    raise AssertionError("no session")


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL", "a lost connection"])
def test_nothing_is_left_on_either_machine(desk: Desk, how: str) -> None:
    before = at_rest(desk)
    running = at_its_traffic(desk)
    during = states(desk)
    assert all(during[name]["sysctls"] != before[name]["sysctls"] for name in ("a", "b"))
    assert all(during[name]["features"] != before[name]["features"] for name in ("a", "b"))
    assert during["a"]["channels"] != before["a"]["channels"]
    assert "pfifo" in str(during["a"]["qdisc"])
    assert during["b"]["was here"]
    assert "sleep 4321" in str(during["b"]["processes"])
    if how == "a lost connection":
        machine = desk.machines["b"]
        machine.inside("kill", "-9", session_of(machine))
    else:
        running.send_signal(signal.Signals[how])
    printed, _ = running.communicate(timeout=60)
    assert settled(desk, before) == before
    if how == "a lost connection":
        assert running.returncode == 3
        assert f"lost the connection to host b (root@{desk.machines['b'].address})" in printed.decode()


@pytest.mark.parametrize("cure", ["the next start", "clean"])
def test_what_a_killed_agent_left_is_undone(desk: Desk, cure: str) -> None:
    before = at_rest(desk)
    running = at_its_traffic(desk)
    machine = desk.machines["b"]
    for line in machine.inside("ps", "-eo", "pid,args", "--no-headers").splitlines():
        pid, _, args = line.strip().partition(" ")
        if "perfcheck.agent.program" in args:
            machine.inside("kill", "-9", pid)
    running.communicate(timeout=60)
    assert running.returncode == 3
    assert state(machine)["features"] != before["b"]["features"]
    if cure == "clean":
        done = desk.perfcheck("clean", "--ssh", f"root@{machine.address}", "--python", sys.executable)
        assert "setting features eth1: undone" in done.stdout
    else:
        done = desk.perfcheck("run", "next.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert settled(desk, before) == before


def test_the_desk_keeps_nothing(desk: Desk, tmp_path: Path) -> None:
    del tmp_path
    left = [path.name for path in (desk.folder / "run").iterdir()] if (desk.folder / "run").exists() else []
    assert set(left) <= {"measuring.lock"}
