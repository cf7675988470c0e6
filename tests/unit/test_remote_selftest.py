"""The environment of the kernel's driver selftests names hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcheck.errors import Unavailable
from perfcheck.model.scenario import Scenario
from perfcheck.remote.selftest import placed
from perfcheck.scenario import load_text

TEXT = """\
scenario: driver
hosts:
  dut: {selftest: local, settings: [ethtool -K eth1 gro off]}
  peer: {selftest: remote, python: /opt/bin/python}
links: [{between: [dut, peer]}]
traffic: [{iperf3: {from: dut, to: peer, duration: 1s}}]
"""
SSH = {
    "NETIF": "eth1", "LOCAL_V4": "192.0.2.1", "REMOTE_V4": "192.0.2.2", "REMOTE_V6": "2001:db8::2",
    "REMOTE_TYPE": "ssh", "REMOTE_ARGS": "root@192.0.2.2",
}  # fmt: skip


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    (found,) = load_text(TEXT, str(tmp_path / "driver.yaml"))
    return found


def test_ssh(scenario: Scenario) -> None:
    hosts = placed(scenario, SSH).hosts
    assert (hosts["dut"].interface, hosts["dut"].address) == ("eth1", ("192.0.2.1",))
    assert hosts["dut"].ssh is None
    assert hosts["dut"].settings == scenario.hosts["dut"].settings
    assert (hosts["peer"].ssh, hosts["peer"].interface) == ("root@192.0.2.2", None)
    assert hosts["peer"].address == ("192.0.2.2", "2001:db8::2")
    assert hosts["peer"].python == "/opt/bin/python"
    assert all(spec.is_real and spec.selftest is None for spec in hosts.values())


def test_a_file_beside_the_scenario_and_the_environment_before_it(scenario: Scenario) -> None:
    config = Path(scenario.file).with_name("net.config")
    config.write_text(
        '# peer\nNETIF=eth7\nLOCAL_V4="192.0.2.1"\nREMOTE_TYPE=netns\nREMOTE_ARGS=red\nREMOTE_V4=192.0.2.9\n'
    )
    hosts = placed(scenario, {"NETIF": "eth8", "OTHER": "x"}).hosts
    assert hosts["dut"].interface == "eth8"
    assert (hosts["peer"].netns, hosts["peer"].address) == ("red", ("192.0.2.9",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"NETIF": ""}, "host dut is not available: NETIF is not set"),
        ({"NETIF": "../x"}, "interface: expected the name of a network interface"),
        ({"REMOTE_TYPE": ""}, "host peer is not available: REMOTE_TYPE is not set"),
        ({"REMOTE_TYPE": "telnet"}, "REMOTE_TYPE=telnet is not understood"),
        ({"REMOTE_ARGS": "-oProxyCommand=x"}, "ssh: expected a destination of ssh"),
        ({"REMOTE_V4": "", "REMOTE_V6": ""}, "neither REMOTE_V4 nor REMOTE_V6 nor REMOTE_IFNAME is set"),
        ({"REMOTE_V4": "nonsense"}, "address.0: expected an IP address"),
    ],
)
def test_what_is_missing_or_wrong_is_told(scenario: Scenario, change: dict[str, str], said: str) -> None:
    with pytest.raises(Unavailable) as caught:
        placed(scenario, {**SSH, **change})
    assert said in str(caught.value)


def test_other_scenarios_ask_nothing_of_the_environment(tmp_path: Path) -> None:
    text = TEXT.replace("selftest: local", "interface: eth1").replace("selftest: remote", "netns: red, interface: e0")
    (scenario,) = load_text(text, str(tmp_path / "x.yaml"))
    assert placed(scenario, {}) is scenario
