"""From what the load's client and server wrote to a TrafficReport; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import TrafficError
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.load_metrics import any_has
from perfcheck.model.observation import Arrival, FlowReport, TrafficReport
from perfcheck.model.traffic import LoadSpec
from perfcheck.traffic.connections.client import DONE
from perfcheck.traffic.connections.log import (
    ConnectionLog,
    connection_arrivals,
    connection_metrics,
    connection_timings,
)
from perfcheck.traffic.requests import Answered, arrivals, request_metrics, timed

BURST: Final = 32
"""Datagrams that are sent before the server answers; the log has one time for each burst."""
STEP_NS: Final = 100_000_000
_COLUMNS: Final = 4
"""Times of a connection in the log."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One finished run: what client and server wrote, the log of times, and CLOCK_MONOTONIC around the client."""

    spec: LoadSpec
    client: str
    server: str
    log: bytes
    served: tuple[str, int]
    start_ns: int
    end_ns: int
    cpu_s: float
    ahead_ns: tuple[int, int] = (0, 0)
    """How far the clocks of the client's and of the server's machine are ahead of this one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The client's own report; `flow` is its end of the connection or of the datagrams, as words."""

    units: int
    size_bytes: int
    took_ns: int
    began_ns: int
    sent_bytes: int | None = None
    retransmits: int | None = None
    flow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What is different between the kinds of load."""

    metrics: Mapping[str, float]
    arrivals: tuple[Arrival, ...]
    measured_ns: tuple[int, int] | None
    answered: Answered | None = None
    connections: ConnectionLog | None = None


def build_report(ran: Ran) -> TrafficReport:
    """Return the report; TrafficError where client or server did not write what they write at every good end."""
    told = read_totals(ran.client)
    totals = replace(told, began_ns=told.began_ns - ran.ahead_ns[0])
    found = _measured(ran, totals)
    return TrafficReport(
        generator="load",
        flows=tuple(_flows(ran, totals)),
        metrics={"app.duration_us": _length_ns(totals, found) / 1e3, **found.metrics},
        start_ns=ran.start_ns,
        end_ns=ran.end_ns,
        background=ran.spec.background,
        cpu_pct=100 * ran.cpu_s / ((ran.end_ns - ran.start_ns) / 1e9),
        raw={"client": ran.client},
        arrivals=found.arrivals,
        measured_ns=found.measured_ns,
        zero_ns=totals.began_ns,
        requests=timed(found.answered, totals.began_ns) if found.answered is not None else None,
        timings=connection_timings(found.connections) if found.connections is not None else (),
        served=(ran.served,) if not totals.flow else (),
    )


def read_totals(text: str) -> Totals:
    """Read the client's report; TrafficError where it is none."""
    words = {line.split()[0]: tuple(line.split()[1:]) for line in text.splitlines() if line.split()}
    try:
        numbers = {name: int(rest[0]) for name, rest in words.items() if name != "flow"}
        return Totals(
            units=numbers["units"], size_bytes=numbers["bytes"], took_ns=numbers["ns"], began_ns=numbers["began"],
            sent_bytes=numbers.get("sent"), retransmits=numbers.get("retransmits"), flow=words.get("flow", ()),
        )  # fmt: skip
    except (KeyError, ValueError, IndexError):
        raise TrafficError(
            f"the load's client printed no totals: {text.strip()[-300:] or 'it printed nothing'}"
        ) from None


