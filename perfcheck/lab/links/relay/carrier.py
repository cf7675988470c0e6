"""One direction at work: frames in from a TAP, through the models, out to the other TAP, and all of them counted."""

from __future__ import annotations

import os
from time import monotonic_ns

from perfcheck.lab.links.relay.lateness import Lateness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Final

    from perfcheck.lab.links.impair.direction import ImpairedDirection
    from perfcheck.lab.links.relay.tap import Tap

BATCH_FRAMES: Final = 24
"""Frames read from one TAP before due frames are looked at again: about 0.15 ms of work."""
REST_SHIFT: Final = 3
SHORTEST_REST_NS: Final = 20_000
LONGEST_REST_NS: Final = 200_000


class Carrier:
    """One direction at work: its impairments between the TAP it reads and the TAP it writes.

    While packets wait for the line, when exactly another arrives does not matter: it leaves after
    them. So the TAP is then left alone until `next_look_ns`, for an eighth of the wait, and a sender
    on the same CPU is not interrupted for each packet.
    """

    __slots__ = (
        "_frames_in", "_frames_out", "_largest", "_old_packets", "_oversize", "_packets_out", "_source_start",
        "_target_start", "_undeliverable", "direction", "late", "late_read", "next_look_ns", "source", "target",
    )  # fmt: skip

    def __init__(self, direction: ImpairedDirection, source: Tap, target: Tap, largest: int) -> None:
        """Join them; counting begins. `largest` is the frame at the MTU in bytes."""
        self.direction = direction
        self.source = source
        self.target = target
        self.next_look_ns = 0
        self._largest = largest
        self.begin()

    def begin(self) -> None:
        """Begin a trial; what is still in flight from before is carried but not counted."""
        self.direction.begin(monotonic_ns())
        self._old_packets = self.direction.in_flight()
        self._frames_in = 0
        self._frames_out = 0
        self._packets_out = 0
        self._undeliverable = 0
        self._oversize = 0
        self.late = Lateness()
        self.late_read = Lateness()
        self._source_start = self.source.counters()
        self._target_start = self.target.counters()

    def release(self, line: deque[tuple[int, bytes]], now: int) -> int:
        """Write all frames of `line` that are due; give the time afterwards."""
        fd = self.target.fd
        late = self.late.add
        packets_in = self.direction.packets_in
        while line and line[0][0] <= now:
            due, frame = line.popleft()
            packets = packets_in(frame)
            self._packets_out += packets
            try:
                os.write(fd, frame)
                self._frames_out += 1
            except OSError:
                self._undeliverable += packets
            now = monotonic_ns()
            late(now - due)
        return now

    def take(self, waited_ns: int) -> None:
        """Read up to a batch of frames, which may have waited so long already, and hand them to the models."""
        fd, largest = self.source.fd, self._largest
        accept = self.direction.accept
        now = 0
        before = self._frames_in
        try:
            for _ in range(BATCH_FRAMES):
                frame = os.read(fd, largest + 1)
                now = monotonic_ns()
                self._frames_in += 1
                if len(frame) > largest:
                    self._oversize += 1
                accept(frame, now)
        except BlockingIOError:
            pass
        self.late_read.add_all(waited_ns, self._frames_in - before)
        rest_ns = (self.direction.busy_until_ns - now) >> REST_SHIFT
        self.next_look_ns = 0 if rest_ns < SHORTEST_REST_NS else now + min(rest_ns, LONGEST_REST_NS)

    def report(self) -> dict[str, Any]:
        """Return all counts since `begin`."""
        counts = self.direction.counts
        source, target = self.source.counters(), self.target.counters()
        return {
            "received": counts.received,
            "received_bytes": counts.received_bytes,
            "delivered": max(0, self._packets_out - self._old_packets) - self._undeliverable,
            "dropped_loss": counts.dropped_loss,
            "dropped_queue": counts.dropped_queue,
            "dropped_codel": counts.dropped_codel,
            "dropped_policer": counts.dropped_policer,
            "dropped_other": self._undeliverable,
            "duplicated": counts.duplicated,
            "corrupted": counts.corrupted,
            "marked": counts.marked,
            "reordered": counts.reordered,
            "oversize": self._oversize + counts.oversize,
            "in_flight": self.direction.in_flight() - max(0, self._old_packets - self._packets_out),
            "frames_in": self._frames_in,
            "frames_out": self._frames_out,
            "max_queue_bytes": self.direction.worst_queue_bytes(),
            "lateness_us": self.late.summary_us(),
            "late_read_p99_us": self.late_read.percentile_us(0.99),
            "late_read_max_us": self.late_read.worst_ns / 1000,
            "device_sent": source.get("tx_packets", 0) - self._source_start.get("tx_packets", 0),
            "device_tx_dropped": source.get("tx_dropped", 0) - self._source_start.get("tx_dropped", 0),
            "device_received": target.get("rx_packets", 0) - self._target_start.get("rx_packets", 0),
            "device_rx_dropped": target.get("rx_dropped", 0) - self._target_start.get("rx_dropped", 0),
        }
