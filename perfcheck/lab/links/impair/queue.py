"""A bounded drop-tail queue in front of a line of a fixed rate, as arithmetic on nanoseconds.

The line sends at its rate without gaps while packets wait, so the end of a packet's transmission
is known the moment it arrives; nothing is stored but that time.
"""

from __future__ import annotations

from collections import deque

from perfcheck.lab.links.impair.plan import DEFAULT_QUEUE_PACKETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfcheck.lab.links.impair.plan import DirectionPlan

BITS_NS = 8 * 10**9


class DropTail:
    """Limit in bytes (those still to be sent of the packet on the line count) or in packets (it counts as one)."""

    __slots__ = ("_ends", "_limit_ns", "_limit_packets", "_rate_bps", "_worst_ns", "free_ns")

    def __init__(self, rate_bps: int, limit_bytes: int | None = None, limit_packets: int | None = None) -> None:
        """Take the line's rate and one limit, or none."""
        self._rate_bps = rate_bps
        self._limit_ns = None if limit_bytes is None else -(-limit_bytes * BITS_NS // rate_bps)
        self._limit_packets = limit_packets
        self._ends: deque[int] = deque()
        self.free_ns = 0
        self._worst_ns = 0

    def enqueue(self, now_ns: int, size_bytes: int) -> int:
        """Return when its last bit has left the line, or -1 when the queue has no room for it."""
        start = max(self.free_ns, now_ns)
        end = start + size_bytes * BITS_NS // self._rate_bps
        if start > now_ns and not self._has_room(now_ns, end):
            return -1
        self.free_ns = end
        if self._limit_packets is not None:
            self._ends.append(end)
        self._worst_ns = max(self._worst_ns, end - now_ns)
        return end

    def limit_ns(self, packet_bytes: int) -> int:
        """Return the longest time that a packet of this size spends here, its own on the line included."""
        if self._limit_ns is not None:
            return max(self._limit_ns, packet_bytes * BITS_NS // self._rate_bps)
        return (self._limit_packets or 1) * packet_bytes * BITS_NS // self._rate_bps

    def _has_room(self, now_ns: int, end_ns: int) -> bool:
        if self._limit_ns is not None:
            return end_ns - now_ns <= self._limit_ns
        if self._limit_packets is None:
            return True
        return self._count(now_ns) < self._limit_packets

    def _count(self, now_ns: int) -> int:
        ends = self._ends
        while ends and ends[0] <= now_ns:
            ends.popleft()
        return len(ends)

    def waiting_bytes(self, now_ns: int) -> int:
        """Return how many bytes are still to be sent."""
        return max(0, self.free_ns - now_ns) * self._rate_bps // BITS_NS

    def worst_bytes(self) -> int:
        """Return the longest queue since the last call, the packet on the line included."""
        worst = self._worst_ns * self._rate_bps // BITS_NS
        self._worst_ns = 0
        return worst


def queue_of(plan: DirectionPlan) -> DropTail | None:
    """Return the queue that a direction's plan asks for, or None without a rate."""
    if plan.rate_bps is None:
        return None
    if plan.queue_bytes is not None:
        return DropTail(plan.rate_bps, limit_bytes=plan.queue_bytes)
    return DropTail(plan.rate_bps, limit_packets=plan.queue_packets or DEFAULT_QUEUE_PACKETS)
