"""Bounds that a user sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UserBounds:
    """A bound of each kind; None: no such alert.

    `drops_per_s` counts packets that queues, devices, the IP layer and sockets of this machine drop, without those that
    somebody decided to drop or that nobody asked for (`perfcheck.live.drops`). A share would need a whole: packets are
    counted at other places than drops are.
    """

    rtt_p99_us: float | None = None
    retrans_pct: float | None = None
    drops_per_s: float | None = None
