"""Delays that vary, and hosts that are late, where no flow of TCP fills the path: requests, calls and datagrams."""

from __future__ import annotations

from typing import Final

import pytest

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.model.catalogue import CATALOGUE

Run = dict[str, float]

QUIET_HOSTS: Final[Run] = {
    "cpu.runq_delay_us.mean": 30.0, "cpu.runq_delay_us.p50": 15.0, "cpu.runq_delay_us.p90": 60.0,
    "cpu.runq_delay_us.p99": 400.0, "cpu.runq_delay_us.p999": 1500.0, "cpu.runq_delay_us.max": 4000.0,
    "cpu.busy_pct": 10.0, "cpu.runq_wait_pct": 10.0, "cpu.pressure_pct": 5.0, "nic.rx_softirq_delay_us.p99": 5.0,
    "nic.rx_softirq_pct": 0.3, "cpu.host_softirq_pct": 0.5,
}  # fmt: skip
# 250 requests a second by datagrams, over a way of 130 ms.
BEATS: Final[Run] = QUIET_HOSTS | {
    "app.latency_us.p50": 131_000.0, "app.latency_us.p90": 131_200.0, "app.latency_us.p99": 131_900.0,
    "app.requests_per_s": 250.0, "app.duration_us": 6e6, "app.achieved_pct": 100.0, "nic.rx_packets": 9000.0,
    "nic.rx_packet_bytes.mean": 340.0,
}  # fmt: skip
# A flow that is paced at 28 of 70 Mbit/s, over 18 ms: 45 segments are on the way, and none waits for another.
PACED: Final[Run] = QUIET_HOSTS | {
    "app.throughput_bps": 28e6, "app.achieved_pct": 100.0, "tcp.min_rtt_us": 18_100.0, "tcp.rtt_us.min": 18_100.0,
    "tcp.rtt_us.p50": 18_600.0, "tcp.rtt_us.p90": 18_900.0, "tcp.rtt_us.p99": 19_000.0, "tcp.rtt_us.max": 20_000.0,
    "tcp.queue_delay_us": 500.0, "tcp.rttvar_us": 250.0, "tcp.handshake_us.p50": 18_300.0,
    "tcp.handshake_us.p99": 18_300.0,
    "tcp.handshake_us.max": 18_300.0, "tcp.connections": 1.0, "tcp.cwnd_segs.p50": 140.0, "tcp.cwnd_segs.p99": 140.0,
    "tcp.inflight_segs.p50": 46.0, "tcp.inflight_segs.p99": 49.0, "tcp.mss_bytes": 1448.0, "tcp.ooo_segs": 0.0,
    "tcp.delivery_rate_bps": 28e6, "tcp.bdp_bytes": 158_000.0, "tcp.bdp_use_pct": 40.0, "tcp.retrans_pct": 0.0,
    "tcp.retrans_segs": 0.0, "tcp.limited_rwnd_pct": 0.0, "tcp.limited_sndbuf_pct": 0.0, "tcp.limited_app_pct": 0.0,
    "tcp.limited_cwnd_pct": 100.0, "tcp.reord_seen_events": 0.0, "tcp.segs_out": 8600.0, "tcp.data_segs_out": 8600.0,
    "nic.rx_packets": 27_000.0, "nic.rx_packet_bytes.mean": 790.0,
}  # fmt: skip
# 200 connections of one answer each, over 16 ms, by a program that reports medians and the slowest of a hundred.
CALLS: Final[Run] = QUIET_HOSTS | {
    "app.latency_us.p50": 32_500.0, "app.latency_us.p99": 36_000.0, "app.connect_us.p50": 16_400.0,
    "app.connect_us.p99": 19_000.0, "app.requests_per_s": 50.0, "app.duration_us": 4e6, "app.errors": 0.0,
    "tcp.min_rtt_us": 16_150.0, "tcp.handshake_us.p50": 16_300.0, "tcp.handshake_us.p99": 16_600.0,
    "tcp.handshake_us.max": 16_700.0, "tcp.connections": 200.0, "tcp.mss_bytes": 1448.0, "tcp.retrans_pct": 0.0,
    "tcp.retrans_segs": 0.0, "tcp.retrans_syn_segs": 0.0, "tcp.bdp_use_pct": 2.0, "tcp.bdp_bytes": 90_000.0,
    "tcp.delivery_rate_bps": 900_000.0, "tcp.segs_out": 800.0, "tcp.data_segs_out": 400.0, "tcp.limited_rwnd_pct": 0.0,
    "tcp.limited_app_pct": 0.0, "tcp.limited_cwnd_pct": 100.0, "tcp.limited_sndbuf_pct": 0.0, "nic.rx_packets": 4000.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def confidences(rules: RuleSet, run: Run, before: Run | None = None) -> dict[str, float]:
    """Return the confidence of each cause that is told; the first is the most probable."""
    assert run.keys() <= CATALOGUE.keys()
    return {record.cause: record.confidence for record in diagnose(rules, run, [run], before)}


def first(rules: RuleSet, run: Run, before: Run | None = None) -> str:
    return next(iter(confidences(rules, run, before)))


@pytest.mark.parametrize("run", [BEATS, PACED, CALLS], ids=["beats", "paced", "calls"])
def test_delays_that_do_not_vary_are_healthy(rules: RuleSet, run: Run) -> None:
    assert first(rules, run) == "healthy"
    assert first(rules, run, run) == "healthy"


def test_requests_by_datagrams_show_jitter_though_no_connection_is_seen(rules: RuleSet) -> None:
    uneven = BEATS | {"app.latency_us.p90": 163_000.0, "app.latency_us.p99": 185_000.0}
    assert first(rules, uneven) == "jitter"
    assert confidences(rules, uneven, BEATS)["jitter"] > 0.7


def test_a_way_that_is_longer_now_and_then_is_told_from_the_flows_own_queue(rules: RuleSet) -> None:
    longer = {"tcp.rtt_us.p90": 41_000.0, "tcp.rtt_us.p99": 42_000.0, "tcp.rtt_us.max": 42_500.0}
    # Paced flows have more on the way while it is longer, but by far not what fills 23 ms of queue: 140 segments.
    flapping = PACED | longer | {"tcp.inflight_segs.p99": 104.0}
    assert confidences(rules, flapping, PACED)["jitter"] > 0.8
    assert first(rules, flapping) == "jitter"
    own = PACED | longer | {"tcp.inflight_segs.p99": 180.0, "tcp.cwnd_segs.p99": 200.0, "tcp.cwnd_segs.p50": 200.0}
    assert "jitter" not in confidences(rules, own)


def test_acknowledgements_that_are_held_back_are_no_jitter(rules: RuleSet) -> None:
    held = PACED | {
        "tcp.rtt_us.p90": 58_500.0, "tcp.rtt_us.p99": 59_500.0, "tcp.rtt_us.max": 60_500.0,
        "tcp.inflight_segs.p50": 2.0,
        "tcp.inflight_segs.p99": 3.0, "tcp.bdp_use_pct": 1.5, "tcp.delivery_rate_bps": 1e6, "app.throughput_bps": 1e6,
    }  # fmt: skip
    assert "jitter" not in confidences(rules, held)


def test_handshakes_tell_a_path_that_varies_from_hosts_that_are_late(rules: RuleSet) -> None:
    path = {"tcp.handshake_us.p99": 43_000.0, "tcp.handshake_us.max": 44_000.0}
    late = {"app.latency_us.p99": 95_000.0, "app.connect_us.p99": 60_000.0}
    busy = {
        "cpu.runq_delay_us.mean": 5_000.0, "cpu.runq_delay_us.p50": 2_000.0, "cpu.runq_delay_us.p90": 16_000.0,
        "cpu.runq_delay_us.p99": 40_000.0, "cpu.runq_delay_us.p999": 60_000.0, "cpu.runq_delay_us.max": 70_000.0,
        "cpu.busy_pct": 90.0, "cpu.runq_wait_pct": 80.0,
    }  # fmt: skip
    assert first(rules, CALLS | late | path, CALLS) == "jitter"
    assert first(rules, CALLS | late | busy, CALLS) == "cpu_contention"


def test_rare_long_stops_are_seen_among_many_short_waits(rules: RuleSet) -> None:
    """A realtime task that takes a CPU for 40 ms at a time leaves the usual waits as they were."""
    before = QUIET_HOSTS | {"cpu.busy_pct": 90.0, "cpu.runq_wait_pct": 30.0, "app.throughput_bps": 20e9}
    stopped = before | {
        "cpu.runq_delay_us.mean": 120.0, "cpu.runq_delay_us.p99": 900.0, "cpu.runq_delay_us.p999": 40_000.0,
        "cpu.runq_delay_us.max": 46_000.0, "cpu.busy_pct": 97.0, "cpu.runq_wait_pct": 58.0, "app.throughput_bps": 8e9,
    }  # fmt: skip
    assert first(rules, stopped, before) == "cpu_contention"
    assert first(rules, before, before) != "cpu_contention"


def test_requests_by_datagrams_show_softirqs_that_others_keep_busy(rules: RuleSet) -> None:
    near = BEATS | {"app.latency_us.p50": 50.0, "app.latency_us.p90": 100.0, "app.latency_us.p99": 140.0}
    flooded = near | {
        "app.latency_us.p90": 1_500.0, "app.latency_us.p99": 5_800.0, "nic.rx_packets": 920_000.0,
        "nic.rx_packet_bytes.mean": 130.0, "nic.rx_softirq_pct": 3.0, "cpu.host_softirq_pct": 12.0,
    }  # fmt: skip
    assert first(rules, flooded, near) == "softirq_contention"
    assert first(rules, near, near) == "healthy"


def test_a_longer_way_of_requests_by_datagrams_is_told_against_the_baseline(rules: RuleSet) -> None:
    longer = BEATS | {name: value + 40_000.0 for name, value in BEATS.items() if name.startswith("app.latency_us.")}
    assert first(rules, longer, BEATS) == "path_latency"
    assert first(rules, longer) == "healthy"


def test_a_round_trip_that_was_shorter_for_once_varies(rules: RuleSet) -> None:
    """The way of a path that became shorter takes all round trips with it; jitter takes some only."""
    varies = PACED | {"tcp.min_rtt_us": 14_500.0, "tcp.rtt_us.p90": 20_600.0, "tcp.rtt_us.p99": 22_000.0}
    shorter = PACED | {name: value - 3_600.0 for name, value in PACED.items() if name.startswith("tcp.rtt_us.")}
    shorter |= {"tcp.min_rtt_us": 14_500.0, "tcp.handshake_us.p50": 14_700.0, "tcp.handshake_us.p99": 14_700.0}
    assert first(rules, varies, PACED) == "jitter"
    assert first(rules, shorter, PACED) == "healthy"
