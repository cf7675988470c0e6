from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perfcheck.analyse import aggregate, trial_metrics, unmatched_flows
from perfcheck.analyse.tcp import tcp_metrics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import FlowKey, Protocol, TcpSocket
from perfcheck.model.metric import Layer
from perfcheck.model.observation import FlowReport, Observation, TrafficReport
from perfcheck.model.record import TrialRecord
from perfcheck.testing import make_flow_report, make_histogram, make_scenario, make_tcp_socket

MS_NS = 10**6
COUNTERS = dict.fromkeys((spec.counter for spec in CATALOGUE.values() if spec.counter), 0) | {
    "retrans_fast_segs": 6, "retrans_rto_segs": 3, "retrans_tlp_segs": 1, "retrans_syn_segs": 1, "retrans_segs": 10,
    "lost_segs": 20, "segs_out": 1200, "data_segs_out": 1000, "bytes_acked": 10_000_000, "bytes_received": 100,
    "delivered_segs": 990, "delivered_ce_segs": 99, "dsack_dups_segs": 2, "reord_seen_events": 4, "ooo_segs": 0,
    "busy_us": 900_000, "rwnd_limited_us": 200_000, "sndbuf_limited_us": 100_000, "elapsed_us": 1_000_000,
    "state_open_us": 700_000, "state_disorder_us": 50_000, "state_cwr_us": 50_000, "state_recovery_us": 150_000,
    "state_loss_us": 50_000, "rto_events": 1, "recovery_events": 2, "resets": 0,
}  # fmt: skip
GAUGES = {
    "min_rtt_us": 20_000.0, "rttvar_us": 150.0, "ssthresh_segs": 80.0, "mss_bytes": 1448.0, "snd_wnd_bytes": 3e6,
    "reordering_segs": 3.0, "handshake_us": 20_500.0, "pacing_rate_bps": 120e6, "delivery_rate_bps": 95e6,
}  # fmt: skip


def sender(flow: FlowReport, **changes: Any) -> TcpSocket:
    fields: dict[str, Any] = {"counters": COUNTERS, "gauges": GAUGES}
    return make_tcp_socket(flow.sender, **(fields | changes))


def receiver(flow: FlowReport, **counters: int) -> TcpSocket:
    return make_tcp_socket(
        flow.receiver, counters={"ooo_segs": 30, "retrans_syn_segs": 0, "resets": 0} | counters,
        gauges={}, whole_bytes_acked=0, whole_bytes_received=10_000_000,
    )  # fmt: skip


def report(*flows: FlowReport, **changes: Any) -> TrafficReport:
    fields: dict[str, Any] = {"generator": "iperf3", "flows": flows, "metrics": {}, "start_ns": 0, "end_ns": 10**9}
    return TrafficReport(**(fields | changes))


def test_round_trips_of_slow_start_are_those_of_all_senders_that_tell_them() -> None:
    flow, other = make_flow_report(), make_flow_report(sender_port=40001)
    sockets = [
        sender(flow, slow_start_rtt_us=make_histogram([20_000.0] * 9)), receiver(flow),
        sender(other, slow_start_rtt_us=make_histogram([60_000.0])), receiver(other),
    ]  # fmt: skip
    found = tcp_metrics(sockets, [report(flow, other)], make_scenario())
    assert (found["tcp.slow_start_rtt_us.min"], found["tcp.slow_start_rtt_us.max"]) == (20_000, 60_000)
    assert found["tcp.slow_start_rtt_us.p50"] == pytest.approx(20_000, rel=0.04)
    silent = tcp_metrics([sender(flow), receiver(flow)], [report(flow)], make_scenario())
    assert not [name for name in silent if "slow_start" in name]


def test_one_flow_gives_every_tcp_metric_of_the_catalogue_but_those_of_several() -> None:
    flow = make_flow_report()
    slow = make_histogram([20_000.0, 40_000.0])
    found = tcp_metrics([sender(flow, slow_start_rtt_us=slow), receiver(flow)], [report(flow)], make_scenario())
    declared = {name for name, spec in CATALOGUE.items() if spec.layer is Layer.TCP and "detail" not in spec.needs}
    assert declared - found.keys() == {"tcp.fairness_ratio", "tcp.inflight_share_pct"}
    assert found.keys() <= declared


