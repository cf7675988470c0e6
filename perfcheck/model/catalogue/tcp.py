"""Metrics of the TCP layer, as the sending host of each measured flow sees them."""

from __future__ import annotations

from typing import Final

from perfcheck.model.metric import DecidedBy, Direction, Layer, MetricSpec

_RTT_HOOK: Final = "tp_btf/tcp_probe: tcp_sock.rack.rtt_us, when tcp_sock.delivered moved"
_NONE: Final = Direction.NEITHER
_LOW: Final = Direction.LOWER
_HIGH: Final = Direction.HIGHER
_PATH: Final = DecidedBy.PATH
_DELAY: Final = DecidedBy.DELAY
_RATE: Final = DecidedBy.RATE


def _tcp(
    name: str, unit: str, direction: Direction, decided_by: DecidedBy, meaning: str, source: str, **more: object
) -> MetricSpec:
    known = {"margin_pct": 5.0, "floor": 0.0, "compared": False, "needs": ("tcp",)} | more
    return MetricSpec(
        name=f"tcp.{name}", unit=unit, layer=Layer.TCP, direction=direction, decided_by=decided_by, meaning=meaning,
        source=source, **known,  # type: ignore[arg-type]
    )  # fmt: skip


def _distribution(
    quantity: str, unit: str, stats: tuple[str, ...], direction: Direction, decided_by: DecidedBy, meaning: str,
    source: str, compared: tuple[str, ...] = (), floor: float = 0.0,
) -> tuple[MetricSpec, ...]:  # fmt: skip
    return tuple(
        _tcp(f"{quantity}.{stat}", unit, direction, decided_by, f"{meaning}, {stat}", source,
             compared=stat in compared, floor=floor)
        for stat in stats
    )  # fmt: skip


