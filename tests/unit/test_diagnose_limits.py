"""What limits a sender, on synthetic runs: the window in its three situations, the application, and lookalikes.

A path of 20 ms and 50 Mbit/s holds 86 segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from perfcheck.diagnose import RuleSet, diagnose, load_rules

Run = dict[str, float]

MSS: Final = 1448.0
QUIET: Final[Run] = {
    "tcp.connections": 1.0, "tcp.mss_bytes": MSS, "tcp.min_rtt_us": 20_000.0, "tcp.rtt_us.p50": 20_500.0,
    "tcp.rtt_us.p90": 21_000.0, "tcp.rtt_us.p99": 21_500.0, "tcp.queue_delay_us": 500.0,
    "tcp.handshake_us.p50": 20_100.0, "tcp.handshake_us.max": 20_500.0, "tcp.bdp_bytes": 125_000.0,
    "tcp.retrans_pct": 0.0, "tcp.retrans_segs": 0.0,
    "tcp.retrans_syn_segs": 0.0, "tcp.retrans_fast_segs": 0.0, "tcp.retrans_rto_segs": 0.0, "tcp.recovery_events": 0.0,
    "tcp.rto_events": 0.0, "tcp.reord_seen_events": 0.0, "tcp.dsack_dups_segs": 0.0, "tcp.ooo_segs": 0.0,
    "tcp.reordering_segs": 3.0, "tcp.state_recovery_pct": 0.0, "tcp.state_loss_pct": 0.0, "tcp.ce_pct": 0.0,
    "tcp.limited_rwnd_pct": 0.0, "tcp.limited_sndbuf_pct": 0.0, "tcp.resets": 0.0, "tcp.snd_wnd_bytes": 3e6,
    "app.duration_us": 4e6, "app.errors": 0.0, "socket.established.max": 2.0, "socket.snd_use_pct.p50": 0.1,
    "socket.recvq_bytes.p90": 0.0, "socket.rcvbuf_bytes.max": 6e6, "socket.listen_overflows": 0.0,
    "ip.conntrack_new": 0.0, "ip.conntrack_drop": 0.0,
}  # fmt: skip


def sent(
    mbit: float, *, cwnd: tuple[float, float], inflight: tuple[float, float], idle_pct: float = 0.0, **other: float
) -> Run:
    """Return a run that carries a rate; `cwnd` and `inflight` are p50 and largest, `idle_pct` the time without data."""
    run = QUIET | {
        "tcp.delivery_rate_bps": mbit * 1e6, "tcp.bdp_use_pct": 2 * mbit, "tcp.data_segs_out": mbit * 5e5 / MSS,
        "tcp.segs_out": mbit * 5e5 / MSS, "tcp.cwnd_segs.p50": cwnd[0], "tcp.cwnd_segs.p99": cwnd[1],
        "tcp.cwnd_segs.max": cwnd[1], "tcp.inflight_segs.p50": inflight[0], "tcp.inflight_segs.p99": inflight[1],
        "tcp.limited_app_pct": idle_pct, "tcp.limited_cwnd_pct": 100 - idle_pct,
        "tcp.pacing_rate_bps": 1.2 * cwnd[0] * MSS * 8 / 0.0205,
    }  # fmt: skip
    return run | {name.replace("__", "."): value for name, value in other.items()}


# Data waits behind a window of twenty segments, which are 11.3 Mbit/s.
CLAMPED: Final = sent(
    11.3, cwnd=(20, 20), inflight=(20, 20), socket__sendq_bytes__max=300_000.0, socket__sendq_bytes__p90=290_000.0,
    socket__snd_use_pct__p90=70.0,
)  # fmt: skip
# Blocks of sixty segments, one in 0.8 s: in slow start that is three round trips, and the window was back at ten.
RESTARTED: Final = sent(
    0.87, cwnd=(38, 75), inflight=(22, 38), idle_pct=90, tcp__data_segs_out=300.0,
    tcp__pacing_rate_bps=2 * 38 * MSS * 8 / 0.0205, socket__sendq_bytes__max=87_000.0, socket__sendq_bytes__p90=1.0,
    socket__snd_use_pct__p90=0.1,
)  # fmt: skip
# Six requests at a time on connections that stay, one segment each.
ASKED: Final = sent(
    0.12, cwnd=(10, 10), inflight=(1, 1), tcp__connections=6.0, tcp__data_segs_out=720.0, socket__established__max=12.0,
    socket__sendq_bytes__max=40.0, socket__sendq_bytes__p90=36.0, socket__snd_use_pct__p90=1.9,
    app__requests_per_s=150.0,
)  # fmt: skip
# A connection for each answer of twenty segments.
FETCHED: Final = sent(
    2.3, cwnd=(18, 30), inflight=(10, 14), tcp__connections=40.0, tcp__data_segs_out=800.0,
    socket__sendq_bytes__max=29_000.0, socket__sendq_bytes__p90=14_000.0, socket__snd_use_pct__p90=40.0,
)  # fmt: skip
# A program that writes 7 Mbit/s in small pieces; slow start ended at 18 segments, and ten are in flight.
FED: Final = sent(
    7.0, cwnd=(18, 18), inflight=(10, 10), tcp__ssthresh_segs=18.0, socket__sendq_bytes__max=15_300.0,
    socket__sendq_bytes__p90=14_000.0, socket__snd_use_pct__p90=48.0,
)  # fmt: skip

LIMITS: Final[Mapping[str, tuple[str, Run]]] = {
    "clamped window": ("congestion_window", CLAMPED),
    # Each of fifteen transfers follows another; the cache of metrics gave them a threshold of five.
    "threshold of an earlier connection": ("congestion_window", CLAMPED | {
        "tcp.connections": 15.0, "tcp.data_segs_out": 15 * 500.0, "tcp.ssthresh_segs": 5.0, "tcp.cwnd_segs.p99": 30.0,
        "tcp.cwnd_segs.max": 30.0, "tcp.inflight_segs.p99": 30.0}),
    "window restarts after pauses": ("congestion_window", RESTARTED),
    "transfers end in slow start": ("congestion_window", FETCHED),
    # Sixteen flows whose writes overfill tiny buffers leave a seventh of the path unused.
    "tiny send buffers of many flows": ("send_buffer", sent(
        43.0, cwnd=(25, 50), inflight=(22, 45), tcp__connections=16.0, socket__established__max=34.0,
        tcp__limited_sndbuf_pct=42.0, tcp__limited_cwnd_pct=57.5, socket__sndbuf_bytes__max=7_000.0,
        socket__sendq_bytes__max=130_000.0, socket__sendq_bytes__p90=98_000.0, socket__snd_use_pct__p90=1_500.0)),
    "cut before measuring began": ("queue_overflow", CLAMPED | {
        "tcp.ssthresh_segs": 9.0, "tcp.cwnd_segs.p99": 27.0, "tcp.cwnd_segs.max": 27.0, "tcp.inflight_segs.p99": 27.0}),
}  # fmt: skip
HARMLESS: Final[Mapping[str, tuple[float, Run]]] = {
    # The probability of application_limited beside it that is the least.
    "nothing waits behind the window": (0.5, FED),
    "pauses without a restart": (0.5, RESTARTED | {"tcp.cwnd_segs.p50": 75.0}),
    # bbr opens its window to 2.9 BDPs at its start, and keeps two.
    "bbr with pauses": (0.0, RESTARTED | {"tcp.pacing_rate_bps": 0.6 * 38 * MSS * 8 / 0.0205}),
    "small requests on connections that stay": (0.0, ASKED),
}  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


@pytest.mark.parametrize("name", LIMITS)
def test_what_limits_is_named(rules: RuleSet, name: str) -> None:
    cause, run = LIMITS[name]
    found = diagnose(rules, run, [run])
    assert found[0].cause == cause, [(record.cause, record.confidence) for record in found]


@pytest.mark.parametrize("name", HARMLESS)
def test_an_application_that_sends_little_has_no_fault(rules: RuleSet, name: str) -> None:
    least, run = HARMLESS[name]
    found = diagnose(rules, run, [run])
    told = {record.cause: record.confidence for record in found}
    assert told["healthy"] >= 0.7, told
    assert told.get("application_limited", 0.0) >= least


def test_an_application_is_not_blamed_while_data_waits(rules: RuleSet) -> None:
    """Half of the window is in flight, but more waits than it holds: something below TCP takes it slowly."""
    held = CLAMPED | {"tcp.cwnd_segs.p50": 58.0, "tcp.cwnd_segs.p99": 58.0, "tcp.cwnd_segs.max": 58.0}
    told = {record.cause: record.confidence for record in diagnose(rules, held, [held])}
    assert told.get("application_limited", 0.0) < 0.3


# Of 200 connections some need a second SYN.
LOST_SYNS: Final = ASKED | {
    "tcp.connections": 200.0, "tcp.data_segs_out": 200.0, "tcp.retrans_syn_segs": 60.0, "app.timeouts": 10.0,
    "tcp.handshake_us.max": 2_060_000.0, "tcp.handshake_us.p99": 2_050_000.0, "app.errors": 10.0,
    "socket.established.max": 2.0,
}  # fmt: skip


def first(rules: RuleSet, run: Run, baseline: Run | None = None) -> str:
    return diagnose(rules, run, [run], baseline)[0].cause


def test_tracking_is_a_sign_of_a_limit_only_where_it_is_new(rules: RuleSet) -> None:
    tracked = LOST_SYNS | {"ip.conntrack_new": 190.0}
    before = ASKED | {"ip.conntrack_new": 200.0, "socket.established.max": 2.0}
    assert first(rules, LOST_SYNS) == "syn_loss"
    assert first(rules, tracked) == "conntrack_full"
    assert first(rules, tracked, before) == "syn_loss"
    assert first(rules, tracked | {"tcp.retrans_syn_segs": 300.0}, before) == "conntrack_full"
    assert first(rules, tracked | {"ip.conntrack_drop": 60.0}, before) == "conntrack_full"


def test_more_connections_at_a_time_than_before_speak_against_a_limit(rules: RuleSet) -> None:
    tracked = LOST_SYNS | {"ip.conntrack_new": 190.0, "tcp.retrans_syn_segs": 190.0}
    before = ASKED | {"ip.conntrack_new": 0.0, "socket.established.max": 2.0}
    assert first(rules, tracked, before) == "conntrack_full"
    assert first(rules, tracked | {"socket.established.max": 6.0}, before) == "syn_loss"


def test_few_syns_are_lost_with_data_by_the_same_loss(rules: RuleSet) -> None:
    """Of six handshakes chance takes three packets where 3.8 % of the data is lost."""
    lossy = ASKED | {
        "tcp.retrans_pct": 3.8, "tcp.retrans_segs": 28.0, "tcp.retrans_tlp_segs": 26.0, "tcp.retrans_rto_segs": 2.0,
        "tcp.rto_events": 2.0, "tcp.retrans_syn_segs": 3.0, "tcp.handshake_us.max": 1_030_000.0,
        "tcp.handshake_us.p99": 980_000.0,
    }  # fmt: skip
    told = {record.cause: record.confidence for record in diagnose(rules, lossy, [lossy])}
    assert told.get("syn_loss", 0.0) < 0.3, told


def test_resets_count_where_nobody_counts_errors(rules: RuleSet) -> None:
    """Forty of 200 connections end by RST, two at a time; programs that reset the last ones do it once each."""
    series = {name: value for name, value in LOST_SYNS.items() if not name.startswith("app.")} | {
        "tcp.retrans_syn_segs": 0.0, "tcp.handshake_us.max": 20_500.0, "tcp.handshake_us.p99": 20_400.0,
    }  # fmt: skip
    assert first(rules, series | {"tcp.resets": 40.0}) == "connection_reset"
    assert first(rules, series | {"tcp.resets": 2.0}) != "connection_reset"


def test_a_reader_is_slow_where_data_waits_longer_than_it_travels(rules: RuleSet) -> None:
    """30 kB of a flow of 2 Mbit/s are 120 ms, six round trips; a reader that keeps up leaves nothing there."""
    read_late = CLAMPED | {
        "tcp.delivery_rate_bps": 2e6, "tcp.bdp_use_pct": 4.0, "socket.recvq_bytes.p90": 30_000.0,
        "cpu.busy_pct": 5.0,
    }  # fmt: skip
    told = {record.cause: record.confidence for record in diagnose(rules, read_late, [read_late])}
    without = read_late | {"socket.recvq_bytes.p90": 0.0}
    assert told.get("slow_reader", 0.0) >= 0.5, told
    assert all(record.cause != "slow_reader" for record in diagnose(rules, without, [without]))
