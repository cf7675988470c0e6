"""Metrics of the TCP layer, derived from the sockets of the scenario's measured connections.

A metric whose raw counters or gauges a collector does not give is left out: absent is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

import numpy as np

from perfcheck.analyse.flows import Connection, measured_connections
from perfcheck.analyse.histogram import merge, statistics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Histogram, TcpSocket
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import Scenario
from perfcheck.model.topology import bottleneck, measured_paths

_STATES = ("open", "disorder", "cwr", "recovery", "loss")
_SUMS = (
    "segs_out", "data_segs_out", "retrans_segs", "retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs",
    "lost_segs", "rto_events", "recovery_events", "reord_seen_events", "dsack_dups_segs",
)  # fmt: skip
_GAUGES: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("min_rtt_us", min),
    ("rttvar_us", median),
    ("ssthresh_segs", median),
    ("mss_bytes", median),
    ("snd_wnd_bytes", max),
    ("reordering_segs", max),
    ("pacing_rate_bps", sum),
)
_DISTRIBUTIONS: tuple[tuple[str, Callable[[TcpSocket], Histogram]], ...] = (
    ("rtt_us", lambda socket: socket.rtt_us),
    ("srtt_us", lambda socket: socket.srtt_us),
    ("cwnd_segs", lambda socket: socket.cwnd),
    ("inflight_segs", lambda socket: socket.inflight),
)


def tcp_metrics(sockets: Sequence[TcpSocket], reports: Sequence[TrafficReport], scenario: Scenario) -> dict[str, float]:
    """Give every `tcp.*` metric of the catalogue that these sockets allow, over all measured connections.

    The sender's socket counts, the receiver's for what only a receiver sees. Histograms are merged,
    counters and rates summed, percentages taken of the sums.
    """
    connections = measured_connections(sockets, reports)
    senders = [each.sender for each in connections if each.sender is not None]
    receivers = [each.receiver for each in connections if each.receiver is not None]
    if not senders:
        return {}
    # A connection that ended within the warm-up has nothing but its handshake.
    measured = [socket for socket in senders if _elapsed_ns(socket)]
    found = dict(_both_ends(connections, senders, receivers))
    if measured:
        found |= dict(_distributions(measured))
        found |= _gauges(measured)
        found |= {name: value for name in _SUMS if (value := _total(measured, name)) is not None}
        found |= dict(_shares(measured))
        found |= dict(_rates(measured, scenario, found))
        found |= dict(_standing_queue(found))
    return {f"tcp.{name}": float(value) for name, value in found.items() if f"tcp.{name}" in CATALOGUE}


def _distributions(senders: Sequence[TcpSocket]) -> Iterator[tuple[str, float]]:
    for quantity, histogram_of in _DISTRIBUTIONS:
        for stat, value in statistics(merge(histogram_of(socket) for socket in senders)).items():
            yield f"{quantity}.{stat}", value


def _gauges(senders: Sequence[TcpSocket]) -> dict[str, float]:
    found = {}
    for name, combine in _GAUGES:
        values = [socket.gauges[name] for socket in senders if name in socket.gauges]
        if values:
            found[name] = float(combine(values))
    return found


def _total(sockets: Sequence[TcpSocket], name: str) -> int | None:
    """Sum of one counter; None where any of the sockets lacks it, since a part is not the sum."""
    values = [socket.counters.get(name) for socket in sockets]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _share(sockets: Sequence[TcpSocket], part: str, whole: str) -> float | None:
    """Percentage of two summed counters; None where either is missing or the whole is 0."""
    above, below = _total(sockets, part), _total(sockets, whole)
    return 100 * above / below if above is not None and below else None


def _shares(senders: Sequence[TcpSocket]) -> Iterator[tuple[str, float]]:
    wanted = [
        ("retrans_pct", "retrans_segs", "data_segs_out"),
        ("lost_pct", "lost_segs", "data_segs_out"),
        ("ce_pct", "delivered_ce_segs", "delivered_segs"),
        ("limited_rwnd_pct", "rwnd_limited_us", "elapsed_us"),
        ("limited_sndbuf_pct", "sndbuf_limited_us", "elapsed_us"),
        *((f"state_{state}_pct", f"state_{state}_us", "elapsed_us") for state in _STATES),
    ]
    shares = {name: _share(senders, part, whole) for name, part, whole in wanted}
    # Limits tick in jiffies and may end up a tick beyond the time that they are a share of.
    found = {name: min(value, 100.0) for name, value in shares.items() if value is not None}
    busy = _share(senders, "busy_us", "elapsed_us")
    if busy is not None and {"limited_rwnd_pct", "limited_sndbuf_pct"} <= found.keys():
        # tcp_info's busy time includes the two limits (tcp_get_info_chrono_stats sums the chronos up).
        busy = min(busy, 100.0)
        found["limited_cwnd_pct"] = max(busy - found["limited_rwnd_pct"] - found["limited_sndbuf_pct"], 0.0)
        found["limited_app_pct"] = 100.0 - busy
    yield from found.items()


def _rates(senders: Sequence[TcpSocket], scenario: Scenario, found: dict[str, float]) -> Iterator[tuple[str, float]]:
    acked = _total(senders, "bytes_acked")
    busy_ns = _covered_ns(senders)
    if acked is None or not busy_ns:
        return
    rate_bps = acked * 8e9 / busy_ns
    yield "delivery_rate_bps", rate_bps
    path_bps = _path_rate_bps(scenario)
    if path_bps is not None:
        yield "bdp_use_pct", 100 * rate_bps / path_bps
    if "min_rtt_us" in found:
        yield "bdp_bytes", (path_bps or rate_bps) * found["min_rtt_us"] / 8e6
    each = [socket.counters["bytes_acked"] / seconds for socket in senders if (seconds := _elapsed_ns(socket) / 1e9)]
    if len(each) > 1 and any(each):
        yield "fairness_ratio", sum(each) ** 2 / (len(each) * sum(rate * rate for rate in each))


def _elapsed_ns(socket: TcpSocket) -> int:
    return max(socket.last_ns - socket.first_ns, 0)


def _covered_ns(sockets: Sequence[TcpSocket]) -> int:
    """Time in which at least one of the sockets was counted: parallel flows share it, one after another adds."""
    covered = 0
    reached = 0
    for first, last in sorted((socket.first_ns, socket.last_ns) for socket in sockets):
        covered += max(last - max(first, reached), 0)
        reached = max(reached, last)
    return covered


def _path_rate_bps(scenario: Scenario) -> int | None:
    """Sum of the distinct bottlenecks of the measured paths; None where any path has no rate."""
    paths = measured_paths(scenario)
    found = [bottleneck(scenario, path) for path in paths]
    known = {each for each in found if each is not None}
    return sum(each.rate_bps for each in known) if known and None not in found else None


def _both_ends(
    connections: Sequence[Connection], senders: Sequence[TcpSocket], receivers: Sequence[TcpSocket]
) -> Iterator[tuple[str, float]]:
    ends = [*senders, *receivers]
    yield "connections", len(connections)
    handshakes = [socket.gauges["handshake_us"] for socket in ends if socket.gauges.get("handshake_us")]
    if handshakes:
        p50, p99 = np.quantile(handshakes, (0.5, 0.99))
        yield from (("handshake_us.p50", p50), ("handshake_us.p99", p99), ("handshake_us.max", max(handshakes)))
    if (repeated := _total(ends, "retrans_syn_segs")) is not None:
        yield "retrans_syn_segs", repeated
    if (out_of_order := _total([socket for socket in receivers if _elapsed_ns(socket)], "ooo_segs")) is not None:
        yield "ooo_segs", out_of_order
    if _total(ends, "resets") is not None:
        yield "resets", sum(_was_reset(connection) for connection in connections)


def _was_reset(connection: Connection) -> bool:
    ends = (connection.sender, connection.receiver)
    return any(socket is not None and socket.counters["resets"] > 0 for socket in ends)


def _standing_queue(found: dict[str, float]) -> Iterator[tuple[str, float]]:
    median_us, least_us = found.get("rtt_us.p50"), found.get("min_rtt_us")
    if median_us is not None and least_us:
        yield "rtt_inflation_ratio", median_us / least_us
        yield "queue_delay_us", max(median_us - least_us, 0.0)
