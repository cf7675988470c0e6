"""Short connections between real hosts: what the generator counts is what the kernels count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import pytest
from lab_building import BuildLab
from measured import measured

from perfcheck.lab import Lab
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.model.seams import Host
from perfcheck.runner import Runner
from perfcheck.system.clock import wait_until
from perfcheck.traffic import Connections

pytestmark = pytest.mark.kernel

COUNTERS: Final = ("ActiveOpens", "PassiveOpens", "EstabResets", "AttemptFails")
PORT: Final = 9000


@pytest.fixture
def wire(build_lab: BuildLab) -> Iterator[Lab]:
    with build_lab() as lab:
        yield lab


def nstat(host: Host, *names: str) -> dict[str, int]:
    """Return the host's counters as iproute2's nstat reads them."""
    wanted = [f"{prefix}{name}" for name in names for prefix in ("Tcp", "TcpExt")]
    lines = host.run(["nstat", "-a", "-s", "-z", *wanted]).stdout.decode().splitlines()
    found = {line.split()[0]: int(line.split()[1]) for line in lines if line.strip() and not line.startswith("#")}
    return {name: found.get(f"Tcp{name}", found.get(f"TcpExt{name}", -1)) for name in names}


def run(lab: Lab, **keys: Any) -> TrafficReport:
    entry = {"from": "client", "to": "server", "duration": "1s", **keys}
    session = Connections().prepare(TrafficSpec.model_validate({"connections": entry}), lab.hosts, 0)
    try:
        session.start()
        return session.wait()
    finally:
        session.stop()


def counts(report: TrafficReport) -> Mapping[str, int]:
    found = report.raw["counts"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("keys", [{"rate": 500}, {}, {"rate": 100, "size": "200kb"}, {"rate": 100, "family": "ipv6"}])
def test_counts_are_the_kernels(wire: Lab, keys: dict[str, Any]) -> None:
    client, server = wire.hosts["client"], wire.hosts["server"]
    before = {host.name: nstat(host, *COUNTERS) for host in (client, server)}
    found = counts(run(wire, **keys))
    after = {host.name: nstat(host, *COUNTERS) for host in (client, server)}
    grown = {name: {key: after[name][key] - before[name][key] for key in COUNTERS} for name in after}
    assert found["opened"] == found["done"] >= 100
    assert grown["client"] == {"ActiveOpens": found["opened"], "PassiveOpens": 0, "EstabResets": 0, "AttemptFails": 0}
    assert grown["server"] == {"ActiveOpens": 0, "PassiveOpens": found["opened"], "EstabResets": 0, "AttemptFails": 0}


def test_resets_are_the_kernels(wire: Lab) -> None:
    client, server = wire.hosts["client"], wire.hosts["server"]
    # Every second request, and nothing else, is answered by RST.
    for rule in (
        "add table inet t",
        "add chain inet t i { type filter hook input priority 0 ; }",
        f"add rule inet t i tcp dport {PORT} tcp flags & (psh|ack) == psh|ack numgen inc mod 2 0 reject with tcp reset",
    ):
        assert server.run(["nft", rule]).returncode == 0
    before = nstat(client, *COUNTERS)
    report = run(wire, rate=200)
    after, found = nstat(client, *COUNTERS), counts(report)
    assert found["reset"] == pytest.approx(found["opened"] / 2, abs=2)
    assert found["done"] + found["reset"] == found["opened"]
    assert after["ActiveOpens"] - before["ActiveOpens"] == found["opened"]
    assert after["EstabResets"] - before["EstabResets"] == found["reset"]
    assert report.metrics["app.resets"] == report.metrics["app.errors"] == found["reset"]


def test_refusals_are_the_kernels(wire: Lab) -> None:
    client, server = wire.hosts["client"], wire.hosts["server"]
    for rule in (
        "add table inet t",
        "add chain inet t i { type filter hook input priority 0 ; }",
        f"add rule inet t i tcp dport {PORT} tcp flags & (syn|ack) == syn numgen inc mod 4 0 reject with tcp reset",
    ):
        assert server.run(["nft", rule]).returncode == 0
    before = nstat(client, *COUNTERS)
    report = run(wire, rate=200)
    after, found = nstat(client, *COUNTERS), counts(report)
    assert found["refused"] == pytest.approx(found["opened"] / 4, abs=2)
    assert after["AttemptFails"] - before["AttemptFails"] == found["refused"] == report.metrics["app.refused"]


def test_a_full_accept_queue_shows_as_overflows_and_timeouts(wire: Lab) -> None:
    server = wire.hosts["server"]
    before = nstat(server, "ListenOverflows", "ListenDrops")
    report = run(wire, rate=200, accept=20, backlog=4, timeout="1500ms")
    after = nstat(server, "ListenOverflows", "ListenDrops")
    found = counts(report)
    assert after["ListenOverflows"] - before["ListenOverflows"] > 50
    assert after["ListenDrops"] - before["ListenDrops"] >= after["ListenOverflows"] - before["ListenOverflows"]
    assert found["timed_out"] == report.metrics["app.timeouts"] > 50
    # In 2.5 s the server accepts 50, and the queue holds one more than its backlog.
    assert found["done"] <= 50 + 5 + 1
    assert found["done"] + found["timed_out"] == found["opened"]


def test_new_connections_beyond_a_limit_time_out_one_for_each_packet_dropped(wire: Lab) -> None:
    server = wire.hosts["server"]
    for rule in (
        "add table inet t",
        "add chain inet t i { type filter hook input priority 0 ; }",
        f"add rule inet t i tcp dport {PORT} ct state new limit rate over 20/second burst 5 packets counter drop",
    ):
        assert server.run(["nft", rule]).returncode == 0
    # Given up before its SYN is sent again, each connection loses one packet.
    report = run(wire, rate=100, timeout="500ms")
    found = counts(report)
    ruleset = server.run(["nft", "list", "table", "inet", "t"]).stdout.decode()
    (dropped,) = re.findall(r"counter packets (\d+)", ruleset)
    assert found["timed_out"] == int(dropped) == report.metrics["app.timeouts"] > 50
    assert found["done"] + found["timed_out"] == found["opened"]


def _silent(host: Host) -> bool:
    return not host.listening(PORT, "tcp")


def test_nothing_is_left_in_the_hosts(wire: Lab) -> None:
    run(wire, rate=100)
    for host in wire.hosts.values():
        assert wait_until(partial(_silent, host), timeout_s=5)


def test_the_whole_path_knows_its_round_trips(runner: Runner) -> None:
    record = measured(runner, """
scenario: churn
hosts: {client: {congestion: cubic}, server: {congestion: cubic}}
links: [{between: [client, server], delay: 10ms}]
traffic: [{name: churn, connections: {from: client, to: server, rate: 100, duration: 2s}}]
repeat: 1
""")  # fmt: skip
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["app.connect_us.p50"] == pytest.approx(20_000, rel=0.05)
    assert value["app.first_byte_us.p50"] == pytest.approx(40_000, rel=0.1)
    assert value["app.connections_per_s"] == pytest.approx(100, rel=0.01)
    assert value["app.achieved_pct"] >= 99
    assert value["tcp.connections"] == pytest.approx(200, abs=1)
    assert value["tcp.handshake_us.p50"] == pytest.approx(20_000, rel=0.05)
    assert record.subjects["churn"].metrics["app.connect_us.p50"].value == value["app.connect_us.p50"]