def test_metrics_of_one_flow_by_hand() -> None:
    flow = make_flow_report()
    rtt_us = [20_000.0] * 500 + [30_000.0] * 500
    found = tcp_metrics([sender(flow, rtt_us=rtt_us), receiver(flow)], [report(flow)], make_scenario())
    expected = {
        "tcp.retrans_pct": 1.0, "tcp.retrans_segs": 10, "tcp.retrans_fast_segs": 6, "tcp.retrans_rto_segs": 3,
        "tcp.retrans_tlp_segs": 1, "tcp.retrans_syn_segs": 1, "tcp.lost_pct": 2.0, "tcp.ce_pct": 10.0,
        "tcp.ooo_segs": 30, "tcp.limited_rwnd_pct": 20.0, "tcp.limited_sndbuf_pct": 10.0,
        "tcp.limited_cwnd_pct": 60.0, "tcp.limited_app_pct": 10.0, "tcp.state_recovery_pct": 15.0,
        "tcp.delivery_rate_bps": 80e6, "tcp.bdp_use_pct": 80.0, "tcp.bdp_bytes": 100e6 * 0.02 / 8,
        "tcp.rtt_us.mean": 25_000.0, "tcp.rtt_us.min": 20_000.0, "tcp.rtt_us.max": 30_000.0,
        "tcp.handshake_us.p50": 20_500.0, "tcp.connections": 1, "tcp.resets": 0, "tcp.mss_bytes": 1448.0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["tcp.queue_delay_us"] == pytest.approx(found["tcp.rtt_us.p50"] - 20_000)
    assert found["tcp.rtt_inflation_ratio"] == pytest.approx(found["tcp.rtt_us.p50"] / 20_000)


def test_a_limit_that_ticks_beyond_the_time_is_all_of_it() -> None:
    flow = make_flow_report()
    counters = COUNTERS | {"busy_us": 1_004_000, "rwnd_limited_us": 1_004_000, "sndbuf_limited_us": 0}
    found = tcp_metrics([sender(flow, counters=counters)], [report(flow)], make_scenario())
    names = ("limited_rwnd_pct", "limited_sndbuf_pct", "limited_cwnd_pct", "limited_app_pct")
    assert [found[f"tcp.{name}"] for name in names] == [100.0, 0.0, 0.0, 0.0]


def test_a_counter_that_was_not_measured_is_absent_and_never_zero() -> None:
    flow = make_flow_report()
    counters = {name: value for name, value in COUNTERS.items() if name not in ("retrans_segs", "busy_us")}
    gauges = {name: value for name, value in GAUGES.items() if name != "min_rtt_us"}
    found = tcp_metrics([sender(flow, counters=counters, gauges=gauges, rtt_us=())], [report(flow)], make_scenario())
    absent = ("retrans_segs", "retrans_pct", "limited_cwnd_pct", "limited_app_pct", "min_rtt_us", "bdp_bytes",
              "rtt_us.p50", "queue_delay_us", "ooo_segs")  # fmt: skip
    assert not {f"tcp.{name}" for name in absent} & found.keys()
    assert found["tcp.limited_rwnd_pct"] == pytest.approx(20.0)


def test_a_counter_that_one_of_two_sockets_lacks_is_absent() -> None:
    flows = [make_flow_report(sender_port=port) for port in (1, 2)]
    without = {name: value for name, value in COUNTERS.items() if name != "lost_segs"}
    sockets = [sender(flows[0]), sender(flows[1], counters=without)]
    found = tcp_metrics(sockets, [report(*flows)], make_scenario())
    assert "tcp.lost_segs" not in found
    assert found["tcp.retrans_segs"] == 20


def test_parallel_flows_add_their_rates_and_sequential_ones_do_not() -> None:
    flows = [make_flow_report(sender_port=port) for port in (1, 2)]
    parallel = [sender(flow) for flow in flows]
    later = replace(parallel[1], first_ns=parallel[0].last_ns, last_ns=parallel[0].last_ns + 1000 * MS_NS)
    scenario = make_scenario()
    together = tcp_metrics(parallel, [report(*flows)], scenario)
    in_turn = tcp_metrics([parallel[0], later], [report(*flows)], scenario)
    assert together["tcp.delivery_rate_bps"] == pytest.approx(160e6)
    assert in_turn["tcp.delivery_rate_bps"] == pytest.approx(80e6)
    assert together["tcp.fairness_ratio"] == pytest.approx(1.0)
    assert together["tcp.connections"] == 2


def test_the_queue_of_a_long_path_is_not_measured_by_a_short_ones_round_trip() -> None:
    near, far = make_flow_report(), make_flow_report(receiver="far", receiver_address="198.18.1.2", sender_port=2)
    sockets = [
        sender(near, rtt_us=[11_000.0] * 500, gauges=GAUGES | {"min_rtt_us": 10_000.0}),
        sender(far, rtt_us=[104_000.0] * 900, gauges=GAUGES | {"min_rtt_us": 100_000.0}),
    ]
    found = tcp_metrics(sockets, [report(near, far)], make_scenario())
    assert found["tcp.min_rtt_us"] == 10_000
    assert found["tcp.queue_delay_us"] == pytest.approx(4_000, abs=1000)
    assert found["tcp.rtt_inflation_ratio"] == pytest.approx(1.1, abs=0.05)


def test_the_paces_of_connections_one_after_the_other_do_not_add_up() -> None:
    flows = [make_flow_report(sender_port=port) for port in (1, 2)]
    first = sender(flows[0])
    later = replace(sender(flows[1]), first_ns=first.last_ns, last_ns=first.last_ns + 1000 * MS_NS)
    found = tcp_metrics([first, later], [report(*flows)], make_scenario())
    assert found["tcp.pacing_rate_bps"] == pytest.approx(GAUGES["pacing_rate_bps"])


def test_answers_from_afar_are_held_against_the_rate_of_their_own_direction() -> None:
    link = {"between": ["client", "server"], "forward": {"rate": "10mbit"}, "reverse": {"rate": "100mbit"}}
    answers = make_flow_report("server", "client", sender_address="198.18.0.2", receiver_address="198.18.0.1")
    scenario = make_scenario(links=[link], traffic=[{"http": {"from": "client", "to": "server"}}])
    sockets = [sender(answers), receiver(answers)]
    found = tcp_metrics(sockets, [report(generator="http")], scenario)
    assert found["tcp.bdp_use_pct"] == pytest.approx(80)


def test_jains_index_of_an_unfair_share() -> None:
    flows = [make_flow_report(sender_port=port) for port in (1, 2)]
    sockets = [sender(flows[0]), sender(flows[1], counters=COUNTERS | {"bytes_acked": 30_000_000})]
    found = tcp_metrics(sockets, [report(*flows)], make_scenario())
    assert found["tcp.fairness_ratio"] == pytest.approx((10 + 30) ** 2 / (2 * (10**2 + 30**2)))


def test_only_the_scenarios_own_flows_count() -> None:
    flow, cross = make_flow_report(), make_flow_report(sender_port=40001)
    stranger = replace(sender(flow), key=replace(flow.sender, host="other"))
    noisy = sender(cross, counters=COUNTERS | {"retrans_segs": 999})
    reports = [report(flow), report(cross, background=True)]
    found = tcp_metrics([noisy, stranger, sender(flow)], reports, make_scenario())
    assert found["tcp.retrans_segs"] == 10
    assert found["tcp.connections"] == 1


def test_reversed_traffic_takes_the_servers_socket_and_the_clients_handshake() -> None:
    flow = make_flow_report("server", "client", sender_address="198.18.0.2", receiver_address="198.18.0.1",
                            sender_port=5201, receiver_port=40000)  # fmt: skip
    serving = sender(flow, gauges={name: value for name, value in GAUGES.items() if name != "handshake_us"})
    connecting = replace(receiver(flow, retrans_syn_segs=2), gauges={"handshake_us": 20_700.0})
    found = tcp_metrics([serving, connecting], [report(flow)], make_scenario())
    assert found["tcp.handshake_us.max"] == 20_700.0
    assert found["tcp.retrans_syn_segs"] == 3


def test_an_ipv4_mapped_address_is_the_ipv4_address() -> None:
    flow = make_flow_report()
    mapped = replace(flow.sender, local=f"::ffff:{flow.sender.local}", remote=f"::ffff:{flow.sender.remote}")
    found = tcp_metrics([replace(sender(flow), key=mapped)], [report(flow)], make_scenario())
    assert found["tcp.connections"] == 1


def test_a_command_takes_all_connections_that_no_other_traffic_claims() -> None:
    own = make_flow_report(sender_port=50_000, receiver_port=8080)
    cross = make_flow_report(sender_port=40_001)
    control = make_flow_report(sender_port=40_000)
    sockets = [
        receiver(own), sender(own), sender(cross, counters=COUNTERS | {"retrans_segs": 500}), receiver(cross),
        sender(control), receiver(control),
    ]  # fmt: skip
    reports = [report(generator="command"), report(cross, background=True)]
    found = tcp_metrics(sockets, reports, make_scenario())
    assert found["tcp.connections"] == 1
    assert found["tcp.retrans_segs"] == 10
    assert found["tcp.ooo_segs"] == 30


def test_requests_take_no_connections_of_background_traffic_that_names_no_flows_either() -> None:
    own = make_flow_report(sender_port=50_000, receiver_port=8080)
    cross = make_flow_report(sender_port=50_001, receiver_port=8081)
    sockets = [receiver(own), sender(own), sender(cross, counters=COUNTERS | {"retrans_segs": 500}), receiver(cross)]
    server = cross.receiver
    behind = report(generator="http", background=True, served=((server.local, server.local_port),))
    found = tcp_metrics(sockets, [report(generator="http"), behind], make_scenario())
    assert (found["tcp.connections"], found["tcp.retrans_segs"]) == (1, 10)


def test_a_commands_connection_through_a_translating_router_is_one() -> None:
    own = make_flow_report(sender_port=50_000, receiver_port=8080)
    beyond = replace(own.receiver, remote="198.18.1.1")
    sockets = [sender(own), replace(receiver(own), key=beyond)]
    found = tcp_metrics(sockets, [report(generator="command")], make_scenario())
    assert (found["tcp.connections"], found["tcp.retrans_segs"], found["tcp.ooo_segs"]) == (1, 10, 30)
    other = replace(beyond, remote_port=50_001)
    sockets = [sender(own), replace(receiver(own), key=other)]
    assert tcp_metrics(sockets, [report(generator="command")], make_scenario())["tcp.connections"] == 2


def test_a_reset_is_counted_once_whichever_end_saw_it() -> None:
    flow = make_flow_report()
    found = tcp_metrics([sender(flow), receiver(flow, resets=1)], [report(flow)], make_scenario())
    assert found["tcp.resets"] == 1


def test_udp_flows_have_no_tcp_metrics() -> None:
    flow = make_flow_report(protocol=Protocol.UDP)
    assert tcp_metrics([], [report(flow)], make_scenario()) == {}


def test_bdp_falls_back_to_the_delivery_rate_on_a_path_without_a_rate() -> None:
    flow = make_flow_report()
    scenario = make_scenario(links=[{"between": ["client", "server"], "delay": "10ms"}])
    found = tcp_metrics([sender(flow)], [report(flow)], scenario)
    assert "tcp.bdp_use_pct" not in found
    assert found["tcp.bdp_bytes"] == pytest.approx(80e6 * 0.02 / 8)


def test_the_core_outranks_the_fallback_whichever_comes_first() -> None:
    flow = make_flow_report()
    core = Observation(collector="tcp", tcp_sockets=(sender(flow, counters={"retrans_segs": 10}),))
    polled = Observation(collector="sockdiag", tcp_sockets=(sender(flow),))
    for observations in ((core, polled), (polled, core)):
        found = trial_metrics(make_scenario(), [report(flow)], observations)
        assert found["tcp.retrans_segs"] == 10
        assert "tcp.lost_segs" not in found
    blind = trial_metrics(make_scenario(), [report(flow)], (Observation(collector="tcp"), polled))
    assert blind["tcp.lost_segs"] == 20


def test_a_connection_that_ended_within_the_warm_up_has_only_its_handshake() -> None:
    flow = make_flow_report()
    short = sender(flow, first_ns=0, last_ns=0, counters=dict.fromkeys(COUNTERS, 0), rtt_us=())
    found = tcp_metrics([short], [report(flow)], make_scenario())
    assert found.keys() == {
        "tcp.connections", "tcp.resets", "tcp.retrans_syn_segs", "tcp.handshake_us.p50", "tcp.handshake_us.p99",
        "tcp.handshake_us.max",
    }  # fmt: skip
    flows = [flow, make_flow_report(sender_port=2)]
    both = tcp_metrics([short, sender(flows[1])], [report(*flows)], make_scenario())
    assert both["tcp.delivery_rate_bps"] == pytest.approx(80e6)
    assert both["tcp.connections"] == 2


def test_several_generators_add_amounts_and_keep_the_worst_of_the_rest() -> None:
    reports = [
        report(metrics={"app.throughput_bps": 10e6, "udp.loss_pct": 1.0, "udp.datagrams": 100, "udp.jitter_us": 5}),
        report(metrics={"app.throughput_bps": 20e6, "udp.loss_pct": 4.0, "udp.datagrams": 300, "udp.jitter_us": 9}),
        report(metrics={"app.throughput_bps": 99e6}, background=True),
    ]
    found = trial_metrics(make_scenario(traffic=[make_scenario().traffic[0]] * 3), reports, ())
    assert found == {"app.throughput_bps": 30e6, "udp.loss_pct": 3.25, "udp.datagrams": 400, "udp.jitter_us": 9}


def test_a_flow_that_no_collector_saw_is_named() -> None:
    flow = make_flow_report()
    seen = [Observation(collector="tcp", tcp_sockets=(sender(flow),))]
    assert unmatched_flows([report(flow)], seen) == ()
    assert unmatched_flows([report(flow)], []) == ("client 198.18.0.1:40000 -> 198.18.0.2:5201",)


def test_of_two_connections_on_the_same_ports_the_one_that_carried_data_counts() -> None:
    flow = make_flow_report()
    probe = sender(flow, whole_bytes_acked=1, counters=COUNTERS | {"retrans_segs": 0})
    found = tcp_metrics([sender(flow), probe], [report(flow)], make_scenario())
    assert found["tcp.retrans_segs"] == 10


def test_a_key_that_differs_in_one_port_does_not_match() -> None:
    flow = make_flow_report()
    near: FlowKey = replace(flow.sender, local_port=flow.sender.local_port + 1)
    assert tcp_metrics([replace(sender(flow), key=near)], [report(flow)], make_scenario()) == {}


def test_the_runs_value_is_the_median_of_the_valid_trials() -> None:
    name = "tcp.rtt_us.p50"
    trials = [
        TrialRecord(index=0, metrics={name: 1.0, "tcp.rtt_us.p99": 5.0}),
        TrialRecord(index=1, metrics={name: 3.0, "tcp.rtt_us.p99": float("nan")}),
        TrialRecord(index=2, metrics={name: 1000.0}, valid=False, invalid_reason="link"),
        TrialRecord(index=3, metrics={name: 2.0}),
    ]
    found = aggregate(trials)
    assert found[name].value == 2.0
    assert found[name].per_trial == (1.0, 3.0, 2.0)
    assert found[name].unit == "us"
    assert found["tcp.rtt_us.p99"].per_trial == (5.0,)


def test_a_metric_that_is_not_in_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tcp\.rtt_ms"):
        aggregate([TrialRecord(index=0, metrics={"tcp.rtt_ms": 1.0})])
