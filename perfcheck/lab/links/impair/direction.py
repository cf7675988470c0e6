"""One direction of a link: what happens to each frame from its arrival to its due time.

In this order: policer, loss, copies, corruption, queue, delay.

With `ecn`, what would tell a sender to slow down by a loss tells an ECN-capable one by a mark: the loss
model marks it, and the queue marks by CoDel's law. What finds the queue full is dropped all the same.
"""

from __future__ import annotations

from collections import deque

from perfcheck.lab.links.impair.codel import TARGET_NS, CoDel
from perfcheck.lab.links.impair.corrupt import corrupted
from perfcheck.lab.links.impair.jitter import Jitter
from perfcheck.lab.links.impair.loss import loss_model, losses_of
from perfcheck.lab.links.impair.mark import ecn_capable, marked
from perfcheck.lab.links.impair.packet_id import PacketIds
from perfcheck.lab.links.impair.police import TokenBucket
from perfcheck.lab.links.impair.prf import fold, mix64, threshold
from perfcheck.lab.links.impair.queue import BITS_NS, queue_of
from perfcheck.lab.links.impair.varying import delays_of, varying_queue_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from perfcheck.lab.links.impair.plan import DirectionPlan
    from perfcheck.lab.links.impair.queue import DropTail
    from perfcheck.lab.links.impair.varying import DelaySteps, VaryingQueue

_JITTER: Final = 0x20
_REORDER: Final = 0x21
_DUPLICATE: Final = 0x22
_CORRUPT: Final = 0x23
_CORRUPT_BIT: Final = 0x24


class Counts:
    """Packets of one direction by fate since the trial began; `dropped_queue` contains `dropped_codel`."""

    __slots__ = (
        "corrupted", "dropped_codel", "dropped_loss", "dropped_policer", "dropped_queue", "duplicated", "marked",
        "oversize", "received", "received_bytes", "reordered",
    )  # fmt: skip

    def __init__(self) -> None:
        """Begin at 0."""
        self.received = 0
        self.received_bytes = 0
        self.dropped_loss = 0
        self.dropped_queue = 0
        self.dropped_codel = 0
        self.dropped_policer = 0
        self.duplicated = 0
        self.corrupted = 0
        self.reordered = 0
        self.marked = 0
        self.oversize = 0


