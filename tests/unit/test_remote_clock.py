"""Clocks of two machines are compared by bounds: the true difference is always between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.remote.clock import Exchange, offset_of


def exchange(at_ns: int, offset_ns: int, forward_ns: int, work_ns: int, back_ns: int) -> Exchange:
    """Return an exchange with a clock that is so far ahead, over ways that take so long."""
    there = at_ns + forward_ns + offset_ns
    return Exchange(
        sent_ns=at_ns, there_ns=there, back_ns=there + work_ns, received_ns=at_ns + forward_ns + work_ns + back_ns
    )  # fmt: skip


WAYS = st.tuples(st.integers(0, 10**9), st.integers(0, 10**7), st.integers(0, 10**6), st.integers(0, 10**7))


@given(st.integers(-(10**15), 10**15), st.lists(WAYS, min_size=1, max_size=20))
def test_the_true_offset_is_within_the_bounds(offset_ns: int, ways: list[tuple[int, int, int, int]]) -> None:
    found = offset_of(exchange(at, offset_ns, forward, work, back) for at, forward, work, back in ways)
    assert found.least_ns <= offset_ns <= found.most_ns
    assert abs(found.ns - offset_ns) <= found.error_ns


def test_more_exchanges_narrow_the_bounds() -> None:
    slow_there = exchange(0, 500, 900, 10, 100)
    slow_back = exchange(5000, 500, 100, 10, 900)
    both = offset_of([slow_there, slow_back])
    assert both.error_ns < min(offset_of([slow_there]).error_ns, offset_of([slow_back]).error_ns)
    assert (both.least_ns, both.most_ns) == (400, 600)


def test_a_clock_that_was_set_in_between_goes_by_the_shortest_round_trip() -> None:
    before, after = exchange(0, 10**9, 50, 0, 50), exchange(10**6, 0, 10, 0, 10)
    assert offset_of([before, after]).ns == 0


def test_two_machines_are_compared_by_a_third() -> None:
    first = offset_of([exchange(0, 1000, 10, 0, 10)])
    second = offset_of([exchange(100, 4000, 20, 0, 20)])
    between = second.behind(first)
    assert between.least_ns <= 3000 <= between.most_ns
    assert between.error_ns == first.error_ns + second.error_ns


def test_times_go_there_and_back() -> None:
    offset = offset_of([exchange(0, 12345, 10, 0, 10)])
    assert offset.here_ns(offset.there_ns(777)) == 777
    with pytest.raises(ValueError, match="without an answer"):
        offset_of([])
