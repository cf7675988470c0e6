"""Bounds that a user sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBounds:
    """A bound of each kind; None: no such alert.

    `drops_pct` is the share of packets that queues, devices, the IP layer and sockets of this machine drop, without
    those that somebody decided to drop or that nobody asked for (`perfcheck.live.drops`). The whole is what interfaces
    sent and received, and the dropped ones; where interfaces are not watched, the segments of the flows.
    """

    rtt_p99_us: float | None = None
    retrans_pct: float | None = None
    drops_pct: float | None = None
