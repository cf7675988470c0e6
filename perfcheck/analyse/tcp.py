"""Metrics of the TCP layer, derived from the sockets of the scenario's measured connections.

A metric is left out if the collector has no raw counters or gauges for it: absent is not zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from perfcheck.analyse.flows import Connection, measured_connections
from perfcheck.analyse.histogram import merge, statistics
from perfcheck.analyse.spans import Span, length_ns, union, within
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Histogram, TcpSocket
from perfcheck.model.metric import Ends
from perfcheck.model.observation import TrafficReport
from perfcheck.model.scenario import Scenario
from perfcheck.model.topology import data_path, steady_together_bps

_LIMITS = 2
_STATES = ("open", "disorder", "cwr", "recovery", "loss")
_GAUGES: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("min_rtt_us", min),
    ("rttvar_us", median),
    ("ssthresh_segs", median),
    ("mss_bytes", median),
    ("snd_wnd_bytes", max),
    ("reordering_segs", max),
)
_DISTRIBUTIONS: tuple[tuple[str, Callable[[TcpSocket], Histogram]], ...] = (
    ("rtt_us", lambda socket: socket.rtt_us),
    ("srtt_us", lambda socket: socket.srtt_us),
    ("cwnd_segs", lambda socket: socket.cwnd),
    ("inflight_segs", lambda socket: socket.inflight),
)


def tcp_metrics(sockets: Sequence[TcpSocket], reports: Sequence[TrafficReport], scenario: Scenario) -> dict[str, float]:
    """Return every `tcp.*` metric of the catalogue that these sockets allow, over all measured connections.

    The sender's socket counts, the receiver's for what only a receiver sees. Histograms are merged and
    counters summed, percentages taken of the sums; rates are sums over the time in which any connection was counted.
    """
    connections = measured_connections(sockets, reports)
    senders = [each.sender for each in connections if each.sender is not None]
    receivers = [each.receiver for each in connections if each.receiver is not None]
    if not senders:
        return {}
    # A connection that ended within the warm-up has nothing but its handshake.
    measured = [socket for socket in senders if _elapsed_ns(socket)]
    found = dict(_sums(senders, receivers)) | dict(_both_ends(connections, [*senders, *receivers]))
    found |= _slow_start(senders)
    if measured:
        found |= dict(_distributions(measured))
        found |= _gauges(measured)
        found |= dict(_shares(measured))
        found |= dict(_rates(measured, _path_rate_bps(scenario, connections), found))
        found |= dict(_standing_queue(connections))
    return {f"tcp.{name}": float(value) for name, value in found.items() if f"tcp.{name}" in CATALOGUE}


def _distributions(senders: Sequence[TcpSocket]) -> Iterator[tuple[str, float]]:
    for quantity, histogram_of in _DISTRIBUTIONS:
        for stat, value in statistics(merge(histogram_of(socket) for socket in senders)).items():
            yield f"{quantity}.{stat}", value


def _slow_start(senders: Sequence[TcpSocket]) -> dict[str, float]:
    """Return the round trips of slow start: those of a flow that fills its own queue spread from its begin on."""
    known = [socket.slow_start_rtt_us for socket in senders if socket.slow_start_rtt_us is not None]
    return {f"slow_start_rtt_us.{stat}": value for stat, value in statistics(merge(known)).items()}


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
    ]
    shares = {name: _share(senders, part, whole) for name, part, whole in wanted}
    # A lone FIN that is repeated, or a segment sent before the warm-up's end and lost after it, is not in the whole.
    yield from ((name, min(value, 100.0)) for name, value in shares.items() if value is not None)
    yield from _parts(senders, {f"state_{state}_pct": f"state_{state}_us" for state in _STATES}).items()
    limits = _parts(senders, {"limited_rwnd_pct": "rwnd_limited_us", "limited_sndbuf_pct": "sndbuf_limited_us"})
    # tcp_info's busy time includes the two limits (tcp_get_info_chrono_stats sums the chronos up).
    if len(limits) == _LIMITS and (busy := _parts(senders, {"busy": "busy_us"})):
        busy_pct = max(busy["busy"], sum(limits.values()))
        limits["limited_cwnd_pct"] = busy_pct - sum(limits.values())
        limits["limited_app_pct"] = 100.0 - busy_pct
    yield from limits.items()


def _parts(senders: Sequence[TcpSocket], counters: Mapping[str, str]) -> dict[str, float]:
    """Return the shares of the sockets' time that those counters are, by the names given; they never exceed it.

    Limits tick in jiffies, and a socket's own clock stands still while it is idle: together the parts may come out a
    tick longer than the time.
    """
    whole = _total(senders, "elapsed_us")
    known = {name: value for name, counter in counters.items() if (value := _total(senders, counter)) is not None}
    if not whole:
        return {}
    return {name: 100 * value / max(whole, sum(known.values())) for name, value in known.items()}


def _rates(senders: Sequence[TcpSocket], path_bps: int | None, found: dict[str, float]) -> Iterator[tuple[str, float]]:
    spans = union((socket.first_ns, socket.last_ns) for socket in senders)
    time_ns = length_ns(spans)
    if _total(senders, "bytes_acked") is None or not time_ns:
        return
    rate_bps = 8e9 * sum(_acked_within(socket, spans) for socket in senders) / time_ns
    yield "delivery_rate_bps", rate_bps
    if path_bps is not None:
        yield "bdp_use_pct", 100 * rate_bps / path_bps
    if "min_rtt_us" in found:
        yield "bdp_bytes", (path_bps or rate_bps) * found["min_rtt_us"] / 8e6
    # The paces of connections one after another do not add up: each counts for the time that it lasted.
    paced = [socket for socket in senders if "pacing_rate_bps" in socket.gauges]
    if paced:
        yield "pacing_rate_bps", sum(_elapsed_ns(one) * one.gauges["pacing_rate_bps"] for one in paced) / time_ns
    each = [socket.counters["bytes_acked"] / seconds for socket in senders if (seconds := _elapsed_ns(socket) / 1e9)]
    if len(each) > 1 and any(each):
        yield "fairness_ratio", sum(each) ** 2 / (len(each) * sum(rate * rate for rate in each))


def _acked_within(socket: TcpSocket, spans: Sequence[Span]) -> int:
    """Return the bytes acknowledged within the spans, with those of a warm-up that others' time covers."""
    acked = socket.counters["bytes_acked"]
    warm = bool(socket.established_ns) and within(socket.established_ns, socket.last_ns, spans)
    return max(acked, socket.whole_bytes_acked) if warm else acked


