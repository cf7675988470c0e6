"""A queue managed by CoDel against the law's own loop, written down from RFC 8289, section 5."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from math import sqrt
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from links_frames import udp

from perfcheck.lab.links.impair.codel_direction import CodelDirection
from perfcheck.lab.links.impair.plan import DirectionPlan

MS = 1_000_000
MTU_FRAME = 1514


class Rfc8289:
    """A queue in front of a line that asks for a packet whenever it is free; times in ns, exact but for the root."""

    def __init__(self, rate_bps: int, limit: int, target: int, interval: int) -> None:
        self.rate = rate_bps
        self.limit = limit
        self.target, self.interval = target, interval
        self.queue: deque[tuple[int, int, int]] = deque()
        self.free = 0
        self.first_above = 0
        self.drop_next = 0.0
        self.count = self.lastcount = 0
        self.dropping = False
        self.sent: list[tuple[int, int]] = []
        self.told: list[int] = []

    def arrive(self, now: int, number: int, size: int) -> bool:
        self.run(now)
        held = len(self.queue) + (self.free > now)
        if held and held >= self.limit:
            return False
        self.queue.append((now, number, size))
        self.run(now)
        return True

    def run(self, now: int) -> None:
        while self.queue and max(self.free, self.queue[0][0]) <= now:
            self.dequeue(max(self.free, self.queue[0][0]))

    def dodequeue(self, now: int) -> tuple[tuple[int, int, int] | None, bool]:
        if not self.queue:
            self.first_above = 0
            return None, False
        packet = self.queue.popleft()
        backlog = sum(size for _, _, size in self.queue)
        if now - packet[0] < self.target or backlog <= MTU_FRAME:
            self.first_above = 0
        elif self.first_above == 0:
            self.first_above = now + self.interval
        elif now >= self.first_above:
            return packet, True
        return packet, False

    def control_law(self, time: float) -> float:
        return time + self.interval / sqrt(self.count)

    def dequeue(self, now: int) -> None:
        packet, drop = self.dodequeue(now)
        if self.dropping:
            if not drop:
                self.dropping = False
            while self.dropping and now >= self.drop_next and packet is not None:
                self.told.append(packet[1])
                self.count += 1
                packet, drop = self.dodequeue(now)
                if not drop:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next)
        elif drop and packet is not None:
            self.told.append(packet[1])
            packet, _ = self.dodequeue(now)
            self.dropping = True
            delta = self.count - self.lastcount
            self.count = 1
            if delta > 1 and now - self.drop_next < 16 * self.interval:
                self.count = delta
            self.drop_next = self.control_law(now)
            self.lastcount = self.count
        if packet is not None:
            self.free = now + packet[2] * 8 * 10**9 // self.rate
            self.sent.append((packet[1], self.free))


def direction_of(rate_bps: int, packets: int, target: int, interval: int, **fields: Any) -> CodelDirection:
    codel = {"target_ns": target, "interval_ns": interval}
    return CodelDirection(
        DirectionPlan(direction=0, seed=1, mtu=1500, rate_bps=rate_bps, queue_packets=packets, codel=codel, **fields)
    )


def numbered(number: int, size: int) -> bytes:
    """Return a frame that carries its number and belongs to no flow."""
    return bytes(12) + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(size - 18)


def number_of(frame: bytes) -> int:
    return int.from_bytes(frame[14:18], "big")


BURSTS = st.lists(
    st.tuples(st.integers(0, 12 * MS), st.integers(1, 12), st.sampled_from([100, 700, 1514])), max_size=150
)


@settings(deadline=None)
@given(
    rate=st.sampled_from([2_000_000, 10_000_000, 40_000_000]),
    packets=st.integers(2, 300),
    times=st.sampled_from([(5 * MS, 100 * MS), (2 * MS, 20 * MS), (MS, 4 * MS)]),
    bursts=BURSTS,
)
@example(
    rate=2_000_000, packets=31, times=(MS, 4 * MS),
    bursts=[(0, 1, 100)] * 3 + [(0, 5, 700), (0, 12, 700), (0, 11, 1514)],
)  # fmt: skip
def test_it_drops_what_the_rfc_drops(
    rate: int, packets: int, times: tuple[int, int], bursts: list[tuple[int, int, int]]
) -> None:
    direction, oracle = direction_of(rate, packets, *times), Rfc8289(rate, packets, *times)
    now = number = refused = 0
    for gap, count, size in bursts:
        now += gap
        for _ in range(count):
            refused += not oracle.arrive(now, number, size)
            direction.accept(numbered(number, size), now)
            number += 1
    oracle.run(10**12)
    direction.advance(10**12)
    # The root in fixed point may put one drop a nanosecond earlier or later than the float; that moves no packet here.
    assert [(number_of(frame), due) for due, frame in direction.line] == oracle.sent
    assert direction.counts.dropped_codel == len(oracle.told)
    assert direction.counts.dropped_queue == refused + len(oracle.told)


def test_a_standing_queue_is_brought_down_where_a_drop_tail_stays_full() -> None:
    direction = direction_of(12_112_000, 200, 5 * MS, 100 * MS)
    waits = []
    for ms in range(6000):
        # A sender that sends a little more than the line's one packet a ms, and never slows down.
        for number in range(2 if ms % 20 == 0 else 1):
            direction.accept(numbered(2 * ms + number, 1514), ms * MS)
    direction.advance(10**12)
    for due, frame in direction.line:
        waits.append(due - number_of(frame) // 2 * MS)
    assert direction.counts.dropped_codel > 100
    assert max(waits[:2000]) > 20 * MS
    assert sorted(waits[-1000:])[500] < 30 * MS
    assert direction.counts.received == len(direction.line) + direction.counts.dropped_queue


def test_what_can_be_marked_is_marked_and_not_dropped() -> None:
    capable = bytearray(udp(1472))
    capable[15] |= 2
    for frame, marks in ((bytes(capable), True), (udp(1472), False)):
        direction = direction_of(12_112_000, 500, 5 * MS, 20 * MS, ecn=True)
        for ms in range(400):
            for _ in range(2):
                direction.accept(frame, ms * MS)
        assert (direction.counts.marked > 5) == marks
        assert (direction.counts.dropped_codel > 5) != marks


def test_being_called_late_changes_nothing() -> None:
    early, late = (direction_of(10_000_000, 100, 2 * MS, 20 * MS, delay_ns=MS) for _ in range(2))
    for number in range(600):
        now = number * 800_000
        early.advance(now - 1)
        for direction in (early, late):
            direction.accept(numbered(number, 1514), now)
    for direction in (early, late):
        direction.advance(10**12)
    assert list(early.line) == list(late.line)


@pytest.mark.parametrize("size", [60, 1514])
def test_the_limit_in_bytes_counts_what_is_on_the_line(size: int) -> None:
    codel = {"target_ns": 5 * MS, "interval_ns": 100 * MS}
    direction = CodelDirection(
        DirectionPlan(direction=0, seed=1, mtu=1500, rate_bps=10**6, queue_bytes=10 * size, codel=codel)
    )
    for number in range(20):
        direction.accept(numbered(number, size), 0)
    assert direction.counts.dropped_queue == 10
    assert direction.in_flight() == 10
    assert direction.worst_queue_bytes() == 10 * size


def test_a_line_that_changes_its_rate_is_followed() -> None:
    trace = {"rate": {"at_ns": [0, 100 * MS], "bps": [12_112_000, 1_211_200], "repeat_ns": None}}
    direction = direction_of(12_112_000, 100, 5 * MS, 100 * MS, trace=trace)
    direction.begin(0)
    for number in range(20):
        direction.accept(numbered(number, 1514), number * 10 * MS)
    direction.advance(10**12)
    gaps = [due - number_of(frame) * 10 * MS for due, frame in direction.line]
    assert gaps[0] == MS
    assert Fraction(gaps[-1], MS) == 10