TCP: Final[tuple[MetricSpec, ...]] = (
    *_distribution(
        "rtt_us",
        "us",
        ("p50", "p90", "p99", "p999", "mean", "min", "max"),
        _LOW,
        _DELAY,
        "round-trip time of delivered segments",
        _RTT_HOOK,
        compared=("p50", "p99"),
        floor=200.0,
    ),
    *_distribution(
        "srtt_us",
        "us",
        ("p50", "p99"),
        _LOW,
        _DELAY,
        "smoothed round-trip time (RFC 6298)",
        "tp_btf/tcp_probe: tcp_sock.srtt_us >> 3",
    ),
    _tcp(
        "min_rtt_us",
        "us",
        _LOW,
        _DELAY,
        "smallest windowed minimum RTT seen after the warm-up",
        "tp_btf/tcp_probe: tcp_sock.rtt_min",
        compared=True,
        floor=200.0,
    ),
    _tcp("rttvar_us", "us", _LOW, _DELAY, "RTT variation at the end (RFC 6298)", "tcp_sock.mdev_us >> 2"),
    _tcp(
        "rtt_inflation_ratio", "ratio", _LOW, _DELAY, "median RTT over minimum RTT", "tcp.rtt_us.p50 / tcp.min_rtt_us"
    ),
    _tcp(
        "queue_delay_us",
        "us",
        _LOW,
        _DELAY,
        "median RTT less minimum RTT: standing queue",
        "tcp.rtt_us.p50 - tcp.min_rtt_us",
        floor=200.0,
    ),
    *_distribution(
        "cwnd_segs",
        "segs",
        ("p50", "p99", "max"),
        _NONE,
        _PATH,
        "congestion window",
        "tp_btf/tcp_probe: tcp_sock.snd_cwnd",
    ),
    *_distribution(
        "inflight_segs",
        "segs",
        ("p50", "p99", "max"),
        _NONE,
        _PATH,
        "segments in flight: packets_out + retrans_out - sacked_out - lost_out",
        "tp_btf/tcp_probe: tcp_sock",
    ),
    _tcp(
        "ssthresh_segs", "segs", _NONE, _PATH, "slow-start threshold at the end (0: never set)", "tcp_sock.snd_ssthresh"
    ),
    _tcp("mss_bytes", "bytes", _NONE, _PATH, "sender's segment size", "tcp_sock.mss_cache"),
    _tcp(
        "snd_wnd_bytes",
        "bytes",
        _HIGH,
        _PATH,
        "receive window that the peer offers, largest seen",
        "tp_btf/tcp_probe: tcp_sock.snd_wnd",
    ),
    _tcp("segs_out", "segs", _NONE, _PATH, "segments sent, retransmissions included", "tcp_sock.segs_out"),
    _tcp(
        "data_segs_out",
        "segs",
        _NONE,
        _PATH,
        "segments with data sent, retransmissions included",
        "tcp_sock.data_segs_out",
    ),
    _tcp(
        "retrans_segs",
        "segs",
        _LOW,
        _PATH,
        "segments retransmitted",
        "tp_btf/tcp_retransmit_skb",
        margin_pct=30.0,
        floor=10.0,
    ),
    _tcp(
        "retrans_pct",
        "pct",
        _LOW,
        _PATH,
        "segments retransmitted over data segments sent",
        "tp_btf/tcp_retransmit_skb, tcp_sock.data_segs_out",
        margin_pct=30.0,
        floor=0.05,
        compared=True,
    ),
    _tcp(
        "retrans_fast_segs",
        "segs",
        _LOW,
        _PATH,
        "retransmitted in recovery (fast retransmit)",
        "tp_btf/tcp_retransmit_skb in TCP_CA_Recovery",
        margin_pct=30.0,
        floor=10.0,
    ),
    _tcp(
        "retrans_rto_segs",
        "segs",
        _LOW,
        _PATH,
        "retransmitted after a retransmission time-out",
        "tp_btf/tcp_retransmit_skb in TCP_CA_Loss",
        margin_pct=30.0,
        floor=10.0,
    ),
    _tcp(
        "retrans_tlp_segs",
        "segs",
        _LOW,
        _PATH,
        "tail loss probes that retransmit (RFC 8985)",
        "tp_btf/tcp_retransmit_skb in TCP_CA_Open or Disorder",
        margin_pct=30.0,
        floor=10.0,
    ),
    _tcp(
        "retrans_syn_segs",
        "segs",
        _LOW,
        _PATH,
        "SYN or SYN-ACK retransmitted",
        "tp_btf/tcp_retransmit_skb in SYN_SENT; inet_connection_sock.total retransmits",
        margin_pct=0.0,
        floor=0.5,
    ),
    _tcp("lost_segs", "segs", _LOW, _PATH, "segments marked lost", "tcp_sock.lost", margin_pct=30.0, floor=10.0),
    _tcp(
        "lost_pct",
        "pct",
        _LOW,
        _PATH,
        "segments marked lost over data segments sent",
        "tcp_sock.lost / tcp_sock.data_segs_out",
        margin_pct=30.0,
        floor=0.05,
    ),
    _tcp(
        "rto_events",
        "events",
        _LOW,
        _PATH,
        "times the socket entered TCP_CA_Loss",
        "tp_btf/tcp_cong_state_set",
        margin_pct=30.0,
        floor=1.0,
    ),
    _tcp(
        "recovery_events",
        "events",
        _LOW,
        _PATH,
        "times the socket entered TCP_CA_Recovery",
        "tp_btf/tcp_cong_state_set",
        margin_pct=30.0,
        floor=3.0,
    ),
    _tcp(
        "reordering_segs",
        "segs",
        _LOW,
        _PATH,
        "largest reordering degree that the sender inferred",
        "tcp_sock.reordering",
    ),
    _tcp(
        "reord_seen_events",
        "events",
        _LOW,
        _PATH,
        "reordering events seen by the sender",
        "tcp_sock.reord_seen",
        margin_pct=30.0,
        floor=5.0,
    ),
    _tcp(
        "dsack_dups_segs",
        "segs",
        _LOW,
        _PATH,
        "duplicates that the receiver reported (RFC 2883)",
        "tcp_sock.dsack_dups",
        margin_pct=30.0,
        floor=5.0,
    ),
    _tcp(
        "ooo_segs",
        "segs",
        _LOW,
        _PATH,
        "out-of-order segments at the receiver",
        "tcp_sock.rcv_ooopack",
        margin_pct=30.0,
        floor=10.0,
    ),
    _tcp(
        "limited_rwnd_pct",
        "pct",
        _LOW,
        _PATH,
        "share of the time limited by the peer's receive window",
        "tcp_sock.chrono_stat[TCP_CHRONO_RWND_LIMITED] (ticks in jiffies)",
        floor=5.0,
    ),
    _tcp(
        "limited_sndbuf_pct",
        "pct",
        _LOW,
        _PATH,
        "share of the time limited by the send buffer",
        "tcp_sock.chrono_stat[TCP_CHRONO_SNDBUF_LIMITED] (ticks in jiffies)",
        floor=5.0,
    ),
    _tcp(
        "limited_cwnd_pct",
        "pct",
        _NONE,
        _PATH,
        "share of the time with data outstanding and no other limit",
        "tcp_sock.chrono_stat[TCP_CHRONO_BUSY]",
    ),
    _tcp(
        "limited_app_pct",
        "pct",
        _NONE,
        _PATH,
        "share of the time in which nothing was left to send",
        "elapsed time less tcp_sock.chrono_stat",
    ),
    _tcp(
        "pacing_rate_bps",
        "bps",
        _NONE,
        _PATH,
        "pacing rate, mean over segments received",
        "tp_btf/tcp_probe: sock.sk_pacing_rate",
    ),
    _tcp(
        "delivery_rate_bps",
        "bps",
        _HIGH,
        _RATE,
        "bytes acknowledged over the time after the warm-up, all flows",
        "tcp_sock.bytes_acked",
        margin_pct=3.0,
        compared=True,
    ),
    _tcp(
        "bdp_bytes",
        "bytes",
        _NONE,
        _PATH,
        "delivery rate (or the link's rate) times minimum RTT",
        "tcp.delivery_rate_bps, link rate, tcp.min_rtt_us",
    ),
    _tcp(
        "bdp_use_pct",
        "pct",
        _HIGH,
        _PATH,
        "delivery rate over the path's rate, where the lab knows it",
        "tcp.delivery_rate_bps / link rate",
        margin_pct=3.0,
    ),
    *(
        _tcp(
            f"state_{state}_pct",
            "pct",
            _NONE,
            _PATH,
            f"share of the time in congestion state {state}",
            "tp_btf/tcp_cong_state_set",
        )
        for state in ("open", "disorder", "cwr", "recovery", "loss")
    ),
    *_distribution(
        "handshake_us",
        "us",
        ("p50", "p99", "max"),
        _LOW,
        _DELAY,
        "SYN sent to ESTABLISHED, at the connecting side",
        "tp_btf/inet_sock_set_state",
        floor=500.0,
    ),
    _tcp(
        "ce_pct",
        "pct",
        _LOW,
        _PATH,
        "delivered segments that were acknowledged with the echo of ECN's CE mark (ECE)",
        "tcp_sock.delivered_ce / tcp_sock.delivered",
        margin_pct=30.0,
        floor=0.1,
    ),
    _tcp(
        "fairness_ratio",
        "ratio",
        _HIGH,
        _PATH,
        "Jain's fairness index of the flows' delivery rates (1 is fair)",
        "tcp_sock.bytes_acked of each flow",
        margin_pct=5.0,
        floor=0.05,
    ),
    _tcp("connections", "count", _NONE, _PATH, "measured connections", "tp_btf/inet_sock_set_state"),
    _tcp(
        "resets",
        "count",
        _LOW,
        _PATH,
        "connections that ended by a reset",
        "tp_btf/tcp_receive_reset",
        margin_pct=0.0,
        floor=0.5,
    ),
)
