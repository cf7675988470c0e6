"""A drop-tail queue in front of a line whose rate and delay change over time, as a trace says."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque

from perfcheck.lab.links.impair.plan import DEFAULT_QUEUE_PACKETS
from perfcheck.lab.links.impair.queue import BITS_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, Protocol

    from perfcheck.lab.links.impair.plan import DirectionPlan

    class Line(Protocol):
        """Something that sends packets one after another; asked in order of time."""

        def send(self, start_ns: int, size_bytes: int) -> int:
            """Return when a packet has left that begins to leave at start_ns (ns since the trace began)."""


OPPORTUNITY_BYTES: Final = 1504
"""What one line of a mahimahi trace lets pass (Netravali et al., USENIX ATC 2015)."""
NEVER_NS: Final = 10**18
"""When a packet leaves that waits for a line which stays at rate 0: in thirty years."""


class Steps:
    """A line whose rate changes at given times; the last holds for ever, or all begins again after `repeat_ns`."""

    def __init__(self, at_ns: Sequence[int], rate_bps: Sequence[int], repeat_ns: int | None = None) -> None:
        """Take the times (ascending, the first 0) and the rate from each on."""
        self._at = at_ns
        self._rate = rate_bps
        self._repeat = repeat_ns
        self._sent = [0]
        for begin, end, rate in zip(at_ns, at_ns[1:], rate_bps, strict=False):
            self._sent.append(self._sent[-1] + (end - begin) * rate)
        # In bits times ns per s, as all here: whole numbers, of which nothing is lost.
        self._round = 0 if repeat_ns is None else self._sent[-1] + (repeat_ns - at_ns[-1]) * rate_bps[-1]

    def send(self, start_ns: int, size_bytes: int) -> int:
        """Find when all bits have left, by what the line can have sent up to each step."""
        rounds, now = (0, start_ns) if self._repeat is None else divmod(start_ns, self._repeat)
        step = bisect_right(self._at, now) - 1
        target = self._sent[step] + (now - self._at[step]) * self._rate[step] + size_bytes * BITS_NS
        if self._repeat is None:
            end = self._reached(target)
            return start_ns + NEVER_NS if end is None else end
        if not self._round:
            return start_ns + NEVER_NS
        # What is full at the end of a round is not carried on into the next one, where nothing may be sent.
        more, target = divmod(target - 1, self._round)
        end = self._reached(target + 1)
        assert end is not None  # noqa: S101 - no more than a round sends
        return (rounds + more) * self._repeat + end

    def _reached(self, target: int) -> int | None:
        """Return when the line has sent so much since the trace began; None where it never has."""
        step = bisect_left(self._sent, target) - 1
        rate = self._rate[step]
        return self._at[step] + -(-(target - self._sent[step]) // rate) if rate else None


class Opportunities:
    """A line that can send only at given times, so many bytes each, as mahimahi's traces have it; they repeat.

    What a packet leaves of an opportunity serves the next packet that waits already; a packet that comes
    after it finds nothing of it.
    """

    def __init__(self, at_ns: Sequence[int], repeat_ns: int) -> None:
        """Take the times (ascending, at most repeat_ns > 0)."""
        self._at = at_ns
        self._repeat = repeat_ns
        self._index = 0
        self._left = OPPORTUNITY_BYTES

    def send(self, start_ns: int, size_bytes: int) -> int:
        """Use opportunities from start_ns on until all bytes have left."""
        if self._time(self._index) < start_ns:
            # The first one after the nanosecond before: at a round's end it is still the last one of that round.
            rounds, rest = divmod(start_ns - 1, self._repeat)
            self._index = rounds * len(self._at) + bisect_right(self._at, rest)
            self._left = OPPORTUNITY_BYTES
        while size_bytes > self._left:
            size_bytes -= self._left
            self._index += 1
            self._left = OPPORTUNITY_BYTES
        self._left -= size_bytes
        end = self._time(self._index)
        if self._left == 0:
            self._index += 1
            self._left = OPPORTUNITY_BYTES
        return end

    def _time(self, index: int) -> int:
        rounds, place = divmod(index, len(self._at))
        return rounds * self._repeat + self._at[place]


class VaryingQueue:
    """A bounded queue in front of a line that varies; a packet on the line counts whole until it has left."""

    __slots__ = (
        "_begin_ns",
        "_limit_bytes",
        "_limit_packets",
        "_line",
        "_queued_bytes",
        "_waiting",
        "_worst",
        "free_ns",
    )

    def __init__(self, line: Line, begin_ns: int, limit_bytes: int | None, limit_packets: int | None) -> None:
        """Take the line, when its trace begins, and one limit."""
        self._line = line
        self._begin_ns = begin_ns
        self._limit_bytes = limit_bytes
        self._limit_packets = limit_packets
        self._waiting: deque[tuple[int, int]] = deque()
        self._queued_bytes = 0
        self._worst = 0
        self.free_ns = 0

    def enqueue(self, now_ns: int, size_bytes: int) -> int:
        """Return when its last bit has left the line, or -1 when the queue has no room for it."""
        waiting = self._waiting
        self.waiting_bytes(now_ns)
        if waiting and not self._has_room(size_bytes):
            return -1
        start = max(self.free_ns, now_ns)
        self.free_ns = self._begin_ns + self._line.send(start - self._begin_ns, size_bytes)
        waiting.append((self.free_ns, size_bytes))
        self._queued_bytes += size_bytes
        self._worst = max(self._worst, self._queued_bytes)
        return self.free_ns

    def waiting_bytes(self, now_ns: int) -> int:
        """Return how many bytes wait, after taking out what has left by now."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now_ns:
            self._queued_bytes -= waiting.popleft()[1]
        return self._queued_bytes

    def _has_room(self, size_bytes: int) -> bool:
        if self._limit_packets is not None:
            return len(self._waiting) < self._limit_packets
        return self._limit_bytes is None or self._queued_bytes + size_bytes <= self._limit_bytes

    def worst_bytes(self) -> int:
        """Return the longest queue since the last call."""
        worst, self._worst = self._worst, self._queued_bytes
        return worst


