"""Metrics of the layers beside TCP, from observations, hosts' counters, sockets' buffers and links' reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from perfcheck.analyse import cross_checks, trial_metrics
from perfcheck.analyse.layers import layer_metrics, link_metrics
from perfcheck.analyse.socket import buffer_metrics
from perfcheck.collect.kernel import machine, snmp_metrics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import FlowKey, Histogram, Protocol, SocketBuffers
from perfcheck.model.metric import STATS, Layer
from perfcheck.model.observation import FlowReport, HostCounters, LinkReport, Observation, TrafficReport
from perfcheck.model.traffic import GENERATORS
from perfcheck.testing import make_scenario

LAYERS = (Layer.SOCKET, Layer.UDP, Layer.IP, Layer.QDISC, Layer.NIC, Layer.CPU)


def of_values(unit: str, *values: float) -> Histogram:
    edges = (0.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
    counts = [sum(low <= value < high for value in values) for low, high in pairwise(edges)]
    return Histogram(
        unit=unit, edges=edges, counts=tuple(counts), minimum=min(values), maximum=max(values), total=sum(values)
    )


def test_every_metric_of_these_layers_says_what_it_is() -> None:
    specs = [spec for spec in CATALOGUE.values() if spec.layer in LAYERS]
    assert {spec.layer for spec in specs} == set(LAYERS)
    for spec in specs:
        quantity, _, stat = spec.name.partition(".")[2].partition(".")
        assert stat == "" or stat in STATS
        assert spec.meaning
        assert spec.source
        # Of generators one is enough.
        assert (
            len(spec.needs) == 1
            or set(spec.needs) <= set(GENERATORS)
            or (spec.needs[0] == "machine" and set(spec.needs[1:]) <= set(machine.PARTS))
        )
        assert quantity.endswith(f"_{spec.unit}") or spec.unit == "count" or quantity.startswith(f"{spec.unit}_")
        assert spec.host_wide == ("(whole machine)" in spec.meaning)


def test_only_declared_stats_of_a_distribution_become_metrics() -> None:
    seen = Observation(collector="cpu", distributions={"cpu.emulator_runq_delay_us": of_values("us", 5, 15, 15, 60)})
    found = layer_metrics([seen])
    assert found.keys() == {f"cpu.emulator_runq_delay_us.{stat}" for stat in ("p50", "p99", "max")}
    assert found["cpu.emulator_runq_delay_us.max"] == 60


def test_distributions_of_the_same_name_are_merged() -> None:
    seen = [
        Observation(collector=name, distributions={"qdisc.sojourn_us": of_values("us", value)})
        for name, value in (("a", 5), ("b", 95))
    ]
    assert layer_metrics(seen)["qdisc.sojourn_us.mean"] == 50


def counted(**window: int) -> Observation:
    return Observation(collector="host", host_counters=(HostCounters(host="client", counters={}, window=window),))


def test_hosts_counters_of_both_families_add_up_and_the_warm_up_is_left_out() -> None:
    first = HostCounters(host="client", counters={"Udp.InErrors": 50}, window={"Udp.InErrors": 2, "Udp6InErrors": 1})
    second = HostCounters(host="server", counters={}, window={"Udp.InErrors": 4})
    found = snmp_metrics.metrics_of((first, second))
    assert found == {"udp.in_errors": 7.0}
    early = HostCounters(host="client", counters={"Udp.InErrors": 50})
    assert snmp_metrics.metrics_of((early,)) == {}


def report(way: str, received: int = 100, **more: Any) -> LinkReport:
    return LinkReport(link=0, way=way, emulator="relay", received=received, delivered=90, **more)


def test_the_emulated_queue_is_told_under_its_own_names() -> None:
    links = [{"between": ["client", "server"], "forward": {"rate": "10mbit", "queue": "100p"}}]
    scenario = make_scenario(links=links)
    reports = [
        report("forward", received=110, dropped_loss=10, dropped_queue=5, max_queue_bytes=9000),
        report("reverse", dropped_queue=50),
    ]
    assert link_metrics(scenario, reports) == {
        "qdisc.link_drops": 5, "qdisc.link_queue_bytes.max": 9000, "qdisc.link_drop_pct": 5,
    }  # fmt: skip


def test_a_link_without_a_rate_has_no_queue() -> None:
    scenario = make_scenario(links=[{"between": ["client", "server"], "delay": "5ms"}])
    assert link_metrics(scenario, [report("forward"), report("reverse")]) == {}


def key(host: str, port: int, peer: int, protocol: Protocol = Protocol.TCP) -> FlowKey:
    return FlowKey(
        protocol=protocol, host=host, local=f"198.18.0.{1 + (host == 'server')}", local_port=port,
        remote=f"198.18.0.{2 - (host == 'server')}", remote_port=peer,
    )  # fmt: skip


def buffers(at: FlowKey, snd: float, rcv: float, drops: int = 0) -> SocketBuffers:
    return SocketBuffers(
        key=at, snd_use_pct=of_values("pct", snd), rcv_use_pct=of_values("pct", rcv), drops=drops,
        sendq_bytes=of_values("bytes", snd), recvq_bytes=of_values("bytes", rcv), sndbuf_bytes=1000, rcvbuf_bytes=2000,
    )  # fmt: skip


def traffic(*flows: FlowReport, background: bool = False) -> TrafficReport:
    return TrafficReport(generator="test", flows=flows, metrics={}, start_ns=0, end_ns=1, background=background)


def flow(port: int, protocol: Protocol = Protocol.TCP) -> FlowReport:
    return FlowReport(sender=key("client", port, 5201, protocol), receiver=key("server", 5201, port, protocol))


def observed(sockets: Sequence[SocketBuffers]) -> list[Observation]:
    return [Observation(collector="socket", socket_buffers=tuple(sockets))]


SOCKETS = (
    buffers(key("client", 40000, 5201), snd=80, rcv=1),
    buffers(key("server", 5201, 40000), snd=2, rcv=30, drops=3),
    buffers(key("client", 40001, 5201), snd=500, rcv=500, drops=100),
    buffers(key("server", 5201, 40001), snd=500, rcv=500, drops=100),
)


def test_requests_take_no_buffers_of_background_traffic_that_names_no_flows_either() -> None:
    server = key("server", 5201, 40001)
    sockets = (SOCKETS[0], buffers(key("client", 40001, 5202), snd=500, rcv=500, drops=100))
    behind = replace(traffic(background=True), served=((server.local, 5202),))
    found = buffer_metrics(observed(sockets), [traffic(), behind])
    assert (found["socket.snd_use_pct.max"], found["socket.drops"]) == (80, 0)


def test_the_senders_buffer_counts_for_sending_and_the_receivers_for_receiving() -> None:
    found = buffer_metrics(observed(SOCKETS), [traffic(flow(40000)), traffic(flow(40001), background=True)])
    assert (found["socket.snd_use_pct.max"], found["socket.rcv_use_pct.max"], found["socket.drops"]) == (80, 30, 3)
    assert (found["socket.sndbuf_bytes.max"], found["socket.rcvbuf_bytes.max"]) == (1000, 2000)
    assert found.keys() <= CATALOGUE.keys()


def test_a_flow_of_another_protocol_is_another_flow() -> None:
    assert buffer_metrics(observed(SOCKETS), [traffic(flow(40000, Protocol.UDP))]) == {}


def test_a_generator_that_names_no_flows_takes_what_nobody_else_names() -> None:
    listener = buffers(key("server", 5201, 0), snd=900, rcv=900)
    own = buffers(key("client", 50000, 80), snd=40, rcv=60)
    found = buffer_metrics(observed([*SOCKETS, listener, own]), [traffic(), traffic(flow(40001), background=True)])
    assert (found["socket.snd_use_pct.max"], found["socket.rcv_use_pct.max"]) == (80, 60)


def drops(qdiscs: float, **reasons: float) -> list[Observation]:
    named = {f"qdisc.drops_{name}": value for name, value in reasons.items()}
    return [
        Observation(collector="drops", metrics=named), Observation(collector="netlink", metrics={"qdisc.drops": qdiscs})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("observations", "expected"),
    [
        (drops(1000, full=300, unspecified=690), [("qdisc.drops", 990, 1000, True)]),
        (drops(1000, full=300, unspecified=500), [("qdisc.drops", 800, 1000, False)]),
        (drops(0, full=9), [("qdisc.drops", 9, 0, True)]),
        (drops(5)[1:], []),
    ],
)
def test_drops_by_reason_are_held_against_the_qdiscs_own_counters(
    observations: Sequence[Observation], expected: list[tuple[str, float, float, bool]]
) -> None:
    found = [(one.name, one.ours, one.theirs, one.agrees) for one in cross_checks(0, [], observations)]
    assert found == expected


@pytest.mark.parametrize(("counted", "agrees"), [(1000, False), (109, False), (105, True)])
def test_runs_of_softirqs_are_held_against_proc(counted: int, agrees: bool) -> None:
    runs = of_values("us", *[15.0] * counted)
    observations = [
        Observation(collector="nic", distributions={"nic.rx_softirq_run_us": runs}),
        Observation(collector="machine", metrics={"nic.rx_softirqs": 5.0}),
    ]
    assert [one.agrees for one in cross_checks(0, [], observations)] == [agrees]


@pytest.mark.parametrize(("timed_pct", "expected"), [(100.0, [False]), (99.5, [False]), (20.0, [])])
def test_softirqs_that_were_watched_a_part_of_the_time_are_not_held_against_all_of_them(
    timed_pct: float, expected: list[bool]
) -> None:
    observations = [
        Observation(
            collector="nic", metrics={"nic.softirqs_timed_pct": timed_pct},
            distributions={"nic.rx_softirq_run_us": of_values("us", *[15.0] * 200)},
        ),
        Observation(collector="machine", metrics={"nic.rx_softirqs": 1000.0}),
    ]  # fmt: skip
    assert [one.agrees for one in cross_checks(0, [], observations)] == expected


@pytest.mark.parametrize("observations", [[], observed([])])
def test_nothing_seen_gives_nothing(observations: Sequence[Observation]) -> None:
    assert buffer_metrics(observations, [traffic(flow(40000))]) == {}
    assert trial_metrics(make_scenario(), [traffic(flow(40000))], observations) == {}