def _measured(ran: Ran, totals: Totals) -> _Measured:
    match ran.spec.kind:
        case "stream":
            return _stream(ran, totals)
        case "requests":
            return _requests(_times(ran, totals, totals.units), totals)
        case "connections":
            return _connections(_times(ran, totals, totals.units * _COLUMNS), totals)
        case "datagrams":
            return _datagrams(_times(ran, totals, totals.units // BURST), ran.spec, totals)


def _times(ran: Ran, totals: Totals, count: int) -> Times:
    """Return so many times of the log, which ascend; TrafficError where there are others."""
    if len(ran.log) != 8 * count:
        raise TrafficError(f"the load's log has {len(ran.log)} bytes instead of {8 * count}: it was cut off")
    times = np.frombuffer(ran.log, dtype=np.int64) - ran.ahead_ns[0]
    if count and (np.diff(times, prepend=totals.began_ns) < 0).any():
        raise TrafficError("the times in the load's log do not ascend")
    return times


def _stream(ran: Ran, totals: Totals) -> _Measured:
    moments = [(totals.began_ns, 0), *((at_ns - ran.ahead_ns[1], size) for at_ns, size in _arrived(ran.server))]
    if moments[-1][1] != totals.size_bytes:
        raise TrafficError(f"the load's server told of {moments[-1][1]} of {totals.size_bytes} bytes")
    found = tuple(
        Arrival(begin_ns=begin_ns, end_ns=end_ns, size_bytes=after - before)
        for (begin_ns, before), (end_ns, after) in pairwise(moments)
    )
    span = (totals.began_ns, moments[-1][0])
    rate_bps = 8e9 * totals.size_bytes / max(span[1] - span[0], 1)
    return _Measured(metrics={"app.throughput_bps": rate_bps}, arrivals=found, measured_ns=span)


def _arrived(server: str) -> Iterator[tuple[int, int]]:
    """Yield when the server had how many bytes."""
    for line in server.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "arrived":
            yield int(words[1]), int(words[2])


def _requests(ended_ns: Times, totals: Totals) -> _Measured:
    """Each request is sent when the answer to the one before has come."""
    begun_ns = np.concatenate((np.array([totals.began_ns], dtype=np.int64), ended_ns[:-1]))
    answered = Answered(sent_us=(begun_ns - totals.began_ns) / 1e3, latency_us=(ended_ns - begun_ns) / 1e3)
    arrived, span = arrivals(answered, 0.0, totals.began_ns)
    return _Measured(metrics=request_metrics(answered, 0.0), arrivals=arrived, measured_ns=span, answered=answered)


def _connections(times: Times, totals: Totals) -> _Measured:
    begin_ns, connected_ns, first_ns, end_ns = times.reshape(-1, _COLUMNS).T
    log = ConnectionLog(
        begin_ns=begin_ns, connect_ns=connected_ns - begin_ns, first_byte_ns=first_ns - begin_ns,
        length_ns=end_ns - begin_ns, outcome=np.full(len(begin_ns), DONE, dtype=np.int64),
    )  # fmt: skip
    arrived, span = connection_arrivals(log, 0)
    # A load counts no failures: the first one ends it.
    metrics = {
        name: value for name, value in connection_metrics(log, 0, totals.took_ns).items()
        if any_has(("connections",), name)
    }  # fmt: skip
    return _Measured(metrics=metrics, arrivals=arrived, measured_ns=span, connections=log)


def _datagrams(ended_ns: Times, spec: LoadSpec, totals: Totals) -> _Measured:
    """Group the bursts by steps of time: what is sent before an answer has arrived when the answer comes."""
    steps = (ended_ns - totals.began_ns) // STEP_NS
    last = np.flatnonzero(np.diff(steps, append=steps[-1] + 1))
    edges = [totals.began_ns, *(int(ended_ns[index]) for index in last)]
    bursts = np.diff(last, prepend=-1)
    found = tuple(
        Arrival(
            begin_ns=begin_ns, end_ns=end_ns, size_bytes=int(count) * BURST * spec.size_bytes,
            datagrams=int(count) * BURST,
        )
        for (begin_ns, end_ns), count in zip(pairwise(edges), bursts, strict=True)
    )  # fmt: skip
    rate_bps = 8e9 * totals.size_bytes / max(edges[-1] - edges[0], 1)
    metrics = {
        "app.throughput_bps": rate_bps, "udp.throughput_bps": rate_bps, "udp.datagrams": float(totals.units),
    }  # fmt: skip
    return _Measured(metrics=metrics, arrivals=found, measured_ns=(edges[0], edges[-1]))


def _length_ns(totals: Totals, found: _Measured) -> int:
    """Return the time of the load: of one direction until the last byte had arrived, else until the last answer."""
    return totals.took_ns if found.measured_ns is None else found.measured_ns[1] - totals.began_ns


def _flows(ran: Ran, totals: Totals) -> Iterable[FlowReport]:
    """Return the one flow; connections are too many to be named."""
    if not totals.flow:
        return
    protocol = Protocol(ran.spec.protocol)
    sender = _key(protocol, ran.spec.from_host, totals.flow)
    peer = next((line.split()[1:] for line in ran.server.splitlines() if line.startswith("peer ")), None)
    # The server's end differs where addresses are translated on the way.
    receiver = _key(protocol, ran.spec.to_host, (*totals.flow[2:], *totals.flow[:2]) if peer is None else peer)
    yield FlowReport(
        sender=sender, receiver=receiver, bytes_sent=totals.sent_bytes, bytes_received=totals.sent_bytes,
        retransmits=totals.retransmits,
    )  # fmt: skip


def _key(protocol: Protocol, host: str, words: Iterable[str]) -> FlowKey:
    try:
        local, local_port, remote, remote_port = words
        return FlowKey(
            protocol=protocol, host=host, local=local, local_port=int(local_port), remote=remote,
            remote_port=int(remote_port),
        )  # fmt: skip
    except ValueError:
        raise TrafficError(f"the load named no flow: {' '.join(words)!r}") from None
