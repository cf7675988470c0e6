"""A queue that drops from its front: who waits, and when the line is free for the next of them."""

from __future__ import annotations

from collections import deque

from perfcheck.lab.links.impair.codel import CoDel
from perfcheck.lab.links.impair.queue import BITS_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from perfcheck.lab.links.impair.varying import Line

IDLE_NS: Final = 1 << 62
"""When the next packet begins where none waits."""


class FixedLine:
    """A line of one rate for ever."""

    __slots__ = ("_rate_bps",)

    def __init__(self, rate_bps: int) -> None:
        """Take the rate > 0."""
        self._rate_bps = rate_bps

    def send(self, start_ns: int, size_bytes: int) -> int:
        """Return when a packet has left that begins at start_ns."""
        return start_ns + size_bytes * BITS_NS // self._rate_bps


class ActiveQueue:
    """Packets that wait for a line, bounded in bytes or packets, judged by CoDel when they come to the front.

    A dropped packet takes its room until the line would have sent it, and no time on the line; so
    unlike a drop-tail queue's, a packet's end is known only when those in front of it have gone. The
    packet on the line counts whole until it has left.
    """

    __slots__ = (
        "_begin_ns", "_bytes", "_law", "_limit_bytes", "_limit_packets", "_line", "_packet_bytes", "_sending",
        "_waiting", "_worst", "free_ns",
    )  # fmt: skip

    def __init__(
        self, line: Line, law: CoDel, *, begin_ns: int, limit_bytes: int | None, limit_packets: int | None,
        packet_bytes: int,
    ) -> None:  # fmt: skip
        """Take the line and when its time begins, the law, one limit, and the largest packet's size."""
        self._line = line
        self._law = law
        self._begin_ns = begin_ns
        self._limit_bytes = limit_bytes
        self._limit_packets = limit_packets
        self._packet_bytes = packet_bytes
        self._waiting: deque[tuple[int, bytes, bool]] = deque()
        self._sending = 0
        self._bytes = 0
        self._worst = 0
        self.free_ns = 0

    def __len__(self) -> int:
        """Packets that wait, without the one on the line."""
        return len(self._waiting)

    @property
    def next_begin_ns(self) -> int:
        """When the packet in front comes to its turn; IDLE_NS where none waits."""
        return max(self.free_ns, self._waiting[0][0]) if self._waiting else IDLE_NS

    def enqueue(self, now_ns: int, frame: bytes, *, overtakes: bool) -> bool:
        """Take a packet, or give False where it finds no room; what came to its turn before now has been taken out."""
        sending = self._sending if self.free_ns > now_ns else 0
        waiting = len(self._waiting) + bool(sending)
        if waiting and not self._has_room(len(frame) + self._bytes + sending, waiting):
            return False
        self._waiting.append((now_ns, frame, overtakes))
        self._bytes += len(frame)
        self._worst = max(self._worst, self._bytes + sending)
        return True

    def take(self) -> tuple[bytes, bool, int, bool]:
        """Take out the packet in front: the frame, whether it overtakes, when its turn came, and what the law says."""
        begins = self.next_begin_ns
        arrived, frame, overtakes = self._waiting.popleft()
        self._bytes -= len(frame)
        # RFC 8289, 4.2: what is left is no standing queue when it is no more than one packet.
        waited = begins - arrived if self._bytes > self._packet_bytes else 0
        return frame, overtakes, begins, self._law.tells(begins, waited)

    def send(self, begins_ns: int, frame: bytes) -> int:
        """Put a packet that was taken out on the line and give when it has left."""
        self._sending = len(frame)
        self.free_ns = self._begin_ns + self._line.send(begins_ns - self._begin_ns, len(frame))
        return self.free_ns

    def worst_bytes(self) -> int:
        """Return the longest queue since the last call, the packet on the line included."""
        worst, self._worst = self._worst, self._bytes
        return worst

    def _has_room(self, wanted_bytes: int, waiting: int) -> bool:
        if self._limit_packets is not None:
            return waiting < self._limit_packets
        return self._limit_bytes is None or wanted_bytes <= self._limit_bytes