class DelaySteps:
    """A delay that changes at given times since the trace began."""

    __slots__ = ("_at", "_begin_ns", "_delay", "_repeat")

    def __init__(self, at_ns: Sequence[int], delay_ns: Sequence[int], repeat_ns: int | None, begin_ns: int) -> None:
        """Take the times (ascending, the first 0) and the delay from each on."""
        self._at = at_ns
        self._delay = delay_ns
        self._repeat = repeat_ns
        self._begin_ns = begin_ns

    def at(self, now_ns: int) -> int:
        """Return the delay for a packet that leaves the queue now."""
        since = now_ns - self._begin_ns
        if self._repeat is not None:
            since %= self._repeat
        return self._delay[bisect_right(self._at, since) - 1]


def line_of(plan: DirectionPlan) -> Line | None:
    """Return the line of a trace, or None where the trace has no rates."""
    trace = plan.trace or {}
    if "opportunities" in trace:
        return Opportunities(**trace["opportunities"])
    if "rate" in trace:
        steps = trace["rate"]
        return Steps(steps["at_ns"], steps["bps"], steps["repeat_ns"])
    return None


def varying_queue_of(plan: DirectionPlan, begin_ns: int) -> VaryingQueue | None:
    """Return the queue in front of the traced line, or None where the trace has no rates."""
    line = line_of(plan)
    if line is None:
        return None
    packets = None if plan.queue_bytes is not None else plan.queue_packets or DEFAULT_QUEUE_PACKETS
    return VaryingQueue(line, begin_ns, plan.queue_bytes, packets)


def delays_of(plan: DirectionPlan, begin_ns: int) -> DelaySteps | None:
    """Return the traced delay, or None where the trace has none."""
    steps = (plan.trace or {}).get("delay")
    return None if steps is None else DelaySteps(steps["at_ns"], steps["ns"], steps["repeat_ns"], begin_ns)
