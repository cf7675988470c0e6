"""Load between real hosts: what the generator says is what the kernels count, also behind a router that translates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lab_building import BuildLab
from measured import measured

from perfcheck.errors import TrafficError
from perfcheck.lab import Lab
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import TrafficSpec
from perfcheck.runner import Runner
from perfcheck.traffic import Load

pytestmark = pytest.mark.kernel


@pytest.fixture
def wire(build_lab: BuildLab) -> Iterator[Lab]:
    with build_lab() as lab:
        yield lab


def run(lab: Lab, **keys: Any) -> TrafficReport:
    entry = {"from": "client", "to": "server", "kind": "stream", "count": 2000, "size": "100b", **keys}
    session = Load().prepare(TrafficSpec.model_validate({"load": entry}), lab.hosts, 0)
    try:
        session.start()
        return session.wait()
    finally:
        session.stop()


def counters(lab: Lab, host: str, *names: str) -> tuple[int, ...]:
    """Return the host's counters as iproute2's nstat reads them."""
    lines = lab.hosts[host].run(["nstat", "-a", "-s", "-z", *names]).stdout.decode().splitlines()
    found = {line.split()[0]: int(line.split()[1]) for line in lines if line.strip() and not line.startswith("#")}
    return tuple(found[name] for name in names)


@pytest.mark.parametrize(
    ("kind", "sent", "names"),
    [
        ("connections", (2000, 0), ("TcpActiveOpens", "TcpPassiveOpens")),
        ("requests", (1, 0), ("TcpActiveOpens", "TcpPassiveOpens")),
        # 63 bursts of 32, each answered by one.
        ("datagrams", (2016, 63), ("UdpOutDatagrams", "UdpInDatagrams")),
    ],
)
def test_counts_are_the_kernels(wire: Lab, kind: str, sent: tuple[int, int], names: tuple[str, str]) -> None:
    before = [counters(wire, host, *names) for host in ("client", "server")]
    run(wire, kind=kind)
    after = [counters(wire, host, *names) for host in ("client", "server")]
    grown = [tuple(b - a for a, b in zip(*ends, strict=True)) for ends in zip(before, after, strict=True)]
    assert grown == [sent, sent[::-1]]


def test_the_first_failure_ends_the_run(wire: Lab) -> None:
    for rule in (
        "add table inet t",
        "add chain inet t i { type filter hook input priority 0 ; }",
        "add rule inet t i tcp dport 7000 tcp flags & (syn|ack) == syn numgen inc mod 100 99 reject with tcp reset",
    ):
        assert wire.hosts["server"].run(["nft", rule]).returncode == 0
    with pytest.raises(TrafficError, match="failed with status 1: connect: Connection refused"):
        run(wire, kind="connections")


def test_behind_a_nat_both_ends_of_the_flow_are_known(runner: Runner) -> None:
    record = measured(runner, """
scenario: load-nat
hosts: {client: {}, router: {router: true, nat: [server]}, server: {}}
links: [{between: [client, router]}, {between: [router, server]}]
traffic: [{name: bulk, load: {from: client, to: server, kind: stream, count: 4000, size: 64kb}}]
repeat: 1
""")  # fmt: skip
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["tcp.connections"] == 1
    assert value["app.throughput_bps"] == pytest.approx(8e6 * 4000 * 64_000 / value["app.duration_us"])
    assert value["app.throughput_bps"] == pytest.approx(value["tcp.delivery_rate_bps"], rel=0.1)
    against = {check.source: check for check in record.cross_checks if check.source.startswith("load:")}
    assert against.keys() == {"load: bytes received", "load: retransmits"}
    assert all(check.agrees for check in record.cross_checks)
    assert against["load: bytes received"].ours == 4000 * 64_000 + 16


def test_requests_know_the_round_trip(runner: Runner) -> None:
    record = measured(runner, """
scenario: load-requests
hosts: {client: {}, server: {}}
links: [{between: [client, server], delay: 5ms}]
traffic: [{load: {from: client, to: server, kind: requests, count: 100, size: 100b}}]
repeat: 1
""")  # fmt: skip
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["app.latency_us.p50"] == pytest.approx(10_000, rel=0.05)
    assert value["app.requests_per_s"] == pytest.approx(1e6 / value["app.latency_us.mean"], rel=0.01)
    assert value["tcp.connections"] == 1
