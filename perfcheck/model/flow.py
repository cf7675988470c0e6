"""Flows, and what the TCP collector saw of one socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Protocol(StrEnum):
    """Transport protocols that scenarios use."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowKey:
    """One direction of a flow as its own host sees it: local and remote address and port."""

    protocol: Protocol
    host: str
    local: str
    local_port: int
    remote: str
    remote_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """A log-linear histogram.

    `edges` (n+1 ascending values in `unit`) bound the n buckets of `counts`; `below` and `above`
    count what fell off either end, so nothing is lost. `minimum`, `maximum` and `total` (the sum
    of all values) are exact, in `unit`.
    """

    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many values went in, those off the scale included."""
        return sum(self.counts) + self.below + self.above


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketBuffers:
    """How full the buffers of one socket were, looked at in equal steps of time after the warm-up.

    `snd_use_pct` and `rcv_use_pct` are memory in use over the buffer's size at the moment;
    `sendq_bytes` and `recvq_bytes` data, as ss(8) shows them. `*buf_bytes` are the largest sizes.
    """

    key: FlowKey
    snd_use_pct: Histogram
    rcv_use_pct: Histogram
    sendq_bytes: Histogram
    recvq_bytes: Histogram
    sndbuf_bytes: int
    rcvbuf_bytes: int
    drops: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocket:
    """What the kernel's tcp_sock of one connection did, seen from host `key.host`.

    Counters cover the time after the warm-up, up to the close (or the read-out); `whole_*`
    cover the whole connection, for cross-checks against reports that know no warm-up. `established_ns` is 0 where
    that was not seen: of an attempt that failed, and of a connection that was there before the trial.
    Counters are named in bpf/perfcheck.h, gauges in `collect/tcp/collector.py`'s docstring, units in the names.
    """

    key: FlowKey
    cookie: int
    established_ns: int
    first_ns: int
    last_ns: int
    closed: bool
    congestion: str
    rtt_us: Histogram
    srtt_us: Histogram
    cwnd: Histogram
    inflight: Histogram
    counters: Mapping[str, int]
    gauges: Mapping[str, float]
    whole_bytes_acked: int
    whole_bytes_received: int
    whole_retrans_segs: int
    whole_segs_out: int
