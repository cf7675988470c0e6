"""Compares the same figure from two independent sources; a disagreement is shown, never hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.analyse.flows import identity, measured_connections
from perfcheck.analyse.layerchecks import layer_checks
from perfcheck.model.flow import Protocol, TcpSocket
from perfcheck.model.observation import LinkReport, Observation, TrafficReport
from perfcheck.model.record import CrossCheck

TCP_COLLECTOR: Final = "tcp"
BYTES_PCT: Final = 1.0
SEGMENTS_PCT: Final = 2.0
SEGMENTS_SLACK: Final = 1
POLLED_PCT: Final = 2.0


def cross_checks(
    trial: int,
    reports: Sequence[TrafficReport],
    observations: Sequence[Observation],
    links: Sequence[LinkReport] = (),
) -> tuple[CrossCheck, ...]:
    """Compare the TCP collector's figures of whole connections with the generator's, the kernel's and sock_diag's."""
    del links  # the lab judges its links itself; a link's packets are not yet split by flow
    sockets = _tcp_sockets(observations)
    checks = [
        *_against_generator(trial, sockets, reports),
        *_against_host(trial, sockets, observations),
        *_against_polling(trial, sockets, observations),
        *_udp_against_host(trial, reports, observations),
        *layer_checks(trial, observations),
    ]
    return tuple(checks)


def _tcp_sockets(observations: Sequence[Observation]) -> tuple[TcpSocket, ...]:
    """The TCP collector's sockets; where it could not be loaded, those of whatever collector took its place."""
    ordered = sorted(observations, key=lambda seen: seen.collector != TCP_COLLECTOR)
    return next((seen.tcp_sockets for seen in ordered if seen.tcp_sockets), ())


def _check(
    name: str, trial: int, ours: float, theirs: float, source: str, pct: float, slack: float = 0.0
) -> CrossCheck:
    allowed = max(pct / 100 * abs(theirs), slack)
    return CrossCheck(
        name=name, trial=trial, ours=ours, theirs=theirs, source=source, tolerance_pct=pct,
        agrees=abs(ours - theirs) <= allowed,
    )  # fmt: skip


def _against_generator(
    trial: int, sockets: Sequence[TcpSocket], reports: Sequence[TrafficReport]
) -> Iterator[CrossCheck]:
    for report in reports:
        flows = [
            (connection.sender, connection.report)
            for connection in measured_connections(sockets, [report])
            if connection.sender is not None and connection.report is not None
        ]
        sent = [flow.bytes_sent for _, flow in flows]
        received = [flow.bytes_received for _, flow in flows]
        retransmits = [flow.retransmits for _, flow in flows]
        acked = sum(socket.whole_bytes_acked for socket, _ in flows)
        if (bounds := _complete(received)) is not None:
            yield _bytes_check(trial, acked, bounds, _complete(sent), report.generator)
        elif (written := _complete(sent)) is not None:
            yield _check("tcp.bytes_acked", trial, acked, written, f"{report.generator}: bytes sent", BYTES_PCT)
        if (theirs := _complete(retransmits)) is not None:
            ours = sum(socket.whole_retrans_segs for socket, _ in flows)
            source = f"{report.generator}: retransmits"
            # The generator reads TCP_INFO once more before it closes; what each socket repeats after that only we see.
            slack = SEGMENTS_SLACK * len(flows)
            yield _check("tcp.retrans_segs", trial, ours, theirs, source, SEGMENTS_PCT, slack)


