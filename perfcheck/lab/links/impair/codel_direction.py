"""One direction of a link whose queue is managed by CoDel: packets are judged when their turn comes, not on arrival."""

from __future__ import annotations

from perfcheck.lab.links.impair.codel import ActiveQueue, CoDel, FixedLine
from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.mark import ecn_capable
from perfcheck.lab.links.impair.packet_id import ETHERNET_BYTES
from perfcheck.lab.links.impair.plan import DEFAULT_QUEUE_PACKETS
from perfcheck.lab.links.impair.varying import line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfcheck.lab.links.impair.plan import DirectionPlan


class CodelDirection(ImpairedDirection):
    """A direction with an ActiveQueue; `advance` must be called at `next_turn_ns`, or as soon after it as can be.

    All times are the queue's own, so being late changes no packet's fate and no due time.
    """

    __slots__ = ("_active",)

    def __init__(self, plan: DirectionPlan) -> None:
        """Take a plan with a rate and CoDel's times."""
        self._active = _queue_of(plan, 0)
        super().__init__(plan)

    def begin(self, now_ns: int) -> None:
        """Begin a trial; what still waits in the queue is dropped, uncounted."""
        super().begin(now_ns)
        free_ns = self._active.free_ns
        self._active = _queue_of(self._plan, now_ns)
        self._active.free_ns = free_ns

    @property
    def next_turn_ns(self) -> int:
        """When the next packet's turn comes."""
        return self._active.next_begin_ns

    @property
    def busy_until_ns(self) -> int:
        """0: when the queue will be empty depends on what the law will drop."""
        return 0

    def advance(self, now_ns: int) -> None:
        """Put on the line, or drop, all whose turn has come by now."""
        queue = self._active
        while queue.next_begin_ns <= now_ns:
            frame, overtakes, begins, told = queue.take()
            if told:
                if not (self._plan.ecn and ecn_capable(frame)):
                    self.counts.dropped_queue += 1
                    self.counts.dropped_codel += 1
                    continue
                frame = self._mark(frame)
            self._leave(frame, queue.send(begins, frame), begins, overtakes=overtakes)

    def in_flight(self) -> int:
        """Return how many packets wait or are on the line."""
        return super().in_flight() + len(self._active)

    def queue_bytes(self, now_ns: int) -> int:
        """Return how many bytes wait in the queue now."""
        return self._active.waiting_bytes(now_ns)

    def worst_queue_bytes(self) -> int:
        """Return the longest queue since the last call."""
        return self._active.worst_bytes()

    def _enqueue(self, frame: bytes, now_ns: int, *, overtakes: bool = False) -> None:
        self.advance(now_ns)
        if not self._active.enqueue(now_ns, frame, overtakes=overtakes):
            self.counts.dropped_queue += 1
        self.advance(now_ns)


def _queue_of(plan: DirectionPlan, now_ns: int) -> ActiveQueue:
    assert plan.codel is not None  # noqa: S101 - the plan is this class's
    assert plan.rate_bps is not None  # noqa: S101
    packets = None if plan.queue_bytes is not None else plan.queue_packets or DEFAULT_QUEUE_PACKETS
    return ActiveQueue(
        line_of(plan) or FixedLine(plan.rate_bps),
        CoDel(**plan.codel),
        begin_ns=now_ns,
        limit_bytes=plan.queue_bytes,
        limit_packets=packets,
        packet_bytes=plan.mtu + ETHERNET_BYTES,
    )
