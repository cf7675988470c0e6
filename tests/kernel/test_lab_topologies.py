"""Labs of more than two hosts: families, ways there and back, address translation, MTUs and shared bottlenecks.

Which way packets went is told by the kernel's counts of interfaces and sockets, not by the lab's plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from measured import measured

from perfcheck.lab import Lab
from perfcheck.lab.links import emulators
from perfcheck.model.names import Family
from perfcheck.model.observation import LinkReport, TrafficReport
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Host
from perfcheck.runner import Runner
from perfcheck.scenario import load_text
from perfcheck.system import Journal, new_tag
from perfcheck.traffic import generators

pytestmark = pytest.mark.kernel

ipv6_only_with_ipv6 = pytest.mark.skipif(
    not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6: build it with CONFIG_IPV6"
)

TWO = """
scenario: two
hosts: {client: {congestion: cubic}, server: {congestion: cubic}}
links: [{between: [client, server], delay: 2ms, rate: 50mbit}]
traffic:
  - iperf3: {from: client, to: server, bytes: 2mb, family: ipv6}
  - iperf3: {from: client, to: server, bytes: 1mb}
repeat: 1
"""
ROUND = """
scenario: round
hosts:
  client: {congestion: cubic, via: {server: up}}
  up: {router: true}
  down: {router: true}
  server: {congestion: cubic, via: {client: down}}
links:
  - {between: [client, up], delay: 3ms}
  - {between: [up, server]}
  - {between: [server, down]}
  - {between: [down, client], delay: 1ms, reverse: {delay: 50ms}, forward: {delay: 20ms}}
traffic:
  - iperf3: {from: client, to: server, bytes: 300kb, family: FAMILY}
repeat: 1
"""
NAT = """
scenario: behind-nat
hosts:
  client: {congestion: cubic}
  home: {router: true, nat: [server]}
  server: {congestion: cubic}
links:
  - {between: [client, home], delay: 2ms, rate: 30mbit}
  - {between: [home, server]}
traffic:
  - TRAFFIC
repeat: 1
"""


@contextmanager
def lab_of(text: str) -> Iterator[tuple[Scenario, Lab]]:
    (scenario,) = load_text(text, "topology.yaml")
    with Journal.create(new_tag()) as journal, Lab(scenario, journal, emulators()) as lab:
        lab.apply_settings()
        yield scenario, lab


def driven(scenario: Scenario, lab: Lab) -> tuple[list[TrafficReport], tuple[LinkReport, ...]]:
    """Drive the traffic, one entry after the other, as one trial of the links."""
    lab.begin_trial(0)
    reports = []
    for spec in scenario.traffic:
        session = generators()[spec.generator].prepare(spec, lab.hosts, 0)
        try:
            session.start()
            reports.append(session.wait())
        finally:
            session.stop()
    return reports, lab.end_trial()


def device_bytes(host: Host, ifname: str) -> tuple[int, int]:
    """Return the kernel's own counts of bytes received and sent on an interface."""
    (link,) = json.loads(host.run(["ip", "-j", "-s", "link", "show", ifname]).stdout)
    return link["stats64"]["rx"]["bytes"], link["stats64"]["tx"]["bytes"]


@ipv6_only_with_ipv6
def test_each_traffic_uses_the_family_that_it_asks_for() -> None:
    with lab_of(TWO) as (scenario, lab):
        assert lab.hosts["server"].address_towards("client", "ipv6") == "2001:2::2"
        (six, four), (forward, _, *_) = driven(scenario, lab)
    (flow6,), (flow4,) = six.flows, four.flows
    assert (flow6.sender.local, flow6.sender.remote) == ("2001:2::1", "2001:2::2")
    assert (flow4.sender.local, flow4.sender.remote) == ("198.18.0.1", "198.18.0.2")
    assert forward.extra["received_bytes"] > 3e6


@ipv6_only_with_ipv6
def test_both_families_are_measured_side_by_side(runner: Runner) -> None:
    record = measured(runner, TWO)
    assert record.metrics["tcp.connections"].value == 2
    acked = [check for check in record.cross_checks if check.name == "tcp.bytes_acked"]
    assert {round(check.ours / 1e6) for check in acked if "iperf3" in check.source} == {1, 2}
    assert all(check.agrees for check in acked), acked


