"""The generator `load` on other machines: its program is sent there or compiled there, and is gone afterwards."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_desk import desk_with, scenario_of, write
from ssh_machines import Desk

from perfcheck.agent import requests as ask
from perfcheck.agent.own_programs import digest_of
from perfcheck.errors import LabError, Unavailable
from perfcheck.remote.hosts import RealHost
from perfcheck.remote.machines import Machines
from perfcheck.system import programs
from perfcheck.system.programs import LOAD

AHEAD_S = 5000
HOSTS = """\
hosts:
  a: {ssh: root@$a, interface: eth1, python: $python}
  b: {ssh: root@$b, interface: eth1, python: $python}
links: [{between: [a, b]}]
measure: {layers: [app]}
warmup: 0s
repeat: 1
"""
LOADS = f"""\
scenario: loads
{HOSTS}
traffic:
  - load: {{from: a, to: b, kind: stream, count: 500, size: 64kb}}
    name: bulk
  - load: {{from: a, to: b, kind: requests, count: 500, size: 100b}}
    name: rpc
  - load: {{from: b, to: a, kind: connections, count: 100, size: 100b}}
    name: churn
  - load: {{from: b, to: a, kind: datagrams, count: 640, size: 100b}}
    name: small
"""
ONE = f"""\
scenario: one
{HOSTS}
traffic: [{{load: {{from: a, to: b, kind: requests, count: 64, size: 100b}}}}]
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_with(tmp_path_factory.mktemp("machines"), f"ahead={AHEAD_S}", "no-gcc") as made:
        yield made


@pytest.fixture
def desk(machines: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return the desk, with its ssh as this process's."""
    monkeypatch.setenv("PATH", f"{machines.folder}:{os.environ['PATH']}")
    return machines


def ran_there(host: RealHost) -> Path:
    """Return the program's path on a host, where it answers as it does here."""
    path = host.compiled_program(LOAD)
    assert host.run([path]).stderr.startswith(b"usage: load serve")
    assert host.compiled_program(LOAD) == path
    return Path(path)


def refuses_others(host: RealHost) -> None:
    """Have a host sent what changed on its way, what is no program of perfcheck's, and what does not run there."""
    with pytest.raises(LabError, match="the program load did not arrive as it was sent"):
        host.channel.ask(ask.PlaceProgram(name="load", digest="0" * 64), programs.built(LOAD))
    with pytest.raises(LabError, match="perfcheck has no program 'ls'"):
        host.channel.ask(ask.PlaceProgram(name="ls", digest=None))
    foreign = b"another machine's"
    with pytest.raises(Unavailable, match="it does not run: Exec format error"):
        host.channel.ask(ask.PlaceProgram(name="load", digest=digest_of(foreign)), foreign)


def test_all_kinds_of_load_run_between_two_machines_whose_clocks_differ(desk: Desk) -> None:
    write(desk, "loads.yaml", LOADS)
    done = desk.perfcheck("run", "loads.yaml", "--json", "loads.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((desk.folder / "loads.jsonl").read_text())
    assert record["trials"][0]["traffic_s"] < 60
    of = {name: each["metrics"] for name, each in record["subjects"].items()}
    for name, units in (("rpc", "app.requests_per_s"), ("churn", "app.connections_per_s")):
        count = of[name][units]["value"] * of[name]["app.duration_us"]["value"] / 1e6
        assert count == pytest.approx({"rpc": 500, "churn": 100}[name], rel=0.01)
    assert of["small"]["udp.datagrams"]["value"] == 640
    # From one machine's clock to the other's: 131 MB, whose time tells how fast they came.
    seconds = of["bulk"]["app.duration_us"]["value"] / 1e6
    assert of["bulk"]["app.throughput_bps"]["value"] == pytest.approx(8 * 500 * 64_000 / seconds, rel=0.01)
    for machine in desk.machines.values():
        assert machine.left() == []


def test_the_program_is_in_memory_alone_and_what_was_compiled_here(desk: Desk) -> None:
    with Machines(scenario_of(desk, ONE), lambda _: None) as connected:
        for name, host in connected.hosts.items():
            path = ran_there(host)
            there = desk.machines[name]
            assert there.inside("readlink", str(path)).startswith("/proc/")
            digest = there.inside("b2sum", str(path)).split()[0]
            compiled = desk.folder / "load"
            compiled.write_bytes(programs.built(LOAD))
            assert digest == there.inside("b2sum", str(compiled)).split()[0]
            assert "Operation not permitted" in there.inside("sh", "-c", f"(echo x >{path}) 2>&1 || true")
        refuses_others(connected.hosts["b"])
    for machine in desk.machines.values():
        assert machine.left() == []


def test_a_machine_of_another_architecture_compiles_it_if_it_can(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "another")
    monkeypatch.setattr(programs, "built", lambda *_: pytest.fail("compiled here"))
    with Machines(scenario_of(desk, ONE), lambda _: None) as connected:
        ran_there(connected.hosts["a"])
        with pytest.raises(Unavailable) as caught:
            connected.hosts["b"].compiled_program(LOAD)
    assert "as compiled here: it is for another, and the machine is" in caught.value.why
    assert "compiled there: gcc is not in PATH" in caught.value.why
    assert desk.machines["a"].left() == []
