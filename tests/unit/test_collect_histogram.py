"""The log-linear scale: no gap, no overlap, nothing lost, and no value farther than 1.6 % from its bucket's middle."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.base import histogram
from perfcheck.ebpf import cache

BUCKETS = {"PC_RTT_BUCKETS": histogram.RTT_BUCKETS, "PC_SEGS_BUCKETS": histogram.SEGS_BUCKETS}
CONTRACT = (cache.sources() / "perfcheck.h").read_text(encoding="ascii")
SPREAD = np.dtype([("total", "u8"), ("minimum", "u4"), ("maximum", "u4")])


def defined(name: str) -> int:
    found = re.search(rf"^#define {name} (\d+)", CONTRACT, re.MULTILINE)
    assert found, name
    return int(found[1])


@pytest.mark.parametrize("name", BUCKETS)
def test_both_sides_of_the_contract_have_the_same_scale(name: str) -> None:
    assert defined(name) == BUCKETS[name]
    assert defined("PC_SUB_BITS") == histogram.SUB_BITS


@given(st.integers(0, 2**32 - 1))
def test_a_value_lies_within_the_edges_of_its_bucket(value: int) -> None:
    bucket = histogram.bucket_of(value)
    assert histogram.lower_edge(bucket) <= value < histogram.lower_edge(bucket + 1)


@given(st.integers(0, 2**26 - 1))
def test_the_middle_of_a_bucket_is_within_1_6_percent(value: int) -> None:
    bucket = histogram.bucket_of(value)
    low, high = histogram.lower_edge(bucket), histogram.lower_edge(bucket + 1)
    assert abs((low + high - 1) / 2 - value) <= 0.016 * value


def test_the_scales_end_where_the_contract_says() -> None:
    assert histogram.lower_edge(histogram.RTT_BUCKETS) == 2**26
    assert histogram.lower_edge(histogram.SEGS_BUCKETS) == 2**17


@given(st.lists(st.integers(0, 2**27), min_size=1, max_size=300))
def test_the_p99_of_the_histogram_is_within_1_6_percent_of_the_exact_one(values: list[int]) -> None:
    counts = np.zeros(histogram.RTT_BUCKETS + 64, dtype="u4")
    for value in values:
        counts[histogram.bucket_of(value)] += 1
    rank = -(-99 * len(values) // 100)
    exact = sorted(values)[rank - 1]
    bucket = int(np.searchsorted(np.cumsum(counts), rank))
    middle = (histogram.lower_edge(bucket) + histogram.lower_edge(bucket + 1) - 1) / 2
    assert abs(middle - exact) <= 0.016 * exact


def test_a_histogram_carries_its_exact_extremes_and_what_is_off_the_scale() -> None:
    counts = np.zeros(histogram.SEGS_BUCKETS, dtype="u4")
    counts[7] = 2
    spread = np.array((14 + 200_000, 7, 200_000), dtype=SPREAD)
    made = histogram.histogram("segs", histogram.edges(len(counts)), counts, 1, spread)
    assert (made.count, made.above, made.minimum, made.maximum, made.total) == (3, 1, 7.0, 200_000.0, 200_014.0)
    assert len(made.edges) == len(made.counts) + 1


def test_an_empty_histogram_has_no_extremes() -> None:
    spread = np.array((0, 0xFFFFFFFF, 0), dtype=SPREAD)
    made = histogram.histogram("us", histogram.edges(4), np.zeros(4, dtype="u4"), 0, spread)
    assert (made.count, made.minimum, made.maximum) == (0, 0.0, 0.0)
