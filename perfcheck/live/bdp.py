"""What is in flight against the path's BDP: whether a window, the application or the path holds a connection back.

The BDP is delivery rate x min RTT. Data in flight is never taken for it: by Little's law it is rate x mean RTT, which
a queue makes larger. What is in flight beyond the BDP is therefore what waits in queues. Where nothing waits, the
path may be full to the point or something else may limit; the kernel's own times of being limited decide that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from perfcheck.live.connections import largest
from perfcheck.live.perspectives import senders
from perfcheck.model.flow import FlowKey
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.units import format_value, whole_pct

QUEUED: Final = 1.25
"""So many BDPs in flight, and a queue stands."""
BELOW: Final = 0.8
"""Fewer, and the path is not filled."""
LIMITED_PCT: Final = 20.0
"""Of the busy time: from there on a window or buffer is said to limit (`bottleneck.LIMITED_PCT`)."""
BUSY_PCT: Final = 50.0
"""Of the time; below, the application limits."""
SEEN: Final = 0.25
"""So much of the time that a queue takes has to be in the round trips, or no queue stands."""
LEAST_QUEUE_US: Final = 200.0
"""A shorter queue is what hosts themselves take."""
TOLD: Final = 5
"""Connections that a report has a verdict for."""
RELIABLE_BUSY_PCT: Final = 10.0
"""The kernel counts busy time in jiffies: below, there is no rate that could be compared."""
_EACH: Final = 32
_MOST: Final = 1024
"""Connections that are summed up: the largest of each interval, and of all."""


class Fill(StrEnum):
    """What is in flight, compared with the BDP."""

    BELOW = "below"
    ABOUT = "about"
    ABOVE = "above"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What one connection did in a run; `rate_bps` is its delivery rate while there was data to send.

    Shares are percent: `busy_pct` of the time, the limits of the busy time. `rtt_us` is the mean.
    """

    key: FlowKey
    bytes_acked: int
    rate_bps: float
    min_rtt_us: float
    rtt_us: float
    inflight_bytes: float
    cwnd_bytes: float
    busy_pct: float
    rwnd_pct: float
    sndbuf_pct: float

    @property
    def bdp_bytes(self) -> float:
        """Delivery rate x min RTT; NaN where one is not known."""
        return self.rate_bps / 8 * self.min_rtt_us / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a path is filled; `queue_bytes` and `queue_us` are of a standing queue, else 0. `text` is one sentence."""

    fill: Fill
    queue_bytes: float
    queue_us: float
    text: str


def verdict(path: Path) -> Verdict:
    """Return what data in flight, against the BDP, says of a connection."""
    bdp, flight = path.bdp_bytes, path.inflight_bytes
    if path.busy_pct < RELIABLE_BUSY_PCT and path.bytes_acked:
        return _no_queue(Fill.UNKNOWN, f"Data to send for {whole_pct(path.busy_pct)} of the time: the application "
                         "limits, and its rate says nothing of what the path carries.")  # fmt: skip
    if not (bdp > 0 and flight >= 0):
        return _no_queue(Fill.UNKNOWN, "The BDP is not known: there are too few samples of RTT or rate.")
    numbers = (f"{_bytes(flight)} in flight, BDP {_bytes(bdp)} ({format_value(path.rate_bps, 'bps')} x min RTT "
               f"{format_value(path.min_rtt_us, 'us')})")  # fmt: skip
    if flight > QUEUED * bdp:
        return _beyond(path, numbers)
    if flight < BELOW * bdp:
        return _no_queue(Fill.BELOW, f"{numbers}: below it. {_limit(path) or _APPLICATION_OR_WINDOW}")
    return _no_queue(Fill.ABOUT, f"{numbers}: about equal. {_limit(path) or _FULL}")


def _beyond(path: Path, numbers: str) -> Verdict:
    """Return the verdict on more than the BDP: it waits where round trips are longer for it, or was a burst."""
    over = path.inflight_bytes - path.bdp_bytes
    queue_us, longer_us = 8e6 * over / path.rate_bps, path.rtt_us - path.min_rtt_us
    if longer_us < SEEN * queue_us:
        least = format_value(max(longer_us, 0.0), "us")
        text = f"{numbers}: sent in bursts, since the mean RTT is only {least} above its minimum."
        return _no_queue(Fill.BELOW, f"{text} {_limit(path) or _APPLICATION_OR_WINDOW}")
    if queue_us <= LEAST_QUEUE_US:
        text = f"{numbers}: the rest takes {format_value(queue_us, 'us')}, as in the hosts themselves."
        return _no_queue(Fill.ABOUT, f"{text} {_limit(path) or _FULL}")
    bound = f" The receive window bounds it ({whole_pct(path.rwnd_pct)} of the busy time)."
    return Verdict(
        fill=Fill.ABOVE, queue_bytes=over, queue_us=queue_us,
        text=f"{numbers}: above it. A queue of {_bytes(over)} stands, which takes {format_value(queue_us, 'us')}."
        f"{bound if path.rwnd_pct >= LIMITED_PCT else ''}",
    )  # fmt: skip


def _no_queue(fill: Fill, text: str) -> Verdict:
    return Verdict(fill=fill, queue_bytes=0.0, queue_us=0.0, text=text)


_APPLICATION_OR_WINDOW: Final = "A window or the application limits, not the path."
_FULL: Final = "The path is full without a queue, or the congestion window is what limits."


def _limit(path: Path) -> str:
    """Return what limits a connection whose path has no queue; nothing where only cwnd or the path can."""
    if path.rwnd_pct >= max(LIMITED_PCT, path.sndbuf_pct):
        return f"No queue stands: the receive window limits ({whole_pct(path.rwnd_pct)} of the busy time)."
    if path.sndbuf_pct >= LIMITED_PCT:
        return f"No queue stands: the send buffer limits ({whole_pct(path.sndbuf_pct)} of the busy time)."
    if path.busy_pct < BUSY_PCT:
        return f"No queue stands: the application limits (data to send for {whole_pct(path.busy_pct)} of the time)."
    return ""


def _bytes(number: float) -> str:
    return format_value(number, "bytes")


@dataclass(slots=True, kw_only=True)
class _Sums:
    key: FlowKey
    bytes_acked: int = 0
    elapsed_us: int = 0
    busy_us: int = 0
    rwnd_us: int = 0
    sndbuf_us: int = 0
    min_rtt_us: float = np.inf
    samples: float = 0.0
    rtt_total_us: float = 0.0
    inflight_total: float = 0.0
    cwnd_total: float = 0.0

    def _rate_bps(self) -> float:
        if _share(self.busy_us, self.elapsed_us) >= RELIABLE_BUSY_PCT:
            return 8e6 * self.bytes_acked / self.busy_us
        return np.nan

    def path(self) -> Path:
        """Return what the sums make."""
        samples = self.samples or np.nan
        return Path(
            key=self.key, bytes_acked=self.bytes_acked,
            rate_bps=self._rate_bps(),
            min_rtt_us=self.min_rtt_us if np.isfinite(self.min_rtt_us) else np.nan,
            rtt_us=self.rtt_total_us / samples, inflight_bytes=self.inflight_total / samples,
            cwnd_bytes=self.cwnd_total / samples,
            busy_pct=_share(self.busy_us, self.elapsed_us), rwnd_pct=_share(self.rwnd_us, self.busy_us),
            sndbuf_pct=_share(self.sndbuf_us, self.busy_us),
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Paths:
    """Sums of the connections that send the most, over all intervals."""

    _sums: dict[tuple[int, int], _Sums] = field(default_factory=dict)

    def add(self, flows: FlowTable) -> None:
        """Add an interval's connections."""
        rows = np.flatnonzero(senders(flows))
        rows = rows[largest(flows["bytes_acked"][rows].astype(np.float64), _EACH)]
        for row in rows.tolist():
            self._add(flows, row)
        if len(self._sums) > _MOST:
            kept = sorted(self._sums.items(), key=lambda one: one[1].bytes_acked)[-_MOST // 2 :]
            self._sums = dict(kept)

    def _add(self, flows: FlowTable, row: int) -> None:
        whose = int(flows["netns"][row]), int(flows["cookie"][row])
        if whose not in self._sums:
            self._sums[whose] = _Sums(key=flows.key(row))
        into = self._sums[whose]
        into.bytes_acked += int(flows["bytes_acked"][row])
        into.elapsed_us += int(flows["elapsed_us"][row])
        into.busy_us += int(flows["busy_us"][row])
        into.rwnd_us += int(flows["rwnd_limited_us"][row])
        into.sndbuf_us += int(flows["sndbuf_limited_us"][row])
        least = float(np.fmin(flows["min_rtt_us"][row], flows["rtt_min_us"][row]))
        if least > 0:
            into.min_rtt_us = min(into.min_rtt_us, least)
        weight = float(max(int(flows["rtt_count"][row]), 1))
        mss, cwnd = float(flows["mss_bytes"][row]), float(flows["cwnd_segs"][row])
        rtt = _known(flows, row, "rtt_mean_us", "srtt_us")
        inflight = _known(flows, row, "inflight_mean_segs", "inflight_segs")
        if not (np.isfinite(rtt) and np.isfinite(inflight) and np.isfinite(mss)):
            return
        into.samples += weight
        into.rtt_total_us += weight * rtt
        into.inflight_total += weight * inflight * mss
        into.cwnd_total += weight * (cwnd if np.isfinite(cwnd) else 0.0) * mss

    def largest(self, most: int) -> Sequence[Path]:
        """Return the connections that sent the most, largest first."""
        chosen = sorted(self._sums.values(), key=lambda one: one.bytes_acked, reverse=True)
        return [one.path() for one in chosen[:most]]

    def __len__(self) -> int:
        """Return how many connections are summed up."""
        return len(self._sums)


def _known(flows: FlowTable, row: int, sampled: str, latest: str) -> float:
    """Return the mean of samples; where there are none (sock_diag), the latest value."""
    found = float(flows[sampled][row])
    return found if np.isfinite(found) else float(flows[latest][row])


def _share(part: float, whole: float) -> float:
    return min(100 * part / whole, 100.0) if whole > 0 else 0.0
