"""Synthetic runs, healthy and with each fault, that follow the textbook and not the rules.

Windows come from BDP and queue, losses from the window (a Reno-like flow that fills its path loses about 1.5 / W^2 of
its segments), round trips from the queue's length.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

MSS: Final = 1448
SECONDS: Final = 5.0
Run = dict[str, float]


def tcp_run(
    *, base_ms: float, rtt_ms: tuple[float, float, float], cwnd: tuple[float, float], goodput_mbit: float,
    link_mbit: float | None = 100.0, inflight: float | None = None, retrans_pct: float = 0.0, **other: float,
) -> Run:  # fmt: skip
    """Return the metrics of a bulk TCP run; `rtt_ms` is p50, p90, p99, `cwnd` p50, p99; `other` overrides by name."""
    p50, p90, p99 = (ms * 1000 for ms in rtt_ms)
    base = base_ms * 1000
    segs = goodput_mbit * 1e6 / 8 / MSS * SECONDS / (1 - retrans_pct / 100)
    retrans = round(segs * retrans_pct / 100)
    flying = cwnd[0] if inflight is None else inflight
    recovering = min(100.0, retrans_pct * flying)  # each loss costs about one round trip
    rate = goodput_mbit if link_mbit is None else link_mbit
    run = {
        "app.throughput_bps": goodput_mbit * 1e6, "app.errors": 0.0, "app.duration_us": SECONDS * 1e6,
        "tcp.rtt_us.p50": p50, "tcp.rtt_us.p90": p90, "tcp.rtt_us.p99": p99, "tcp.min_rtt_us": base,
        "tcp.rtt_us.min": base, "tcp.rtt_us.max": 1.05 * p99, "tcp.queue_delay_us": p50 - base,
        "tcp.rtt_inflation_ratio": p50 / base, "tcp.handshake_us.p50": base * 1.01, "tcp.handshake_us.max": base * 1.05,
        "tcp.cwnd_segs.p50": cwnd[0], "tcp.cwnd_segs.p99": cwnd[1], "tcp.cwnd_segs.max": cwnd[1] * 1.1,
        "tcp.inflight_segs.p50": flying, "tcp.inflight_segs.p99": flying * cwnd[1] / cwnd[0], "tcp.mss_bytes": MSS,
        "tcp.snd_wnd_bytes": 3.1e6, "tcp.segs_out": segs, "tcp.data_segs_out": segs, "tcp.retrans_segs": retrans,
        "tcp.retrans_pct": retrans_pct, "tcp.retrans_fast_segs": retrans, "tcp.retrans_rto_segs": 0.0,
        "tcp.retrans_syn_segs": 0.0, "tcp.recovery_events": retrans / 1.3, "tcp.rto_events": 0.0,
        "tcp.reordering_segs": 3.0, "tcp.reord_seen_events": 0.0, "tcp.dsack_dups_segs": 0.0, "tcp.ooo_segs": retrans,
        "tcp.limited_rwnd_pct": 0.0, "tcp.limited_sndbuf_pct": 0.0, "tcp.limited_app_pct": 0.0,
        "tcp.limited_cwnd_pct": 100.0, "tcp.state_recovery_pct": recovering, "tcp.state_loss_pct": 0.0,
        "tcp.delivery_rate_bps": goodput_mbit * 1e6, "tcp.ce_pct": 0.0,
        "tcp.bdp_bytes": rate * 1e6 / 8 * base / 1e6, "tcp.connections": 1.0, "tcp.resets": 0.0,
    }  # fmt: skip
    if link_mbit is not None:
        run["tcp.bdp_use_pct"] = 100 * goodput_mbit / link_mbit
    return run | {name.replace("__", "."): value for name, value in other.items()}


def udp_run(*, mbit: float, loss_pct: float = 0.0, jitter_us: float = 150.0, own_us: float | None = None) -> Run:
    own = {} if own_us is None else {"udp.self_jitter_us": own_us}
    return own | {
        "udp.datagrams": 2500.0, "udp.loss_pct": loss_pct, "udp.jitter_us": jitter_us,
        "udp.throughput_bps": mbit * 1e6, "app.throughput_bps": mbit * 1e6, "app.errors": 0.0,
    }  # fmt: skip


# A 20 ms, 100 Mbit/s path holds 172 segments, with a queue of one BDP 345; 95.6 Mbit/s of payload is all it can carry.
WAN = tcp_run(base_ms=20.1, rtt_ms=(36, 39.5, 40.2), cwnd=(310, 345), goodput_mbit=95.0, retrans_pct=0.02)

QUIET_HOSTS: Final[Run] = {
    "cpu.runq_delay_us.mean": 20.0, "cpu.runq_delay_us.p90": 60.0, "cpu.busy_pct": 20.0, "cpu.runq_wait_pct": 5.0,
    "nic.rx_softirq_pct": 1.0, "cpu.host_softirq_pct": 1.0,
}  # fmt: skip
# 200 short connections, each with one answer.
CALLS: Final[Run] = tcp_run(
    base_ms=20.1, rtt_ms=(20.3, 20.8, 21.5), cwnd=(10, 10), inflight=0, goodput_mbit=0.2, link_mbit=None,
    tcp__connections=200.0, tcp__limited_app_pct=5.0, tcp__limited_cwnd_pct=95.0, tcp__data_segs_out=200.0,
    app__timeouts=0.0, app__resets=0.0, app__refused=0.0, app__achieved_pct=100.0, app__connections_per_s=50.0,
    socket__listen_overflows=0.0, socket__accept_queue_pct__max=1.0, ip__conntrack_new=0.0, ip__conntrack_drop=0.0,
)  # fmt: skip

HEALTHY: Final[Mapping[str, Run]] = {
    "wan-cubic": WAN,
    "wan-cubic-start-overshoots": WAN | {
        "tcp.retrans_segs": 180.0, "tcp.retrans_pct": 0.4, "tcp.recovery_events": 2.0, "app.throughput_bps": 93e6,
    },
    "wan-bbr": tcp_run(base_ms=20.1, rtt_ms=(21, 24.8, 27), cwnd=(350, 360), inflight=180, goodput_mbit=94.5),
    "narrow-cubic": tcp_run(
        base_ms=20.3, rtt_ms=(34, 40, 42), cwnd=(30, 35), goodput_mbit=9.5, link_mbit=10, retrans_pct=0.15
    ),
    "lan-without-rate": tcp_run(
        base_ms=0.06, rtt_ms=(0.9, 1.8, 3.1), cwnd=(400, 700), goodput_mbit=9000, link_mbit=None
    ),
    "lan-100mbit": tcp_run(base_ms=0.3, rtt_ms=(11, 12.2, 12.4), cwnd=(95, 103), goodput_mbit=95.2, retrans_pct=0.1),
    "long-fat-pipe-ramps-up": tcp_run(
        base_ms=200.1, rtt_ms=(202, 260, 310), cwnd=(1700, 2300), goodput_mbit=76, inflight=1600
    ),
    "sixteen-flows": tcp_run(
        base_ms=20.1, rtt_ms=(36, 39.5, 40), cwnd=(20, 30), goodput_mbit=95.3, retrans_pct=0.6, tcp__connections=16.0
    ),
    "throttled-sender": tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.8, 21.5), cwnd=(40, 50), inflight=8, goodput_mbit=10,
        tcp__limited_app_pct=93.0, tcp__limited_cwnd_pct=7.0, app__achieved_pct=100.0,
    ),
    "requests": tcp_run(
        base_ms=2.1, rtt_ms=(2.2, 2.4, 3.1), cwnd=(10, 12), inflight=1, goodput_mbit=0.4, link_mbit=None,
        tcp__limited_app_pct=60.0, tcp__limited_cwnd_pct=40.0, app__requests_per_s=100.0,
    ),
    "calls": QUIET_HOSTS | CALLS,
    "voice": udp_run(mbit=0.08),
    # A thread a call, all at once, in changing order on a narrow line (iperf3 3.18).
    "voice-in-changing-order": udp_run(mbit=0.64, jitter_us=2700, own_us=2666),
    "video": udp_run(mbit=8, loss_pct=0.0, jitter_us=600),
    "ecn-aqm": tcp_run(
        base_ms=20.1, rtt_ms=(24, 26, 29), cwnd=(190, 215), goodput_mbit=94.5, tcp__ce_pct=0.08
    ),
}  # fmt: skip

FAULTS: Final[Mapping[str, tuple[str, Run]]] = {
    # Mathis et al.: W = 1.22 / sqrt(p), so 12 segments at 1 % and 39 at 0.1 %, far below 172.
    "loss-1pct": ("random_loss", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.8, 22), cwnd=(13, 27), goodput_mbit=7.2, retrans_pct=1.0)),
    "loss-0.1pct": ("random_loss", tcp_run(
        base_ms=20.1, rtt_ms=(20.4, 21, 23), cwnd=(41, 80), goodput_mbit=23, retrans_pct=0.1, tcp__retrans_pct=0.11)),
    "loss-1pct-bbr": ("random_loss", tcp_run(
        base_ms=20.1, rtt_ms=(25, 31, 36), cwnd=(400, 430), inflight=205, goodput_mbit=94, retrans_pct=1.2)),
    "loss-in-a-lan": ("random_loss", tcp_run(
        base_ms=0.2, rtt_ms=(0.5, 0.9, 1.4), cwnd=(12, 25), goodput_mbit=300, link_mbit=None, retrans_pct=1.0)),
    "datagram-loss": ("random_loss", udp_run(mbit=0.99, loss_pct=1.0)),
    # A queue of a tenth of the BDP, 48 flows of four segments each: losses of 1.5 / 16 and more, round trips to 22 ms.
    "many-flows-short-queue": ("queue_overflow", tcp_run(
        base_ms=5.1, rtt_ms=(8, 9.8, 10), cwnd=(4, 8), goodput_mbit=90, retrans_pct=4.5, tcp__connections=48.0,
        tcp__rto_events=60.0)),
    "bursts-into-a-short-queue": ("queue_overflow", tcp_run(
        base_ms=5.1, rtt_ms=(6, 9.9, 10.2), cwnd=(20, 42), goodput_mbit=55, retrans_pct=0.8)),
    # Ten BDPs of queue: 220 ms when it is full.
    "deep-queue": ("bufferbloat", tcp_run(
        base_ms=20.1, rtt_ms=(180, 212, 221), cwnd=(1500, 1850), goodput_mbit=95.2)),
    "deep-queue-rate-not-known": ("bufferbloat", tcp_run(
        base_ms=20.1, rtt_ms=(95, 118, 121), cwnd=(800, 1000), goodput_mbit=95.2, link_mbit=None)),
    "policed-to-20": ("policer", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.9, 22), cwnd=(22, 70), goodput_mbit=17, retrans_pct=3.5,
        tcp__recovery_events=5.0, tcp__state_recovery_pct=12.0)),
    "shaped-to-30": ("shaper", tcp_run(
        base_ms=20.1, rtt_ms=(38, 44, 46), cwnd=(95, 115), goodput_mbit=28.7, retrans_pct=0.05)),
    "marked-too-early": ("ecn_marking", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.8, 22), cwnd=(14, 30), goodput_mbit=8, tcp__ce_pct=1.0)),
    "radio": ("jitter", tcp_run(
        base_ms=31, rtt_ms=(40.6, 47, 58.5), cwnd=(160, 275), goodput_mbit=34, tcp__handshake_us__p50=38_000.0)),
    "radio-without-load": ("jitter", tcp_run(
        base_ms=32.7, rtt_ms=(42, 48.5, 51.7), cwnd=(32, 32), inflight=13, goodput_mbit=4.9,
        tcp__limited_cwnd_pct=82.0, tcp__limited_app_pct=18.0)),
    "uneven-datagrams": ("jitter", udp_run(mbit=0.08, jitter_us=8_000)),
    "uneven-beyond-the-own-streams": ("jitter", udp_run(mbit=0.64, jitter_us=8_000, own_us=2_666)),
    "uneven-though-nobody-else-sends": ("jitter", udp_run(mbit=0.08, jitter_us=8_000, own_us=0.0)),
    "two-ways": ("reordering", tcp_run(
        base_ms=20.1, rtt_ms=(20.5, 22, 24), cwnd=(60, 90), goodput_mbit=32, retrans_pct=0.6,
        tcp__reord_seen_events=140.0, tcp__reordering_segs=60.0,
        tcp__dsack_dups_segs=70.0, tcp__ooo_segs=2500.0, tcp__recovery_events=60.0)),
    # A window of 32 kB: 32 kB every 20 ms are 13 Mbit/s.
    "small-rmem": ("receive_window", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.7, 22), cwnd=(60, 70), inflight=22, goodput_mbit=12.8,
        tcp__snd_wnd_bytes=33_000.0, tcp__limited_rwnd_pct=96.0, tcp__limited_cwnd_pct=4.0)),
    "reads-2mbit": ("slow_reader", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 21, 23), cwnd=(60, 70), inflight=3, goodput_mbit=2, tcp__snd_wnd_bytes=500_000.0,
        tcp__limited_rwnd_pct=90.0, tcp__limited_cwnd_pct=10.0)),
    "small-wmem": ("send_buffer", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.7, 22), cwnd=(60, 70), inflight=11, goodput_mbit=6.4,
        tcp__limited_sndbuf_pct=91.0, tcp__limited_cwnd_pct=9.0)),
    "locked-cwnd": ("congestion_window", tcp_run(
        base_ms=20.1, rtt_ms=(20.3, 20.7, 22), cwnd=(20, 20), goodput_mbit=11.5)),
    "syn-dropped": ("syn_loss", WAN | {"tcp.retrans_syn_segs": 1.0, "tcp.handshake_us.max": 1_040_000.0}),
    # A listener that accepts 40 of 50 connections a second; a limit of two tracked connections; and neither.
    "accept-queue-full": ("accept_backlog", CALLS | {
        "tcp.retrans_syn_segs": 160.0, "tcp.handshake_us.max": 2_050_000.0, "tcp.handshake_us.p99": 2_040_000.0,
        "socket.listen_overflows": 380.0, "socket.accept_queue_pct.max": 110.0, "app.timeouts": 50.0,
        "app.errors": 50.0, "tcp.retrans_pct": 27.0, "tcp.retrans_segs": 60.0, "tcp.retrans_rto_segs": 45.0}),
    "no-entry-for-a-connection": ("conntrack_full", CALLS | {
        "tcp.retrans_syn_segs": 60.0, "tcp.handshake_us.max": 3_060_000.0, "ip.conntrack_new": 150.0}),
    "syns-dropped-on-the-way": ("syn_loss", CALLS | {
        "tcp.retrans_syn_segs": 60.0, "tcp.handshake_us.max": 3_060_000.0}),
    "calls-refused": ("connection_reset", CALLS | {
        "app.errors": 40.0, "app.refused": 40.0, "tcp.resets": 40.0}),
    # Ten hogs on the CPU of the servers: each wait takes a few of their time slices.
    "cpu-shared-with-hogs": ("cpu_contention", QUIET_HOSTS | CALLS | {
        "cpu.runq_delay_us.mean": 8_000.0, "cpu.runq_delay_us.p90": 24_000.0, "cpu.busy_pct": 99.0,
        "cpu.runq_wait_pct": 91.0}),
    # 150,000 small datagrams a second cost 2 us each; the flow gets what is left of its CPU.
    "flood-of-small-datagrams": ("softirq_contention", QUIET_HOSTS | tcp_run(
        base_ms=0.02, rtt_ms=(0.03, 0.05, 0.9), cwnd=(400, 700), goodput_mbit=9000, link_mbit=None,
        nic__rx_softirq_pct=38.0, cpu__host_softirq_pct=24.0)),
    "reset": ("connection_reset", WAN | {"tcp.resets": 1.0, "app.errors": 1.0}),
    "icmp-filtered": ("mtu_blackhole", tcp_run(
        base_ms=20.1, rtt_ms=(20.2, 20.4, 21), cwnd=(1, 10), inflight=1, goodput_mbit=0.005, retrans_pct=80.0,
        tcp__retrans_segs=8.0, tcp__retrans_rto_segs=6.0, tcp__rto_events=5.0, tcp__data_segs_out=10.0,
        tcp__state_loss_pct=95.0)),
    # Ours shares a full queue with others: it finds the queue there at its handshake.
    "shared-bottleneck": ("cross_traffic", tcp_run(
        base_ms=20.1, rtt_ms=(38, 40, 41), cwnd=(70, 130), goodput_mbit=33, retrans_pct=0.2,
        tcp__handshake_us__p50=39_000.0, tcp__handshake_us__max=39_500.0)),
}  # fmt: skip


def noisy_trials(run: Run, noise: float, seed: int = 1) -> list[Run]:
    """Return five trials with noise on everything but rare events and the base; a queue varies as a whole."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    kept = (
        "resets", "errors", "connections", "syn_segs", "rto_events", "_bytes", "min_rtt_us", "rtt_us.min", "timeouts",
        "refused", "achieved_pct",
    )  # fmt: skip
    base = run.get("tcp.min_rtt_us", 0.0)
    trials = []
    for _ in range(5):
        trial = {name: value if name.endswith(kept) else value * chance.gauss(1, noise) for name, value in run.items()}
        queue = chance.gauss(1, noise)
        trial |= {name: base + (run[name] - base) * queue for name in run if name.startswith("tcp.rtt_us.p")}
        trials.append(trial)
    return trials


def five_trials(run: Run) -> list[Run]:
    """Return five trials of a quiet machine."""
    return noisy_trials(run, 0.01)