def _elapsed_ns(socket: TcpSocket) -> int:
    return max(socket.last_ns - socket.first_ns, 0)


def _path_rate_bps(scenario: Scenario, connections: Sequence[Connection]) -> int | None:
    """Return what the paths of the connections' data carry together.

    None where any of them has no rate, or one that changes, and where a connection's other end is not known.
    """
    hosts = {_hosts(connection) for connection in connections if connection.sender is not None}
    found = [None if target is None else data_path(scenario, source, target) for source, target in hosts]
    paths = [path for path in found if path is not None]
    return steady_together_bps(scenario, paths) if len(paths) == len(found) else None


def _hosts(connection: Connection) -> tuple[str, str | None]:
    """Return the hosts that a connection's data go from and to."""
    assert connection.sender is not None  # noqa: S101 - asked of those alone whose sender was seen
    if connection.receiver is not None:
        return connection.sender.key.host, connection.receiver.key.host
    return connection.sender.key.host, None if connection.report is None else connection.report.receiver.host


def _sums(senders: Sequence[TcpSocket], receivers: Sequence[TcpSocket]) -> Iterator[tuple[str, float]]:
    """Return the metrics that the catalogue declares as sums of a counter."""
    summed = {
        Ends.SENDERS: [socket for socket in senders if _elapsed_ns(socket)],
        Ends.RECEIVERS: [socket for socket in receivers if _elapsed_ns(socket)],
        Ends.BOTH: [*senders, *receivers],
    }
    for spec in CATALOGUE.values():
        if spec.counter and (value := _total(summed[spec.ends], spec.counter)) is not None:
            yield spec.name.removeprefix(f"{spec.layer}."), value


def _both_ends(connections: Sequence[Connection], ends: Sequence[TcpSocket]) -> Iterator[tuple[str, float]]:
    yield "connections", len(connections)
    handshakes = [socket.gauges["handshake_us"] for socket in ends if socket.gauges.get("handshake_us")]
    if handshakes:
        p50, p99 = np.quantile(handshakes, (0.5, 0.99))
        yield from (("handshake_us.p50", p50), ("handshake_us.p99", p99), ("handshake_us.max", max(handshakes)))
    if _total(ends, "resets") is not None:
        yield "resets", sum(_was_reset(connection) for connection in connections)


def _was_reset(connection: Connection) -> bool:
    ends = (connection.sender, connection.receiver)
    return any(socket is not None and socket.counters["resets"] > 0 for socket in ends)


def _standing_queue(connections: Sequence[Connection]) -> Iterator[tuple[str, float]]:
    """Compare the median round trip with the smallest on each pair of hosts; the longest queue counts.

    The shortest path's round trip says nothing of the queue on another.
    """
    by_hosts: dict[tuple[str, str | None], list[TcpSocket]] = defaultdict(list)
    for connection in connections:
        if connection.sender is not None and _elapsed_ns(connection.sender):
            by_hosts[_hosts(connection)].append(connection.sender)
    queues = []
    for sockets in by_hosts.values():
        median_us = statistics(merge(socket.rtt_us for socket in sockets)).get("p50")
        least_us = min((socket.gauges["min_rtt_us"] for socket in sockets if "min_rtt_us" in socket.gauges), default=0)
        if median_us is not None and least_us:
            queues.append((max(median_us - least_us, 0.0), median_us / least_us))
    if queues:
        yield "queue_delay_us", max(queue_us for queue_us, _ in queues)
        yield "rtt_inflation_ratio", max(ratio for _, ratio in queues)
