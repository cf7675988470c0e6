"""What the fingerprint says of the hosts' interfaces, against ethtool(8) and ip(8)."""

from __future__ import annotations

import json

from lab_building import BuildLab

from perfcheck.model.seams import Host

LONG = {
    "rx": "rx-checksumming", "tx": "tx-checksumming", "sg": "scatter-gather", "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload", "gro": "generic-receive-offload",
}  # fmt: skip


def output(host: Host, *argv: str) -> str:
    return host.run(list(argv)).stdout.decode()


def test_driver_offloads_and_qdisc_are_what_the_tools_say(build_lab: BuildLab) -> None:
    with build_lab(hosts={"client": {"setup": ["ethtool -K eth0 tso off"]}, "server": {}}) as lab:
        found = lab.interfaces()
        for name, host in lab.hosts.items():
            driver = next(line for line in output(host, "ethtool", "-i", "eth0").splitlines() if "driver:" in line)
            features = dict(line.split(": ", 1) for line in output(host, "ethtool", "-k", "eth0").splitlines()[1:])
            on = {short for short, long in LONG.items() if features[long].startswith("on")}
            (link,) = json.loads(output(host, "ip", "-j", "link", "show", "eth0"))
            assert found[f"nic.{name}.eth0.driver"] == driver.split()[1]
            assert set(found[f"nic.{name}.eth0.offloads"].split()) == on
            assert found[f"nic.{name}.eth0.qdisc"] == link["qdisc"]
    assert "tso" in found["nic.server.eth0.offloads"].split()
    assert "tso" not in found["nic.client.eth0.offloads"].split()
    assert not any(".lo." in field for field in found)