class ImpairedDirection:
    """The impairments of one direction.

    `line` holds (due_ns, frame) in order of due time; `early` the frames that overtake, likewise.
    """

    __slots__ = (
        "_alters", "_codel", "_corrupt_bound", "_delay_ns", "_delays", "_draws", "_duplicate_bound", "_jitter",
        "_last_due_ns", "_loss", "_loss_steps", "_packet_ids", "_plan", "_policer", "_queue", "_reorder_bound",
        "_varies", "counts", "early", "line",
    )  # fmt: skip

    def __init__(self, plan: DirectionPlan) -> None:
        """Take the plan; the line is empty."""
        self._plan = plan
        self._delay_ns = plan.delay_ns
        self._draws = plan.draws
        self._alters = bool(plan.duplicate or plan.corrupt or plan.reorder)
        self._duplicate_bound = threshold(plan.duplicate)
        self._corrupt_bound = threshold(plan.corrupt)
        self._reorder_bound = threshold(plan.reorder)
        self._last_due_ns = 0
        self._delays: DelaySteps | None = None
        self._varies = bool(plan.jitter_ns or plan.trace)
        self.line: deque[tuple[int, bytes]] = deque()
        self.early: deque[tuple[int, bytes]] = deque()
        # CoDel's queue is CodelDirection's own.
        self._queue: DropTail | VaryingQueue | None = None if plan.codel else queue_of(plan)
        self.begin(0)

    def begin(self, now_ns: int) -> None:
        """Begin a trial: counters to 0, all patterns back to their seed; what is in flight stays so."""
        plan = self._plan
        if plan.trace is not None:
            if not plan.codel:
                self._queue = varying_queue_of(plan, now_ns) or self._queue
            self._delays = delays_of(plan, now_ns)
        self.counts = Counts()
        self._loss = loss_model(plan.loss) if plan.loss else None
        self._loss_steps = losses_of(plan, now_ns)
        self._policer = TokenBucket(now_ns=now_ns, **plan.policer) if plan.policer else None
        self._packet_ids = PacketIds(plan.seed, plan.direction, plan.mtu)
        self._jitter = (
            Jitter(plan.jitter_ns, fold(fold(mix64(plan.seed), plan.direction), _JITTER), plan.distribution)
            if plan.jitter_ns
            else None
        )
        packet_ns = plan.mtu * BITS_NS // plan.rate_bps if plan.rate_bps else 0
        self._codel = CoDel(max(TARGET_NS, packet_ns)) if plan.ecn and self._queue else None
        if self._queue is not None:
            self._queue.worst_bytes()

    def accept(self, frame: bytes, now_ns: int) -> None:
        """Take one frame that arrived now and put it, its copy or nothing on the line."""
        counts = self.counts
        counts.received += 1
        counts.received_bytes += len(frame)
        if self._policer is not None and not self._policer.conforms(now_ns, len(frame)):
            counts.dropped_policer += 1
        elif self._draws:
            self._accept_by_id(frame, now_ns)
        else:
            self._enqueue(frame, now_ns)

    @property
    def busy_until_ns(self) -> int:
        """When the line has sent all that waits for it now; 0 without a rate."""
        return 0 if self._queue is None else self._queue.free_ns

    def _varied(self, leaves_ns: int, now_ns: int) -> int:
        due = leaves_ns + (self._delay_ns if self._delays is None else self._delays.at(leaves_ns))
        if self._jitter is not None:
            due += self._jitter.offset_ns(now_ns)
        self._last_due_ns = max(due, now_ns, self._last_due_ns)
        return self._last_due_ns

    def packets_in(self, frame: bytes) -> int:
        """Return how many packets at the MTU a frame on the line stands for."""
        del frame
        return 1

    def in_flight(self) -> int:
        """Return how many packets are on the line."""
        return len(self.line) + len(self.early)

    def queue_bytes(self, now_ns: int) -> int:
        """Return how many bytes wait in the queue now."""
        return 0 if self._queue is None else self._queue.waiting_bytes(now_ns)

    def worst_queue_bytes(self) -> int:
        """Return the longest queue since the last call."""
        return 0 if self._queue is None else self._queue.worst_bytes()

    def _accept_by_id(self, frame: bytes, now_ns: int) -> None:
        packet_id = self._packet_ids.identify(frame)
        if packet_id is None:
            self._enqueue(frame, now_ns)
            return
        if self._loss_steps is not None:
            self._loss = self._loss_steps.at(now_ns)
        if self._loss is not None and self._loss.lost(packet_id):
            if not (self._plan.ecn and ecn_capable(frame)):
                self.counts.dropped_loss += 1
                return
            frame = self._mark(frame)
        overtakes = False
        if self._alters:
            key = packet_id[0]
            overtakes = fold(key, _REORDER) < self._reorder_bound
            if fold(key, _DUPLICATE) < self._duplicate_bound:
                self.counts.duplicated += 1
                self._enqueue(frame, now_ns)
            if fold(key, _CORRUPT) < self._corrupt_bound:
                self.counts.corrupted += 1
                frame = corrupted(frame, fold(key, _CORRUPT_BIT))
        self._enqueue(frame, now_ns, overtakes=overtakes)

    def _mark(self, frame: bytes) -> bytes:
        self.counts.marked += 1
        return marked(frame)

    def _enqueue(self, frame: bytes, now_ns: int, *, overtakes: bool = False) -> None:
        due = now_ns
        if self._queue is not None:
            begins = max(now_ns, self._queue.free_ns)
            due = self._queue.enqueue(now_ns, len(frame))
            if due < 0:
                self.counts.dropped_queue += 1
                return
            if self._codel is not None and ecn_capable(frame) and self._codel.tells(begins, begins - now_ns):
                frame = self._mark(frame)
        self._leave(frame, due, now_ns, overtakes=overtakes)

    def _leave(self, frame: bytes, leaves_ns: int, now_ns: int, *, overtakes: bool) -> None:
        """Put a frame that leaves the queue at this time on the delay line."""
        if overtakes:
            self.counts.reordered += 1
            self.early.append((leaves_ns, frame))
        elif self._varies:
            self.line.append((self._varied(leaves_ns, now_ns), frame))
        else:
            self.line.append((leaves_ns + self._delay_ns, frame))