def _complete(values: Sequence[int | None]) -> int | None:
    """Sum of the values; None where there is none or any is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _bytes_check(trial: int, acked: int, received: int, sent: int | None, generator: str) -> CrossCheck:
    """Bytes acknowledged lie between what the receiver read and what the sender wrote.

    Whatever the receiver's buffer still holds at the end was acknowledged but never read, so only
    what lies beyond either bound is a disagreement; the nearer bound is shown.
    """
    bounds = {"bytes received": received, "bytes sent": received if sent is None else max(sent, received)}
    nearest = min(bounds, key=lambda name: abs(bounds[name] - acked))
    low, high = received * (1 - BYTES_PCT / 100), bounds["bytes sent"] * (1 + BYTES_PCT / 100)
    return CrossCheck(
        name="tcp.bytes_acked", trial=trial, ours=acked, theirs=bounds[nearest], source=f"{generator}: {nearest}",
        tolerance_pct=BYTES_PCT, agrees=low <= acked <= high,
    )  # fmt: skip


def _against_host(
    trial: int, sockets: Sequence[TcpSocket], observations: Sequence[Observation]
) -> Iterator[CrossCheck]:
    """All sockets of a host, cross traffic included, against the namespace's own Tcp.RetransSegs."""
    for counted in (host for seen in observations for host in seen.host_counters):
        theirs = counted.counters.get("Tcp.RetransSegs")
        own = [socket for socket in sockets if socket.key.host == counted.host]
        if theirs is None or not own:
            continue
        ours = sum(_retransmitted(socket) for socket in own)
        source = f"/proc/net/snmp of {counted.host}: Tcp.RetransSegs"
        yield _check(f"tcp.retrans_segs@{counted.host}", trial, ours, theirs, source, SEGMENTS_PCT, SEGMENTS_SLACK)


def _retransmitted(socket: TcpSocket) -> int:
    """Return what a socket retransmitted in the trial: of a connection that was there before, what was counted."""
    if socket.first_ns and not socket.established_ns:
        return socket.counters.get("retrans_segs", 0)
    return socket.whole_retrans_segs


def _against_polling(
    trial: int, sockets: Sequence[TcpSocket], observations: Sequence[Observation]
) -> Iterator[CrossCheck]:
    """A poller's last look comes before the end: what it may lack grows with how long before."""
    by_identity = {identity(socket.key): socket for socket in sockets}
    for seen in observations:
        if seen.collector == TCP_COLLECTOR or not seen.tcp_sockets or seen.tcp_sockets is sockets:
            continue
        pairs = [
            (by_identity[identity(polled.key)], polled)
            for polled in seen.tcp_sockets
            if identity(polled.key) in by_identity and polled.whole_bytes_acked
        ]
        if not pairs:
            continue
        ours = sum(mine.whole_bytes_acked for mine, _ in pairs)
        theirs = sum(polled.whole_bytes_acked for _, polled in pairs)
        # sock_diag counts SYN and FIN as a byte each.
        pct, slack = POLLED_PCT + _unseen_pct(pairs), 2 * len(pairs)
        yield _check("tcp.bytes_acked", trial, ours, theirs, seen.collector, pct, slack)


def _udp_against_host(
    trial: int, reports: Sequence[TrafficReport], observations: Sequence[Observation]
) -> Iterator[CrossCheck]:
    """Share of the payload that arrived, by the generator's bytes and by the two hosts' own datagram counters.

    Only where one host sends UDP to one other: the counters do not tell flows apart.
    """
    flows = [flow for report in reports for flow in report.flows if flow.sender.protocol is Protocol.UDP]
    ends = {(flow.sender.host, flow.receiver.host) for flow in flows}
    sent = _complete([flow.bytes_sent for flow in flows])
    received = _complete([flow.bytes_received for flow in flows])
    counted = {host.host: host.counters for seen in observations for host in seen.host_counters}
    if len(ends) != 1 or not sent or received is None:
        return
    ((sender, receiver),) = ends
    out = counted.get(sender, {}).get("Udp.OutDatagrams")
    into = counted.get(receiver, {}).get("Udp.InDatagrams")
    if out and into is not None:
        source = f"/proc/net/snmp: Udp.InDatagrams of {receiver} over Udp.OutDatagrams of {sender}"
        yield _check("udp.delivered_pct", trial, 100 * received / sent, 100 * into / out, source, BYTES_PCT)


def _unseen_pct(pairs: Sequence[tuple[TcpSocket, TcpSocket]]) -> float:
    """Largest share of a connection's life that lay after the poller's last look at it."""
    shares = [0.0]
    for mine, polled in pairs:
        life_ns = mine.last_ns - (mine.established_ns or mine.first_ns)
        if life_ns > 0:
            shares.append(100 * max(mine.last_ns - polled.last_ns, 0) / life_ns)
    return round(min(max(shares), 100.0), 3)
