"""Flows, and what the TCP collector saw of one socket."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_ID_BYTES: Final = 8
_FLOWS_REMEMBERED: Final = 4096


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


@functools.lru_cache(maxsize=_FLOWS_REMEMBERED)
def flow_id(key: FlowKey) -> str:
    """Return 16 hexadecimal digits that stand for the flow's 5-tuple, alike in both directions and on both hosts."""
    ends = sorted((_packed(key.local) + key.local_port.to_bytes(2), _packed(key.remote) + key.remote_port.to_bytes(2)))
    return hashlib.blake2b(b"".join((key.protocol.encode(), *ends)), digest_size=_ID_BYTES).hexdigest()


def _packed(text: str) -> bytes:
    """Return an address as 16 bytes; IPv4 as the IPv6 address that it is mapped to."""
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


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
    `slow_start_rtt_us` are the round trips of slow start, the warm-up's too (None: the collector does not tell).
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
    slow_start_rtt_us: Histogram | None = None
