"""Real hosts in a scenario file: what contradicts what, each with its line and column."""

from __future__ import annotations

import pytest
from scenario_texts import changed

from perfcheck.errors import ScenarioError
from perfcheck.scenario import load_text
from perfcheck.scenario.loader import read_text

REAL = """\
scenario: real
hosts:
  dut: {ssh: root@192.0.2.7, interface: eth1}
  peer: {ssh: peer.example, interface: eth0, address: [192.0.2.8]}
links:
  - between: [dut, peer]
traffic:
  - iperf3: {from: dut, to: peer, duration: 2s}
"""


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "x.yaml")
    return [line.removeprefix("x.yaml:") for line in str(caught.value).splitlines()]


def test_real_hosts_are_read() -> None:
    (scenario,) = load_text(REAL, "x.yaml")
    assert scenario.is_real
    assert scenario.hosts["dut"].ssh == "root@192.0.2.7"
    assert scenario.hosts["peer"].address == ("192.0.2.8",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ssh: root@192.0.2.7, interface: eth1", "ssh: root@192.0.2.7",
         "3:9: hosts.dut.ssh: ssh needs interface as well"),
        ("ssh: root@192.0.2.7", "ssh: '-oProxyCommand=touch /tmp/x'",
         "3:14: hosts.dut.ssh: expected a destination of ssh"),
        ("ssh: root@192.0.2.7", "ssh: 'root@-x'", "3:14: hosts.dut.ssh: expected a destination of ssh"),
        ("ssh: root@192.0.2.7", "ssh: 'a b'", "3:14: hosts.dut.ssh: expected a destination of ssh"),
        ("ssh: root@192.0.2.7", 'ssh: "a\\nb"', "3:14: hosts.dut.ssh:"),
        ("ssh: root@192.0.2.7", "ssh: 'a;reboot'", "3:14: hosts.dut.ssh: expected a destination of ssh"),
        ("ssh: root@192.0.2.7", "ssh: root@h, netns: blue", "hosts.dut.netns: a host is reached by ssh or by netns"),
        ("interface: eth1", "interface: ../eth1", "hosts.dut.interface: expected the name of a network interface"),
        ("interface: eth1", "interface: -x", "hosts.dut.interface: expected the name of a network interface"),
        ("interface: eth1", "interface: lo", "hosts.dut.interface: expected the name of a network interface"),
        ("interface: eth1", "interface: eth1, router: true", "hosts.dut.router: router is for hosts of the lab"),
        ("interface: eth1", "interface: eth1, via: {peer: peer}", "hosts.dut.via: via is for hosts of the lab"),
        ("interface: eth1", "interface: eth1, setup: [nft flush ruleset]",
         "hosts.dut.setup: on a real machine setup needs teardown"),
        ("interface: eth1", "interface: eth1, settings: [ethtool -K eth1 gro maybe]",
         "hosts.dut.settings[0]: expected FEATURE on or off"),
        ("interface: eth1", "interface: eth1, python: 'python3; reboot'",
         "hosts.dut.python: expected a program such as"),
        ("interface: eth1", "interface: eth1, address: [127.0.0.1]",
         "hosts.dut.address[0]: expected an address that other machines reach"),
        ("interface: eth1", "interface: eth1, sysctl: {kernel.panic: 1}", "expected a sysctl that begins with net."),
        ("between: [dut, peer]", "between: [dut, peer]\n    delay: 10ms",
         "links[0].delay: delay cannot be had on a real link"),
        ("between: [dut, peer]", "between: [dut, peer]\n    forward: {rate: 1mbit}",
         "links[0].forward: forward cannot be had on a real link"),
        ("between: [dut, peer]", "between: [dut, peer]\n    emulator: netem",
         "links[0].emulator: a real link has no emulator"),
        ("peer: {ssh: peer.example, interface: eth0, address: [192.0.2.8]}", "peer: {}",
         "4:3: hosts.peer: a host of the lab cannot be joined with real ones (dut)"),
        ("peer: {ssh: peer.example, interface: eth0, address: [192.0.2.8]}", "peer: {selftest: remote, ssh: x}",
         "hosts.peer.ssh: the environment of the kernel's selftests says it"),
    ],
)  # fmt: skip
def test_a_contradiction_is_told_with_its_place(old: str, new: str, said: str) -> None:
    assert any(said in line for line in mistakes_of(changed((old, new), text=REAL)))


@pytest.mark.parametrize("key", ["settings: [ethtool -K eth0 gro off]", "teardown: [rm x]", "address: [192.0.2.1]"])
def test_keys_of_real_machines_are_refused_in_a_lab(key: str) -> None:
    text = changed(("client: {}", f"client: {{{key}}}"))
    name = key.partition(":")[0]
    assert any(f"hosts.client.{name}: {name} is for real machines" in line for line in mistakes_of(text))


def test_a_sysctl_of_the_whole_machine_is_a_real_machines_own() -> None:
    (scenario,) = load_text(changed(("interface: eth1", "interface: eth1, sysctl: {net.core.rmem_max: 99999}"),
                                    text=REAL), "x.yaml")  # fmt: skip
    assert scenario.hosts["dut"].sysctl == {"net.core.rmem_max": 99999}


def test_who_does_not_trust_a_file_is_not_led_to_other_machines() -> None:
    with pytest.raises(ScenarioError, match=r"x.yaml:3:30: hosts.dut.interface: this measures on a real machine"):
        read_text(REAL, "x.yaml", commands=False)


def test_where_a_machine_is_reached_changes_no_digest_and_a_setting_does() -> None:
    (here,) = load_text(REAL, "x.yaml")
    (elsewhere,) = load_text(changed(("root@192.0.2.7", "root@192.0.2.77"), text=REAL), "x.yaml")
    (other,) = load_text(changed(("interface: eth1", "interface: eth1, settings: [ethtool -K eth1 gro off]"),
                                 text=REAL), "x.yaml")  # fmt: skip
    assert here.digest == elsewhere.digest
    assert here.digest != other.digest
    assert here.workload_digest == other.workload_digest
