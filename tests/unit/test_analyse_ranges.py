"""The join by range against one that looks at every range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.analyse.ranges import NONE, TimedRanges, unwrapped

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12), st.integers(0, 40)), max_size=25)
QUERIES = st.lists(st.tuples(st.integers(-5, 80), st.integers(-5, 50)), min_size=1, max_size=25)
FAR = 3_000_000_000_000
"""Moments lie as far from 0 as those of a machine that has been up for an hour."""


def index_of(ranges: Sequence[tuple[int, int, int]]) -> TimedRanges:
    start = np.array([one[0] for one in ranges], np.int64)
    length = np.array([one[1] for one in ranges], np.int64)
    ns = np.array([one[2] + FAR for one in ranges], np.uint64)
    return TimedRanges(start, start + length, ns)


def covering(ranges: Sequence[tuple[int, int, int]], byte: int) -> list[int]:
    return [number for number, (start, length, _) in enumerate(ranges) if start <= byte < start + length]


@given(ranges=RANGES, queries=QUERIES)
def test_the_latest_range_before_a_moment(
    ranges: Sequence[tuple[int, int, int]], queries: Sequence[tuple[int, int]]
) -> None:
    bytes_, moments = np.array([one[0] for one in queries]), np.array([one[1] + FAR for one in queries])
    for (byte, ns), found in zip(queries, index_of(ranges).latest(bytes_, moments).tolist(), strict=True):
        times = [ranges[number][2] for number in covering(ranges, byte) if ranges[number][2] <= ns]
        if not times:
            assert found == NONE
        else:
            assert found in covering(ranges, byte)
            assert ranges[found][2] == max(times)


@given(ranges=RANGES, queries=QUERIES)
def test_the_first_range_from_a_moment_on(
    ranges: Sequence[tuple[int, int, int]], queries: Sequence[tuple[int, int]]
) -> None:
    bytes_, moments = np.array([one[0] for one in queries]), np.array([one[1] + FAR for one in queries])
    for (byte, ns), found in zip(queries, index_of(ranges).earliest(bytes_, moments).tolist(), strict=True):
        times = [ranges[number][2] for number in covering(ranges, byte) if ranges[number][2] >= ns]
        if not times:
            assert found == NONE
        else:
            assert found in covering(ranges, byte)
            assert ranges[found][2] == min(times)


@given(ranges=RANGES, bytes_=st.lists(st.integers(-5, 80), min_size=1, max_size=20))
def test_how_many_ranges_cover_a_byte(ranges: Sequence[tuple[int, int, int]], bytes_: Sequence[int]) -> None:
    found = index_of(ranges).covering(np.array(bytes_)).tolist()
    assert found == [len(covering(ranges, byte)) for byte in bytes_]


@given(ranges=RANGES, queries=QUERIES)
def test_how_many_ranges_covered_a_byte_before(
    ranges: Sequence[tuple[int, int, int]], queries: Sequence[tuple[int, int]]
) -> None:
    bytes_, moments = np.array([one[0] for one in queries]), np.array([one[1] + FAR for one in queries])
    found = index_of(ranges).before(bytes_, moments).tolist()
    assert found == [sum(ranges[one][2] < ns for one in covering(ranges, byte)) for byte, ns in queries]


@given(ranges=RANGES, queries=st.lists(st.tuples(st.integers(-5, 80), st.integers(0, 6)), min_size=1, max_size=20))
def test_the_range_of_a_number(ranges: Sequence[tuple[int, int, int]], queries: Sequence[tuple[int, int]]) -> None:
    found = index_of(ranges).nth(np.array([one[0] for one in queries]), np.array([one[1] for one in queries])).tolist()
    for (byte, number), index in zip(queries, found, strict=True):
        times = sorted(ranges[one][2] for one in covering(ranges, byte))
        assert (index == NONE) == (number >= len(times))
        if index != NONE:
            assert index in covering(ranges, byte)
            assert ranges[index][2] == times[number]


@given(
    first=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=30),
)
def test_sequence_numbers_are_unwrapped(first: int, steps: Sequence[int]) -> None:
    positions = np.cumsum([first, *steps]).tolist()
    wrapped = np.array([position % 2**32 for position in positions], np.uint32)
    assert unwrapped(wrapped).tolist() == positions


def test_nothing_is_unwrapped_to_nothing() -> None:
    assert not len(unwrapped(np.zeros(0, np.uint32)))
