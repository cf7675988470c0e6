"""CoDel (RFC 8289): the law that tells senders to slow down, and a queue that drops from its front by it."""

from __future__ import annotations

from collections import deque
from math import isqrt

from perfcheck.lab.links.impair.queue import BITS_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from perfcheck.lab.links.impair.varying import Line

TARGET_NS: Final = 5_000_000
INTERVAL_NS: Final = 100_000_000
IDLE_NS: Final = 1 << 62
"""When the next packet begins where none waits."""
_SCALE: Final = 1 << 16


class CoDel:
    """Decides at the moment a packet begins its transmission (or would, were it not dropped), in that order.

    The law's own loop over a queue is here one question a packet, which comes to the same. Where
    the queue behind a packet does not matter (marks do not shorten it), `target_ns` must be longer
    than one packet takes on the line.
    """

    __slots__ = ("_above_since", "_count", "_dropping", "_interval_ns", "_last_count", "_next", "_target_ns", "_told")

    def __init__(self, target_ns: int = TARGET_NS, interval_ns: int = INTERVAL_NS) -> None:
        """Begin with a queue that has been short."""
        self._target_ns = target_ns
        self._interval_ns = interval_ns
        self._above_since: int | None = None
        self._dropping = False
        self._count = 0
        self._last_count = 0
        self._next = 0  # in ns / _SCALE: a drop in thousands must not come early or late for roundings that add up
        self._told = False

    def tells(self, begins_ns: int, waited_ns: int) -> bool:
        """Whether the packet that begins its transmission now, after so long a wait, is dropped or marked."""
        too_long = self._too_long(begins_ns, waited_ns)
        if self._dropping:
            if not too_long:
                self._dropping = False
                return False
            if self._told:
                self._told = False
                self._next += self._gap()
            if begins_ns * _SCALE < self._next:
                return False
            self._count += 1
            self._told = True
            return True
        if not too_long:
            return False
        self._dropping = True
        # A queue that was bad just now goes on about where the law left off.
        since_last = self._count - self._last_count
        recent = begins_ns * _SCALE - self._next < 16 * self._interval_ns * _SCALE
        self._count = since_last if recent and since_last > 1 else 1
        self._last_count = self._count
        self._next = begins_ns * _SCALE + self._gap()
        self._told = False
        return True

    def _too_long(self, now_ns: int, waited_ns: int) -> bool:
        if waited_ns < self._target_ns:
            self._above_since = None
            return False
        if self._above_since is None:
            self._above_since = now_ns
            return False
        return now_ns - self._above_since >= self._interval_ns

    def _gap(self) -> int:
        return isqrt((self._interval_ns * _SCALE) ** 2 // self._count)


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

    def waiting_bytes(self, now_ns: int) -> int:
        """Return how many bytes wait, the packet on the line included."""
        return self._bytes + (self._sending if self.free_ns > now_ns else 0)

    def worst_bytes(self) -> int:
        """Return the longest queue since the last call, the packet on the line included."""
        worst, self._worst = self._worst, self._bytes
        return worst

    def _has_room(self, wanted_bytes: int, waiting: int) -> bool:
        if self._limit_packets is not None:
            return waiting < self._limit_packets
        return self._limit_bytes is None or wanted_bytes <= self._limit_bytes
