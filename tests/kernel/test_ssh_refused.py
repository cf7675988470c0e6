"""What keeps a run from another machine is one clear error each, exit status 3, and nothing is left there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_desk import desk_with, write
from ssh_machines import Desk

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


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_with(tmp_path_factory.mktemp("machines"), "no-bpf") as made:
        yield made


def scenario(*, login: str = "root", interface: str = "eth1", python: str = "$python", of_b: str = "") -> str:
    text = SCENARIO.replace("LOGIN", login).replace("INTERFACE", interface)
    return text.replace("PYTHON_OF_B", f"{python}{of_b}")


def said_of(desk: Desk, text: str) -> str:
    """Run a scenario, which must fail without a verdict and leave nothing; return the one line that says why."""
    write(desk, "refused.yaml", text)
    done = desk.perfcheck("run", "refused.yaml")
    assert done.returncode == 3, done.stdout + done.stderr
    for machine in desk.machines.values():
        assert machine.processes() == []
        assert machine.run_files() == []
    return next(line for line in done.stdout.splitlines() if "host b" in line or "host a" in line)


def test_no_root(desk: Desk) -> None:
    assert "the login is no root there (user 4321)" in said_of(desk, scenario(login="plain"))


def test_no_python(desk: Desk) -> None:
    said = said_of(desk, scenario(python="/opt/none/bin/python"))
    assert "/opt/none/bin/python" in said
    assert "hosts.b.python" in said


def test_no_such_interface(desk: Desk) -> None:
    assert "there is no interface eth7; it has eth0, eth1" in said_of(desk, scenario(interface="eth7"))


def test_an_interface_without_the_address(desk: Desk) -> None:
    assert "eth1 has no address 198.51.100.77; it has 198.51.100.2" in said_of(
        desk, scenario(of_b=", address: [198.51.100.77]")
    )


def test_an_unknown_setting(desk: Desk) -> None:
    assert "eth1: its driver tells no rings" in said_of(desk, scenario(of_b=", settings: [ethtool -G eth1 rx 64]"))


def test_a_setup_that_fails_is_undone(desk: Desk) -> None:
    said = said_of(desk, scenario(of_b=", setup: [touch /run/one, ls /none], teardown: [rm /run/one]"))
    assert "setup `ls /none` failed with status 2" in said
    assert desk.machines["b"].inside("find", "/run", "-name", "one") == ""


def test_no_key(desk: Desk) -> None:
    key = desk.folder / "key"
    content = key.read_text()
    key.unlink()
    try:
        assert "it refuses the login" in said_of(desk, scenario())
    finally:
        key.write_text(content)
        key.chmod(0o600)


@pytest.mark.parametrize("how", ["changed", "unknown"])
def test_another_host_key(desk: Desk, how: str) -> None:
    known = desk.folder / "known_hosts"
    content = known.read_text()
    lines = content.splitlines()
    other = lines[0].replace(desk.machines["a"].address, desk.machines["b"].address)
    known.write_text("\n".join([lines[0], *([other] if how == "changed" else [])]) + "\n")
    try:
        said = said_of(desk, scenario())
    finally:
        known.write_text(content)
    assert ("its host key is not the one in known_hosts" if how == "changed" else "its host key is not known") in said


def test_no_sshd(desk: Desk) -> None:
    assert "Connection refused" in said_of(desk, scenario().replace("$b", "192.0.2.9"))


def test_without_bpf_there_sockets_are_looked_at_by_sock_diag_on_both(desk: Desk) -> None:
    traffic = "iperf3: {from: a, to: b, duration: 1s, rate: 20mbit}"
    text = scenario().replace('command: {host: a, run: "true"}', traffic).replace("[app]", "[tcp]")
    write(desk, "no-bpf.yaml", text)
    done = desk.perfcheck("run", "no-bpf.yaml", "--json", "no-bpf.jsonl")
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(Path(desk.folder / "no-bpf.jsonl").read_text())
    assert "the kernel's BTF is not available" in record["unavailable"]["tcp"]
    assert record["unavailable"]["tcp"].startswith("host b (root@")
    assert record["metrics"]["tcp.rtt_us.p50"]["value"] > 0
    assert record["subjects"]["b"]["kind"] == "host"
