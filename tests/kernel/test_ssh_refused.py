"""What keeps a run from another machine is one clear error each, and nothing is left there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from ssh_desk import desk_with, scenario_of, write
from ssh_machines import Desk

from perfcheck.errors import CouldNotMeasure, Unavailable
from perfcheck.remote.machines import Machines
from perfcheck.remote.testbed import RealTestbed

SCENARIO = """\
scenario: refused
hosts:
  a: {ssh: root@$a, interface: eth1, python: $python}
  b: {ssh: LOGIN@$b, interface: INTERFACE, python: PYTHON_OF_B}
links: [{between: [a, b]}]
traffic: [{command: {host: a, run: "true"}}]
measure: {layers: [app]}
repeat: 1
"""
SYSTEMS_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_with(tmp_path_factory.mktemp("machines"), "no-bpf") as made:
        yield made


@pytest.fixture
def desk(machines: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return the desk, with its ssh as this process's."""
    monkeypatch.setenv("PATH", f"{machines.folder}:{os.environ['PATH']}")
    return machines


def text(*, login: str = "root", interface: str = "eth1", python: str = "$python", of_b: str = "") -> str:
    return SCENARIO.replace("LOGIN", login).replace("INTERFACE", interface).replace("PYTHON_OF_B", f"{python}{of_b}")


def said_of(desk: Desk, file: str) -> CouldNotMeasure:
    """Set machines up, which must fail and leave nothing; return the error, which is one line."""
    scenario = scenario_of(desk, file)
    with pytest.raises(CouldNotMeasure) as caught, Machines(scenario, lambda _: None) as machines:
        RealTestbed(scenario, machines).apply_settings()
    for machine in desk.machines.values():
        assert machine.left() == []
    assert "\n" not in str(caught.value)
    return caught.value


def test_no_root(desk: Desk) -> None:
    assert "the login is no root there (user 4321)" in str(said_of(desk, text(login="plain")))


def test_no_python(desk: Desk) -> None:
    said = said_of(desk, text(python="/opt/none/bin/python"))
    assert isinstance(said, Unavailable)
    assert "/opt/none/bin/python" in said.why
    assert "hosts.b.python" in said.fix


def test_no_such_interface(desk: Desk) -> None:
    assert "there is no interface eth7; it has eth0, eth1" in str(said_of(desk, text(interface="eth7")))


def test_an_interface_without_the_address(desk: Desk) -> None:
    said = said_of(desk, text(of_b=", address: [198.51.100.77]"))
    assert "eth1 has no address 198.51.100.77; it has 198.51.100.2" in str(said)


def test_a_setting_that_the_device_does_not_have(desk: Desk) -> None:
    assert "eth1: its driver tells no rings" in str(said_of(desk, text(of_b=", settings: [ethtool -G eth1 rx 64]")))


def test_a_setup_that_fails_is_undone(desk: Desk) -> None:
    said = said_of(desk, text(of_b=", setup: [touch /run/one, ls /none], teardown: [rm /run/one]"))
    assert "setup `ls /none` failed with status 2" in str(said)
    assert desk.machines["b"].inside("find", "/run", "-name", "one") == ""


def test_no_key(desk: Desk) -> None:
    key = desk.folder / "key"
    content = key.read_text()
    key.unlink()
    try:
        assert "it refuses the login" in str(said_of(desk, text()))
    finally:
        key.write_text(content)
        key.chmod(0o600)


@pytest.mark.parametrize("how", ["changed", "unknown"])
def test_another_host_key(desk: Desk, how: str) -> None:
    known = desk.folder / "known_hosts"
    content = known.read_text()
    first = content.splitlines()[0]
    other = first.replace(desk.machines["a"].address, desk.machines["b"].address)
    known.write_text("\n".join([first, *([other] if how == "changed" else [])]) + "\n")
    try:
        said = str(said_of(desk, text()))
    finally:
        known.write_text(content)
    assert ("its host key is not the one in known_hosts" if how == "changed" else "its host key is not known") in said


def test_no_sshd(desk: Desk) -> None:
    assert "Connection refused" in str(said_of(desk, text().replace("$b", "192.0.2.9")))


def test_a_python_without_numpy_has_commands_and_no_collectors(desk: Desk) -> None:
    write(desk, "plain.yaml", text(python=SYSTEMS_PYTHON))
    write(desk, "collected.yaml", text(python=SYSTEMS_PYTHON).replace("[app]", "[tcp]").replace("refused", "collected"))
    done = desk.perfcheck("run", "plain.yaml", "collected.yaml")
    assert re.search(r"refused +measured +1 run +PASS", done.stdout)
    assert "collectors there is not available: Python has no numpy" in done.stdout
    assert done.returncode == 3


def test_without_bpf_there_sockets_are_looked_at_by_sock_diag_on_both(desk: Desk) -> None:
    traffic = "iperf3: {from: a, to: b, duration: 1s, rate: 20mbit}"
    write(desk, "no-bpf.yaml", text().replace('command: {host: a, run: "true"}', traffic).replace("[app]", "[tcp]"))
    done = desk.perfcheck("run", "no-bpf.yaml", "--json", "no-bpf.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((desk.folder / "no-bpf.jsonl").read_text())
    assert "the kernel's BTF is not available" in record["unavailable"]["tcp"]
    assert record["unavailable"]["tcp"].startswith("host b (root@")
    assert record["metrics"]["tcp.srtt_us.p50"]["value"] > 0, sorted(record["metrics"])
    assert record["subjects"]["b"]["kind"] == "host"
