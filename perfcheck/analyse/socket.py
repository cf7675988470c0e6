"""Metrics of the sockets' buffers: the sender's of each measured flow for sending, the receiver's for receiving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from perfcheck.analyse.flows import identity, served_behind
from perfcheck.analyse.histogram import merge, statistics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import FlowKey, Histogram, SocketBuffers
from perfcheck.model.observation import Observation, TrafficReport

_SENT: tuple[tuple[str, Callable[[SocketBuffers], Histogram]], ...] = (
    ("snd_use_pct", lambda buffers: buffers.snd_use_pct),
    ("sendq_bytes", lambda buffers: buffers.sendq_bytes),
)
_RECEIVED: tuple[tuple[str, Callable[[SocketBuffers], Histogram]], ...] = (
    ("rcv_use_pct", lambda buffers: buffers.rcv_use_pct),
    ("recvq_bytes", lambda buffers: buffers.recvq_bytes),
)


def buffer_metrics(observations: Sequence[Observation], reports: Sequence[TrafficReport]) -> dict[str, float]:
    """Return `socket.*` over the measured flows' sockets; looks of all of them count alike.

    A generator that names no flows is taken to use every socket that no other report names, each
    of them both ways.
    """
    sockets = [buffers for seen in observations for buffers in seen.socket_buffers]
    senders, receivers = _ends(sockets, reports)
    found = dict(_distributions(senders, _SENT)) | dict(_distributions(receivers, _RECEIVED))
    if senders:
        found["sndbuf_bytes.max"] = float(max(buffers.sndbuf_bytes for buffers in senders))
    if receivers:
        found["rcvbuf_bytes.max"] = float(max(buffers.rcvbuf_bytes for buffers in receivers))
        found["drops"] = float(sum(buffers.drops for buffers in receivers))
    return {f"socket.{name}": value for name, value in found.items() if f"socket.{name}" in CATALOGUE}


def _ends(
    sockets: Sequence[SocketBuffers], reports: Sequence[TrafficReport]
) -> tuple[list[SocketBuffers], list[SocketBuffers]]:
    measured = [flow for report in reports if not report.background for flow in report.flows]
    senders = _of([flow.sender for flow in measured], sockets)
    receivers = _of([flow.receiver for flow in measured], sockets)
    if any(not report.flows and not report.background for report in reports):
        named = [flow for report in reports for flow in report.flows]
        taken = {_endpoint(key) for flow in named for key in (flow.sender, flow.receiver)}
        behind = served_behind(reports)
        free = [
            one for one in sockets
            if one.key.remote_port and _endpoint(one.key) not in taken
            and not behind & {identity(one.key)[1:3], identity(one.key)[3:5]}
        ]  # fmt: skip
        return [*senders, *free], [*receivers, *free]
    return senders, receivers


def _of(keys: Sequence[FlowKey], sockets: Sequence[SocketBuffers]) -> list[SocketBuffers]:
    wanted = {(key.protocol, identity(key)) for key in keys}
    return [buffers for buffers in sockets if (buffers.key.protocol, identity(buffers.key)) in wanted]


def _endpoint(key: FlowKey) -> tuple[str, str, int]:
    return (key.host, *identity(key)[1:3])


def _distributions(
    sockets: Sequence[SocketBuffers], quantities: tuple[tuple[str, Callable[[SocketBuffers], Histogram]], ...]
) -> Iterator[tuple[str, float]]:
    for quantity, histogram_of in quantities:
        for stat, value in statistics(merge(histogram_of(one) for one in sockets)).items():
            yield f"{quantity}.{stat}", value
