"""Metrics of the TCP layer, as the sending host of each measured flow sees them."""

from __future__ import annotations

from typing import Final

from perfcheck.model.metric import DecidedBy, Direction, Ends, Layer, MetricSpec, Phased

_RTT: Final = "{}, and inet_sock_set_state of a closing connection: tcp_sock.rack.rtt_us, when tcp_sock.delivered moved"
_NONE: Final = Direction.NEITHER
_LOW: Final = Direction.LOWER
_HIGH: Final = Direction.HIGHER
_PATH: Final = DecidedBy.PATH
_MACHINE: Final = DecidedBy.MACHINE
_DELAY: Final = DecidedBy.DELAY
_RATE: Final = DecidedBy.RATE


def _tcp(
    name: str, unit: str, direction: Direction, decided_by: DecidedBy, meaning: str, source_text: str, **more: object
) -> MetricSpec:
    known = {"margin_pct": 5.0, "floor": 0.0, "compared": False, "needs": ("tcp",)} | more
    return MetricSpec(
        name=f"tcp.{name}", unit=unit, layer=Layer.TCP, direction=direction, decided_by=decided_by, meaning=meaning,
        source_text=source_text, **known,  # type: ignore[arg-type]
    )  # fmt: skip


def _distribution(
    quantity: str, unit: str, stats: tuple[str, ...], direction: Direction, decided_by: DecidedBy, meaning: str,
    source_text: str, compared: tuple[str, ...] = (), **more: object,
) -> tuple[MetricSpec, ...]:  # fmt: skip
    return tuple(
        _tcp(f"{quantity}.{stat}", unit, direction, decided_by, f"{meaning}, {stat}", source_text,
             compared=stat in compared, **more)
        for stat in stats
    )  # fmt: skip


def _count(name: str, unit: str, direction: Direction, meaning: str, source_text: str, **more: object) -> MetricSpec:
    """Declare the sum of a counter of sockets (TcpSocket.counters), which has the metric's name without its layer."""
    return _tcp(name, unit, direction, _PATH, meaning, source_text, counter=name, **more)


