"""What TCP alone says of a connection's latency: the path, its queues, and the applications at both of its ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from perfcheck.live.connections import largest
from perfcheck.model.flow import FlowKey
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.units import format_value

TOLD: Final = 5
_EACH: Final = 64
_MOST: Final = 1024
_LEAST_WAIT_BYTES: Final = 16.0
"""A FIN that waits counts as a byte of data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One connection's times in us; NaN: not known. `handshake_us` is of a connection that began meanwhile.

    `path_us` is the smallest RTT, `queue_us` what the mean smoothed RTT is above it. `send_wait_us` is how long data
    that is not yet on the way waits in the send buffer, `read_wait_us` how long received data waits to be read: data
    that waits by the rate at which it goes.
    """

    key: FlowKey
    bytes_moved: int
    handshake_us: float
    path_us: float
    rtt_us: float
    send_wait_us: float
    read_wait_us: float
    unsent_bytes: float
    unread_bytes: float

    @property
    def queue_us(self) -> float:
        """What round trips take beyond the smallest: queues on the way, and what hosts are late by."""
        return max(self.rtt_us - self.path_us, 0.0)

    def lines(self) -> Iterator[str]:
        """Yield what is known, a sentence a line."""
        if np.isfinite(self.handshake_us):
            yield f"handshake {_us(self.handshake_us)}"
        if np.isfinite(self.path_us) and np.isfinite(self.rtt_us):
            yield (f"RTT {_us(self.rtt_us)} = path {_us(self.path_us)} (the smallest) + "
                   f"queues and late hosts {_us(self.queue_us)}")  # fmt: skip
        if np.isfinite(self.send_wait_us) and self.unsent_bytes >= _LEAST_WAIT_BYTES:
            yield (f"send buffer: {format_value(self.unsent_bytes, 'bytes')} wait to be sent, for about "
                   f"{_us(self.send_wait_us)}")  # fmt: skip
        if self.unread_bytes >= _LEAST_WAIT_BYTES:
            lasting = f", for about {_us(self.read_wait_us)}" if np.isfinite(self.read_wait_us) else ""
            yield f"application: {format_value(self.unread_bytes, 'bytes')} wait to be read{lasting}"


def _us(value: float) -> str:
    return format_value(value, "us")


@dataclass(slots=True, kw_only=True)
class _Sums:
    key: FlowKey
    looks: int = 0
    rtt_looks: int = 0
    sent: int = 0
    received: int = 0
    elapsed_us: int = 0
    handshake_us: float = np.nan
    path_us: float = np.inf
    rtt_us: float = 0.0
    unsent: float = 0.0
    unread: float = 0.0

    def split(self) -> Split:
        """Return what the sums make."""
        unsent, unread = self.unsent / self.looks, self.unread / self.looks
        return Split(
            key=self.key, bytes_moved=self.sent + self.received, handshake_us=self.handshake_us,
            path_us=self.path_us if np.isfinite(self.path_us) else np.nan,
            rtt_us=self.rtt_us / self.rtt_looks if self.rtt_looks else np.nan, unsent_bytes=unsent,
            unread_bytes=unread, send_wait_us=self._wait_us(unsent, self.sent),
            read_wait_us=self._wait_us(unread, self.received),
        )  # fmt: skip

    def _wait_us(self, waiting: float, moved: int) -> float:
        """Return how long the last of what waits does: by Little's law, at the mean rate."""
        return waiting * self.elapsed_us / moved if moved and self.elapsed_us else np.nan


@dataclass(slots=True, kw_only=True)
class Splits:
    """Sums of the connections that carry the most, over all intervals."""

    _sums: dict[tuple[int, int], _Sums] = field(default_factory=dict)

    def add(self, flows: FlowTable) -> None:
        """Add an interval's connections."""
        moved = flows["bytes_acked"].astype(np.float64) + flows["bytes_received"]
        for row in largest(moved, _EACH).tolist():
            self._add(flows, row)
        if len(self._sums) > _MOST:
            kept = sorted(self._sums.items(), key=lambda one: one[1].sent + one[1].received)[-_MOST // 2 :]
            self._sums = dict(kept)

    def _add(self, flows: FlowTable, row: int) -> None:
        whose = int(flows["netns"][row]), int(flows["cookie"][row])
        if whose not in self._sums:
            self._sums[whose] = _Sums(key=flows.key(row))
        into = self._sums[whose]
        value = {name: float(flows[name][row]) for name in _VALUES}
        into.looks += 1
        into.sent += int(flows["bytes_acked"][row])
        into.received += int(flows["bytes_received"][row])
        into.elapsed_us += int(flows["elapsed_us"][row])
        if flows["established_ns"][row] and np.isfinite(value["handshake_us"]):
            into.handshake_us = value["handshake_us"]
        least = float(np.fmin(value["min_rtt_us"], value["rtt_min_us"]))
        if least > 0:
            into.path_us = min(into.path_us, least)
        rtt = value["rtt_mean_us"] if np.isfinite(value["rtt_mean_us"]) else value["srtt_us"]
        if rtt > 0:
            into.rtt_us += rtt
            into.rtt_looks += 1
        on_the_way = np.nan_to_num(value["inflight_segs"] * value["mss_bytes"])
        into.unsent += max(np.nan_to_num(value["sendq_bytes"]) - on_the_way, 0.0)
        into.unread += float(np.nan_to_num(value["recvq_bytes"]))

    def largest(self, most: int) -> Sequence[Split]:
        """Return the connections that carried the most, largest first."""
        chosen = sorted(self._sums.values(), key=lambda one: one.sent + one.received, reverse=True)
        return [one.split() for one in chosen[:most]]

    def __len__(self) -> int:
        """Return how many connections are summed up."""
        return len(self._sums)


_VALUES: Final = (
    "handshake_us", "min_rtt_us", "rtt_min_us", "rtt_mean_us", "srtt_us", "inflight_segs", "mss_bytes", "sendq_bytes",
    "recvq_bytes",
)  # fmt: skip
