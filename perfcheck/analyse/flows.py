"""Which sockets belong to the scenario's measured traffic, and which of the two sends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from perfcheck.model.flow import FlowKey, Protocol, TcpSocket
from perfcheck.model.observation import FlowReport, TrafficReport

Identity = tuple[str, str, int, str, int]
_Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One measured TCP connection: its sender's and receiver's sockets (None: not seen) and its report, if any."""

    sender: TcpSocket | None
    receiver: TcpSocket | None
    report: FlowReport | None = None


def measured_connections(sockets: Sequence[TcpSocket], reports: Sequence[TrafficReport]) -> tuple[Connection, ...]:
    """Match the sockets to the traffic that is not background.

    A report with flows is matched by host and exact 4-tuple. One without (requests and the `command`
    generator name none) takes every connection of the lab that no other report has a share in, and that no
    background traffic's server has.
    """
    by_identity = _latest_by_identity(sockets)
    found = [
        Connection(
            sender=by_identity.get(identity(flow.sender)),
            receiver=by_identity.get(identity(flow.receiver)),
            report=flow,
        )
        for report in reports
        if not report.background
        for flow in report.flows
        if flow.sender.protocol is Protocol.TCP
    ]
    if any(not report.flows and not report.background for report in reports):
        found += _unclaimed(by_identity, reports)
    return tuple(found)


def identity(key: FlowKey) -> Identity:
    """Return what makes a TCP socket unique in the lab; IPv4-mapped IPv6 addresses count as IPv4."""
    return (key.host, _plain(key.local), key.local_port, _plain(key.remote), key.remote_port)


def _plain(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def _latest_by_identity(sockets: Sequence[TcpSocket]) -> dict[Identity, TcpSocket]:
    """Of several connections that used the same ports one after the other, keep the one that carried most."""
    grouped: dict[Identity, list[TcpSocket]] = defaultdict(list)
    for socket in sockets:
        grouped[identity(socket.key)].append(socket)
    return {key: max(group, key=_carried) for key, group in grouped.items()}


def _carried(socket: TcpSocket) -> int:
    return socket.whole_bytes_acked + socket.whole_bytes_received


def _unclaimed(by_identity: dict[Identity, TcpSocket], reports: Sequence[TrafficReport]) -> list[Connection]:
    """Connections that share no endpoint with any report's flows, or with the servers of background traffic.

    iperf3's control connection shares its server's address and port with the streams, so it is
    left out with them.
    """
    claimed = served_behind(reports)
    for report in reports:
        for flow in report.flows:
            claimed |= {_local(flow.sender), _local(flow.receiver)}
    free = {key: socket for key, socket in by_identity.items() if not {key[1:3], key[3:5]} & claimed}
    pairs: dict[frozenset[_Endpoint], list[TcpSocket]] = defaultdict(list)
    for key, socket in free.items():
        pairs[frozenset({key[1:3], key[3:5]})].append(socket)
    return [_directed(ends) for ends in _across_translation(list(pairs.values()))]


def served_behind(reports: Sequence[TrafficReport]) -> set[_Endpoint]:
    """Return where the servers of background traffic that names no flows listen."""
    return {(_plain(address), port) for report in reports if report.background for address, port in report.served}


def _across_translation(pairs: list[list[TcpSocket]]) -> list[list[TcpSocket]]:
    """Join single ends that a router's address translation keeps apart.

    The inner end knows the outer one by its address and port; the outer end sees the router's address, and the
    inner end's port, which Linux keeps as long as the router has it free.
    """
    joined = [ends for ends in pairs if len(ends) > 1]
    single = {id(ends[0]): ends[0] for ends in pairs if len(ends) == 1}
    outer = {(_local(socket.key), socket.key.remote_port): socket for socket in single.values()}
    for inner in list(single.values()):
        key = inner.key
        other = outer.get(((_plain(key.remote), key.remote_port), key.local_port))
        if other is not None and other.key.host != key.host and {id(inner), id(other)} <= single.keys():
            joined.append([single.pop(id(inner)), single.pop(id(other))])
    return [*joined, *([socket] for socket in single.values())]


def _directed(ends: list[TcpSocket]) -> Connection:
    """The end that had more of its own bytes acknowledged is the sender."""
    if len(ends) == 1:
        sends = ends[0].whole_bytes_acked >= ends[0].whole_bytes_received
        return Connection(sender=ends[0] if sends else None, receiver=None if sends else ends[0])
    ordered = sorted(ends, key=lambda end: end.whole_bytes_acked, reverse=True)
    return Connection(sender=ordered[0], receiver=ordered[1])


def _local(key: FlowKey) -> _Endpoint:
    return (_plain(key.local), key.local_port)