TCP: Final[tuple[MetricSpec, ...]] = (
    *_distribution(
        "rtt_us", "us", ("p50", "p90", "p99", "p999", "mean", "min", "max"), _LOW, _DELAY,
        "round-trip time of delivered segments", _RTT, hooks=("tcp_probe",), compared=("p50", "p99"), floor=200.0,
    ),
    *_distribution(
        "srtt_us", "us", ("p50", "p99"), _LOW, _DELAY, "smoothed round-trip time (RFC 6298)",
        "{}: tcp_sock.srtt_us >> 3", hooks=("tcp_probe",),
    ),
    *_distribution(
        "slow_start_rtt_us", "us", ("p50", "p90", "p99", "min", "max"), _LOW, _DELAY,
        "round-trip time of segments delivered in slow start, warm-up included",
        f"{_RTT}, while snd_cwnd < snd_ssthresh",
        hooks=("tcp_probe",), floor=200.0,
        computed="without algorithms that have no slow-start threshold (BBR); a flow that fills its own queue begins "
        "at the path's round trip and ends far above it, one that meets a full queue begins above it",
    ),
    _tcp(
        "min_rtt_us", "us", _LOW, _DELAY, "smallest RTT of any measured connection, warm-up and handshake included",
        "tcp_sock.rtt_min, read at the end; sock_diag: tcpi_min_rtt",
        computed="the kernel's minimum over the last 300 s (net.ipv4.tcp_min_rtt_wlen) before each connection's end; "
        "after the warm-up alone: tcp.rtt_us.min",
        compared=True, floor=200.0,
    ),
    _tcp(
        "rttvar_us", "us", _LOW, _DELAY, "RTT variation at the end (RFC 6298), median of the connections",
        "tcp_sock.mdev_us >> 2",
    ),
    _tcp(
        "rtt_inflation_ratio", "ratio", _LOW, _DELAY,
        "median RTT over minimum RTT, of the pair of hosts where it is largest",
        "tcp_sock.rack.rtt_us, tcp_sock.rtt_min",
    ),
    _tcp(
        "queue_delay_us", "us", _LOW, _DELAY,
        "median RTT minus minimum RTT, of the pair of hosts where it is largest: standing queue",
        "tcp_sock.rack.rtt_us, tcp_sock.rtt_min", floor=200.0,
    ),
    _tcp(
        "inflight_share_pct", "pct", _NONE, _PATH, "share of all bytes in flight that a traffic entry has on average",
        "tcp.delivery_rate_bps, tcp.rtt_us.mean",
        computed="delivery rate times mean RTT (Little's law), over that of all entries, background included; asked of "
        "an entry beside others only",
    ),
    *_distribution(
        "cwnd_segs", "segs", ("p50", "p99", "max"), _NONE, _PATH, "congestion window",
        "{}: tcp_sock.snd_cwnd", hooks=("tcp_probe",),
    ),
    *_distribution(
        "inflight_segs", "segs", ("p50", "p99", "max"), _NONE, _PATH,
        "segments in flight: packets_out + retrans_out - sacked_out - lost_out", "{}: tcp_sock", hooks=("tcp_probe",),
    ),
    _tcp(
        "ssthresh_segs", "segs", _NONE, _PATH,
        "slow-start threshold at the end (0: never set), median of the connections", "tcp_sock.snd_ssthresh",
    ),
    _tcp(
        "mss_bytes", "bytes", _NONE, _PATH, "sender's segment size at the end, median of the connections",
        "tcp_sock.mss_cache",
    ),
    _tcp(
        "snd_wnd_bytes", "bytes", _HIGH, _PATH, "largest receive window that the peer offered",
        "{}: tcp_sock.snd_wnd", hooks=("tcp_probe",),
    ),
    _count("segs_out", "segs", _NONE, "segments sent, retransmissions included", "tcp_sock.segs_out"),
    _count(
        "data_segs_out", "segs", _NONE, "segments with data sent, retransmissions included", "tcp_sock.data_segs_out",
    ),
    _count(
        "retrans_segs", "segs", _LOW, "segments retransmitted", "{}", hooks=("tcp_retransmit_skb",), margin_pct=30.0,
        floor=10.0,
    ),
    _tcp(
        "retrans_pct", "pct", _LOW, _PATH, "segments retransmitted, as a share of data segments sent, at most 100",
        "{}, tcp_sock.data_segs_out", hooks=("tcp_retransmit_skb",), margin_pct=30.0, floor=0.05, compared=True,
    ),
    _count(
        "retrans_fast_segs", "segs", _LOW, "segments retransmitted in recovery (fast retransmit)",
        "{} in TCP_CA_Recovery", hooks=("tcp_retransmit_skb",), margin_pct=30.0, floor=10.0,
    ),
    _count(
        "retrans_rto_segs", "segs", _LOW, "segments retransmitted after a retransmission timeout (RTO)",
        "{} in TCP_CA_Loss", hooks=("tcp_retransmit_skb",), margin_pct=30.0, floor=10.0,
    ),
    _count(
        "retrans_tlp_segs", "segs", _LOW, "tail loss probes that retransmit (RFC 8985)",
        "{} in TCP_CA_Open or Disorder", hooks=("tcp_retransmit_skb",), margin_pct=30.0, floor=10.0,
    ),
    _count(
        "retrans_syn_segs", "segs", _LOW, "SYN and SYN-ACK segments retransmitted, warm-up included",
        "{} in SYN_SENT; inet_connection_sock.total retransmits", hooks=("tcp_retransmit_skb",), margin_pct=0.0,
        floor=0.5, ends=Ends.BOTH,
    ),
    _count("lost_segs", "segs", _LOW, "segments marked lost", "tcp_sock.lost", margin_pct=30.0, floor=10.0),
    _tcp(
        "lost_pct", "pct", _LOW, _PATH, "segments marked lost, as a share of data segments sent, at most 100",
        "tcp_sock.lost / tcp_sock.data_segs_out", margin_pct=30.0, floor=0.05,
    ),
    _count(
        "rto_events", "events", _LOW, "times the socket entered TCP_CA_Loss", "{}", hooks=("tcp_cong_state_set",),
        margin_pct=30.0, floor=1.0,
    ),
    _count(
        "recovery_events", "events", _LOW, "times the socket entered TCP_CA_Recovery", "{}",
        hooks=("tcp_cong_state_set",), margin_pct=30.0, floor=3.0,
    ),
    _tcp(
        "reordering_segs", "segs", _LOW, _PATH, "largest reordering degree that the sender inferred",
        "tcp_sock.reordering",
    ),
    _count(
        "reord_seen_events", "events", _LOW, "reordering events seen by the sender", "tcp_sock.reord_seen",
        margin_pct=30.0, floor=5.0,
    ),
    _count(
        "dsack_dups_segs", "segs", _LOW, "duplicate segments that the receiver reported (DSACK, RFC 2883)",
        "tcp_sock.dsack_dups",
        margin_pct=30.0, floor=5.0,
    ),
    _count(
        "ooo_segs", "segs", _LOW, "out-of-order segments at the receiver", "tcp_sock.rcv_ooopack", margin_pct=30.0,
        floor=10.0, ends=Ends.RECEIVERS,
    ),
    _tcp(
        "limited_rwnd_pct", "pct", _LOW, _PATH, "share of the connections' time limited by the peer's receive window",
        "tcp_sock.chrono_stat[TCP_CHRONO_RWND_LIMITED] (ticks in jiffies)", floor=5.0,
    ),
    _tcp(
        "limited_sndbuf_pct", "pct", _LOW, _MACHINE, "share of the connections' time limited by the send buffer",
        "{}: SOCK_NOSPACE, write_seq, snd_nxt, snd_cwnd; without BPF TCP_INFO's sndbuf_limited", hooks=("tcp_probe",),
        floor=5.0,
    ),
    _tcp(
        "limited_cwnd_pct", "pct", _NONE, _PATH,
        "share of the connections' time with data outstanding and no other limit",
        "tcp_sock.chrono_stat[TCP_CHRONO_BUSY]",
    ),
    _tcp(
        "limited_app_pct", "pct", _NONE, _PATH, "share of the connections' time in which nothing was left to send",
        "elapsed time less tcp_sock.chrono_stat",
    ),
    _tcp(
        "pacing_rate_bps", "bps", _NONE, _PATH,
        "pacing rate: mean over received segments, summed over the connections that exist at the same time",
        "{}: sock.sk_pacing_rate", hooks=("tcp_probe",),
    ),
    _tcp(
        "delivery_rate_bps", "bps", _HIGH, _RATE, "rate at which data is acknowledged after the warm-up, all flows",
        "tcp_sock.bytes_acked",
        computed="over the time in which at least one connection was measured (after its warm-up); opposite "
                 "directions are added",
        margin_pct=3.0, compared=True,
    ),
    _tcp(
        "bdp_bytes", "bytes", _NONE, _PATH,
        "combined rate of the paths (the delivery rate, if the lab does not know it) times minimum RTT",
        "tcp.delivery_rate_bps, link rate, tcp.min_rtt_us",
    ),
    _tcp(
        "bdp_use_pct", "pct", _HIGH, _PATH, "delivery rate as a share of the path's rate, if the lab knows it",
        "tcp.delivery_rate_bps / link rates",
        computed="with several paths: share of their combined rate; the two directions of a link are two paths",
        margin_pct=3.0, overruns=True,
    ),
    *(
        _tcp(f"state_{state}_pct", "pct", _NONE, _PATH, f"share of the connections' time in congestion state {state}",
             "{}", hooks=("tcp_cong_state_set",))
        for state in ("open", "disorder", "cwr", "recovery", "loss")
    ),
    *_distribution(
        "handshake_us", "us", ("p50", "p99", "max"), _LOW, _DELAY,
        "time from the SYN to ESTABLISHED at the connecting side, warm-up included",
        "{}", hooks=("inet_sock_set_state",),
        floor=500.0, phased=Phased.NEVER,
    ),
    _tcp(
        "ce_pct", "pct", _LOW, _PATH, "delivered segments acknowledged with the echo of the CE mark (ECE)",
        "tcp_sock.delivered_ce / tcp_sock.delivered", margin_pct=30.0, floor=0.1,
    ),
    _tcp(
        "fairness_ratio", "ratio", _HIGH, _PATH,
        "Jain's fairness index of the connections' delivery rates, each over its own time (1 is fair)",
        "tcp_sock.bytes_acked of each flow", margin_pct=5.0, floor=0.05,
    ),
    _tcp(
        "connections", "count", _NONE, _PATH, "measured connections, warm-up included", "{}",
        hooks=("inet_sock_set_state",), phased=Phased.NEVER,
    ),
    _tcp(
        "resets", "count", _LOW, _PATH, "connections that ended with a reset, warm-up included",
        "{}", hooks=("tcp_receive_reset",), margin_pct=0.0, floor=0.5,
    ),
)  # fmt: skip
