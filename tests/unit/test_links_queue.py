"""The queue against an oracle that serves a line bit by bit, in exact fractions."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.lab.links.impair.queue import DropTail

RATES = st.sampled_from([8_000, 1_000_000, 10_000_000, 100_000_000, 500_000_000])
ARRIVALS = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(60, 9014)), min_size=1, max_size=80)


class Line:
    """Packets wait as (bits left, size); the head is sent at the rate; time moves in steps from arrival to arrival."""

    def __init__(self, rate_bps: int, limit_bytes: int | None, limit_packets: int | None) -> None:
        self.rate = Fraction(rate_bps, 10**9)
        self.limit_bytes = limit_bytes
        self.limit_packets = limit_packets
        self.waiting: deque[list[Fraction]] = deque()
        self.now = Fraction(0)

    def advance(self, now: int) -> None:
        budget = (now - self.now) * self.rate
        while self.waiting and budget > 0:
            step = min(budget, self.waiting[0][0])
            self.waiting[0][0] -= step
            budget -= step
            if self.waiting[0][0] == 0:
                self.waiting.popleft()
        self.now = Fraction(now)

    def arrive(self, now: int, size: int) -> Fraction | None:
        self.advance(now)
        backlog_bits = sum((bits for (bits,) in self.waiting), Fraction(0))
        if self.waiting:
            if self.limit_bytes is not None and backlog_bits + size * 8 > self.limit_bytes * 8:
                return None
            if self.limit_packets is not None and len(self.waiting) >= self.limit_packets:
                return None
        self.waiting.append([Fraction(size * 8)])
        return now + (backlog_bits + size * 8) / self.rate


@given(RATES, st.integers(1500, 200_000), ARRIVALS)
def test_byte_limit_matches_the_oracle(rate: int, limit: int, arrivals: list[tuple[int, int]]) -> None:
    queue, line, now = DropTail(rate, limit_bytes=limit), Line(rate, limit, None), 0
    for gap, size in arrivals:
        now += gap
        expected = line.arrive(now, size)
        assert queue.enqueue(now, size) == (-1 if expected is None else expected)


@given(RATES, st.integers(1, 50), ARRIVALS)
def test_packet_limit_matches_the_oracle(rate: int, limit: int, arrivals: list[tuple[int, int]]) -> None:
    queue, line, now = DropTail(rate, limit_packets=limit), Line(rate, None, limit), 0
    for gap, size in arrivals:
        now += gap
        expected = line.arrive(now, size)
        assert queue.enqueue(now, size) == (-1 if expected is None else expected)


@given(st.integers(1_000, 10**9), st.integers(3000, 10**6), ARRIVALS)
def test_any_rate_keeps_order_limit_and_pace(rate: int, limit: int, arrivals: list[tuple[int, int]]) -> None:
    queue = DropTail(rate, limit_bytes=limit)
    now = last = sent_bytes = 0
    first_start = None
    for gap, size in arrivals:
        now += gap
        end = queue.enqueue(now, size)
        if end < 0:
            continue
        first_start = now if first_start is None else first_start
        sent_bytes += size
        assert end > now or size * 8 * 10**9 < rate
        assert end >= last
        last = end
    assert first_start is not None
    assert (last - first_start + len(arrivals)) * rate >= sent_bytes * 8 * 10**9
    assert queue.worst_bytes() <= max(limit, 9014)


def test_worst_queue_is_told_once() -> None:
    queue = DropTail(8_000_000, limit_bytes=10_000)
    assert [queue.enqueue(0, 1000) for _ in range(12)] == [n * 1_000_000 for n in range(1, 11)] + [-1, -1]
    assert queue.worst_bytes() == 10_000
    assert queue.worst_bytes() == 0


@pytest.mark.parametrize(("limit_bytes", "limit_packets"), [(100, None), (None, 1)])
def test_an_idle_line_takes_any_packet(limit_bytes: int | None, limit_packets: int | None) -> None:
    queue = DropTail(8_000_000, limit_bytes, limit_packets)
    assert queue.enqueue(0, 1500) == 1_500_000
    assert queue.enqueue(1, 1500) == -1
    assert queue.enqueue(1_500_000, 1500) == 3_000_000