@pytest.mark.parametrize("family", ["ipv4", pytest.param("ipv6", marks=ipv6_only_with_ipv6)])
def test_the_way_back_is_another_where_the_file_says_so(family: Family) -> None:
    with lab_of(ROUND.replace("FAMILY", family)) as (scenario, lab):
        _, reports = driven(scenario, lab)
        up, down = (device_bytes(lab.hosts["server"], name) for name in ("eth0", "eth1"))
        ping = lab.hosts["client"].run(
            ["ping", "-c", "3", "-i", "0.1", "-q", lab.hosts["server"].address_towards("client", family)]
        )
    carried = {(report.link, report.way): report.received for report in reports}
    # There over `up`, 300 kB of data; back over `down`, nothing but acknowledgments.
    assert up[0] > 300_000
    assert up[1] < 60_000
    assert down[1] > 2000 > down[0]
    assert carried[(0, "forward")] > 200
    assert carried[(0, "reverse")] == carried[(3, "reverse")] == 0
    assert carried[(3, "forward")] > 20
    # 3 ms there and 20 ms back.
    least_ms = float(ping.stdout.decode().rpartition(" = ")[2].partition("/")[0])
    assert least_ms == pytest.approx(23, abs=1.5)


def test_the_round_trip_of_two_ways_is_measured(runner: Runner) -> None:
    record = measured(runner, ROUND.replace("FAMILY", "ipv4"))
    assert record.metrics["tcp.min_rtt_us"].value == pytest.approx(23_000, rel=0.1)


def test_a_router_translates_addresses_and_flows_are_matched_on_both_sides(runner: Runner) -> None:
    iperf3 = "iperf3: {from: client, to: server, duration: 1s, streams: 2}"
    with lab_of(NAT.replace("TRAFFIC", iperf3)) as (scenario, lab):
        outside = lab.hosts["home"].address_towards("server")
        inside = lab.hosts["client"].addresses[0]
        (report,), _ = driven(scenario, lab)
    for flow in report.flows:
        assert (flow.sender.host, flow.sender.local) == ("client", inside)
        assert (flow.receiver.host, flow.receiver.remote) == ("server", outside)
    record = measured(runner, NAT.replace("TRAFFIC", iperf3))
    assert record.metrics["tcp.connections"].value == 2
    checks = [check for check in record.cross_checks if check.name == "tcp.bytes_acked"]
    assert checks
    assert all(check.agrees for check in checks), checks
    # The receivers' sockets, beyond the translation, are found too: only they count what came out of order.
    assert "tcp.ooo_segs" in record.metrics
    assert record.metrics["tcp.handshake_us.p50"].value == pytest.approx(4000, rel=0.3)


def test_a_commands_connections_are_not_counted_twice_behind_a_translation(runner: Runner, tmp_path: Path) -> None:
    command = (
        "command: {host: client, run: 'curl -sSf -o /dev/null http://{server}:8000/big',"
        " server: {host: server, port: 8000, run: 'python3 -m http.server 8000 --directory DIR'}}"
    )
    (tmp_path / "big").write_bytes(bytes(1_000_000))
    record = measured(runner, NAT.replace("TRAFFIC", command.replace("DIR", str(tmp_path))))
    assert record.metrics["tcp.connections"].value == 1


def test_flows_share_a_bottleneck(runner: Runner) -> None:
    text = """
scenario: shared
hosts:
  one: {congestion: cubic}
  two: {congestion: cubic}
  router: {router: true}
  server: {congestion: cubic}
links:
  - {between: [one, router], delay: 2ms}
  - {between: [two, router], delay: 2ms}
  - {between: [router, server], rate: 20mbit, queue: 60p, delay: 5ms}
traffic:
  - iperf3: {from: one, to: server, duration: 4s}
  - iperf3: {from: two, to: server, duration: 4s, streams: 2, background: true}
repeat: 1
warmup: 1s
"""
    record = measured(runner, text)
    share = record.metrics["app.throughput_bps"].value / (20e6 * 1448 / 1514)
    assert record.metrics["tcp.connections"].value == 1
    assert 0.1 < share < 0.65
    # Longer than both delays: the others' packets stand in the same queue.
    assert record.metrics["tcp.rtt_us.p50"].value > 18_000
    assert record.metrics["qdisc.link_drops"].value > 0


def test_each_link_has_its_own_mtu() -> None:
    text = """
scenario: mtus
hosts: {client: {congestion: cubic}, near: {router: true}, far: {router: true}, server: {}}
links:
  - {between: [client, near], mtu: 9000, delay: 1ms}
  - {between: [near, far], mtu: 1400, delay: 1ms}
  - {between: [far, server], mtu: 9000}
traffic: [{iperf3: {from: client, to: server, duration: 1s, rate: 20mbit}}]
repeat: 1
"""
    with lab_of(text) as (scenario, lab):
        _, (wide, _, narrow, *_) = driven(scenario, lab)
        address = lab.hosts["server"].address_towards("client")
        learned = lab.hosts["client"].run(["ip", "route", "get", address]).stdout
    assert b"mtu 1400" in learned
    assert narrow.extra["oversize"] == wide.extra["oversize"] == 0
    # But for the packets from which the path's MTU was learned, all are cut to it.
    assert narrow.received > 1000
    assert 1300 < narrow.extra["received_bytes"] / narrow.received <= 1414
