from __future__ import annotations

from typing import Any

import pytest

from perfcheck.analyse import cross_checks
from perfcheck.model.flow import Protocol, TcpSocket
from perfcheck.model.observation import FlowReport, HostCounters, Observation, TrafficReport
from perfcheck.model.record import CrossCheck
from perfcheck.testing import make_flow_report, make_tcp_socket


def checks(
    flow: FlowReport, socket: TcpSocket, *observations: Observation, background: bool = False
) -> dict[tuple[str, str], CrossCheck]:
    report = TrafficReport(
        generator="iperf3", flows=(flow,), metrics={}, start_ns=0, end_ns=10**9, background=background
    )
    seen = (Observation(collector="tcp", tcp_sockets=(socket,)), *observations)
    return {(check.name, check.source): check for check in cross_checks(4, [report], seen)}


def socket_of(flow: FlowReport, **changes: Any) -> TcpSocket:
    return make_tcp_socket(flow.sender, **changes)


@pytest.mark.parametrize(
    ("acked", "agrees"),
    [(10_000_000, True), (9_901_000, True), (9_899_000, False), (10_300_000, True), (10_605_000, True),
     (10_620_000, False)],
)  # fmt: skip
def test_bytes_acknowledged_lie_between_what_was_read_and_what_was_written(acked: int, agrees: bool) -> None:
    flow = make_flow_report(bytes_sent=10_500_000, bytes_received=10_000_000)
    found = checks(flow, socket_of(flow, whole_bytes_acked=acked))
    (check,) = [check for (name, _), check in found.items() if name == "tcp.bytes_acked"]
    assert check.agrees is agrees
    assert check.ours == acked
    assert check.theirs in (10_000_000, 10_500_000)
    assert check.trial == 4
    assert check.tolerance_pct == 1.0


@pytest.mark.parametrize(
    ("ours", "theirs", "agrees"), [(0, 0, True), (1, 0, True), (2, 0, False), (102, 100, True), (103, 100, False)]
)
def test_retransmissions_agree_within_2_pct_or_one_segment(ours: int, theirs: int, agrees: bool) -> None:
    flow = make_flow_report(retransmits=theirs)
    found = checks(flow, socket_of(flow, whole_retrans_segs=ours))
    assert found["tcp.retrans_segs", "iperf3: retransmits"].agrees is agrees


def test_a_generator_that_does_not_say_is_not_compared() -> None:
    flow = make_flow_report(bytes_sent=None, bytes_received=None, retransmits=None)
    assert checks(flow, socket_of(flow)) == {}


def test_the_hosts_own_counter_stands_beside_all_its_sockets() -> None:
    flow = make_flow_report()
    other = make_tcp_socket(make_flow_report(sender_port=1).sender, whole_retrans_segs=5)
    host = Observation(
        collector="netstat", host_counters=(HostCounters(host="client", counters={"Tcp.RetransSegs": 45}),)
    )
    core = Observation(collector="tcp", tcp_sockets=(socket_of(flow, whole_retrans_segs=40), other))
    found = {check.name: check for check in cross_checks(0, [], [host, core])}
    check = found["tcp.retrans_segs@client"]
    assert (check.ours, check.theirs, check.agrees) == (45, 45, True)
    assert check.source == "/proc/net/snmp of client: Tcp.RetransSegs"


def test_what_a_connection_had_retransmitted_before_the_trial_is_not_compared_with_its_hosts_counter() -> None:
    old = {"whole_retrans_segs": 40_000, "counters": {"retrans_segs": 7}, "established_ns": 0}
    core = Observation(collector="tcp", tcp_sockets=(socket_of(make_flow_report(), **old),))
    host = Observation(
        collector="netstat", host_counters=(HostCounters(host="client", counters={"Tcp.RetransSegs": 7}),)
    )
    (check,) = cross_checks(0, [], [host, core])
    assert (check.ours, check.theirs, check.agrees) == (7, 7, True)


def test_a_host_without_the_counter_or_without_sockets_is_not_compared() -> None:
    flow = make_flow_report()
    counters = (HostCounters(host="client", counters={}), HostCounters(host="idle", counters={"Tcp.RetransSegs": 3}))
    found = checks(flow, socket_of(flow), Observation(collector="netstat", host_counters=counters))
    assert not [name for name, _ in found if "@" in name]


def test_a_poller_may_lack_what_came_after_its_last_look() -> None:
    flow = make_flow_report()
    mine = socket_of(flow, whole_bytes_acked=10_000_000)
    early = socket_of(flow, whole_bytes_acked=9_000_000, last_ns=1_900_000_000)
    late = socket_of(flow, whole_bytes_acked=9_000_000)
    by_early = checks(flow, mine, Observation(collector="sockdiag", tcp_sockets=(early,)))
    by_late = checks(flow, mine, Observation(collector="sockdiag", tcp_sockets=(late,)))
    assert by_early["tcp.bytes_acked", "sockdiag"].tolerance_pct == pytest.approx(12.0)
    assert by_early["tcp.bytes_acked", "sockdiag"].agrees
    assert not by_late["tcp.bytes_acked", "sockdiag"].agrees


def test_background_traffic_is_checked_by_its_hosts_counters_only() -> None:
    flow = make_flow_report(retransmits=7)
    assert checks(flow, socket_of(flow), background=True) == {}


def test_the_fallback_is_checked_against_the_generator_where_the_core_is_missing() -> None:
    flow = make_flow_report()
    report = TrafficReport(generator="iperf3", flows=(flow,), metrics={}, start_ns=0, end_ns=1)
    polled = Observation(collector="sockdiag", tcp_sockets=(socket_of(flow),))
    names = {(check.name, check.source) for check in cross_checks(0, [report], [polled])}
    assert names == {("tcp.bytes_acked", "iperf3: bytes received"), ("tcp.retrans_segs", "iperf3: retransmits")}


@pytest.mark.parametrize(("arrived", "agrees"), [(95_000, True), (94_100, True), (93_900, False), (96_100, False)])
def test_datagrams_that_arrived_agree_with_both_hosts_counters(arrived: int, agrees: bool) -> None:
    flow = make_flow_report(protocol=Protocol.UDP, bytes_sent=100_000, bytes_received=arrived)
    report = TrafficReport(generator="iperf3", flows=(flow,), metrics={}, start_ns=0, end_ns=1)
    counters = (
        HostCounters(host="client", counters={"Udp.OutDatagrams": 1000}),
        HostCounters(host="server", counters={"Udp.InDatagrams": 950}),
    )
    host = Observation(collector="host", host_counters=counters)
    (check,) = cross_checks(0, [report], [host])
    assert (check.name, check.agrees) == ("udp.delivered_pct", agrees)
    assert check.theirs == pytest.approx(95.0)
    back = make_flow_report("server", "client", protocol=Protocol.UDP)
    both = TrafficReport(generator="iperf3", flows=(flow, back), metrics={}, start_ns=0, end_ns=1)
    assert cross_checks(0, [both], [host]) == ()
