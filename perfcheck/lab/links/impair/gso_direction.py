"""One direction of a fast link: super-packets cross in pieces, but each segment has its own fate and its own time."""

from __future__ import annotations

from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.gso import HEADER_BYTES, segments_in, super_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from perfcheck.lab.links.impair.gso import Super

PIECE_NS: Final = 250_000
"""Segments that leave the line within this time may travel on as one piece, at the time of the last."""


class GsoDirection(ImpairedDirection):
    """A direction for frames with virtio headers; does loss, rate, queue and delay."""

    __slots__ = ("_largest",)

    def begin(self, now_ns: int) -> None:
        """Begin a trial as any direction does."""
        super().begin(now_ns)
        self._largest = self._plan.mtu + 14

    def accept(self, frame: bytes, now_ns: int) -> None:
        """Take one frame, a packet or a super-packet, that arrived now."""
        found = super_of(frame)
        if found is None:
            self._accept_packet(frame, now_ns)
            return
        counts = self.counts
        count = found.count
        counts.received += count
        counts.received_bytes += count * found.headers + found.payload
        if found.headers + found.size > self._largest:
            counts.oversize += count
        if self._loss is None:
            self._enqueue_run(found, 0, count, now_ns)
            return
        lost = self._loss.lost
        packet_ids = self._packet_ids.identify_segments(
            found.packet_headers(), found.transport, found.size, found.payload
        )
        begin = 0
        for segment, packet_id in enumerate(packet_ids):
            if lost(packet_id):
                counts.dropped_loss += 1
                self._enqueue_run(found, begin, segment, now_ns)
                begin = segment + 1
        self._enqueue_run(found, begin, count, now_ns)

    def packets_in(self, frame: bytes) -> int:
        """Return how many packets at the MTU a frame on the line stands for."""
        return segments_in(frame)

    def in_flight(self) -> int:
        """Return how many packets are on the line."""
        return sum(segments_in(frame) for _, frame in self.line)

    def _accept_packet(self, frame: bytes, now_ns: int) -> None:
        counts = self.counts
        size = len(frame) - HEADER_BYTES
        counts.received += 1
        counts.received_bytes += size
        if size > self._largest:
            counts.oversize += 1
        if self._loss is not None:
            packet_id = self._packet_ids.identify(frame[HEADER_BYTES:])
            if packet_id is not None and self._loss.lost(packet_id):
                counts.dropped_loss += 1
                return
        due = now_ns
        if self._queue is not None:
            due = self._queue.enqueue(now_ns, size)
            if due < 0:
                counts.dropped_queue += 1
                return
        self.line.append((due + self._delay_ns, frame))

    def _enqueue_run(self, found: Super, begin: int, end: int, now_ns: int) -> None:
        """Put segments begin..end-1 on the line, in pieces."""
        if self._queue is None:
            if begin < end:
                self.line.append((now_ns + self._delay_ns, found.cut(begin, end)))
            return
        piece_due = piece_began = -1
        for segment in range(begin, end):
            due = self._queue.enqueue(now_ns, found.wire_bytes(segment))
            if piece_due >= 0 and (due < 0 or due - piece_began > PIECE_NS):
                self.line.append((piece_due + self._delay_ns, found.cut(begin, segment)))
                piece_due = -1
            if due < 0:
                self.counts.dropped_queue += 1
                continue
            if piece_due < 0:
                begin, piece_began = segment, due
            piece_due = due
        if piece_due >= 0:
            self.line.append((piece_due + self._delay_ns, found.cut(begin, end)))
