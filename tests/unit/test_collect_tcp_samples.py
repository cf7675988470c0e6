"""Samples that were not counted in the kernel are counted in user space, as if the kernel had."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp.decode import NO_VALUE, QUANTITIES, count_pending

PENDING = 8
SAMPLE = np.dtype([(name, "u4") for name in QUANTITIES])
SPREAD = np.dtype([("total", "u8"), ("minimum", "u4"), ("maximum", "u4")])
RECORD = np.dtype(
    [
        ("histogram", "u4"), ("pending", "u4"), ("lost_samples", "u4"), ("samples", SAMPLE, (PENDING,)),
        *((f"{name}_spread", SPREAD) for name in QUANTITIES), *((f"{name}_above", "u4") for name in QUANTITIES),
    ],
    align=True,
)  # fmt: skip
SETS = np.dtype(
    [
        ("segs", [("cwnd", "u4"), ("inflight", "u4")], (histogram.SEGS_BUCKETS,)),
        ("times", [("rtt", "u4"), ("srtt", "u4")], (histogram.RTT_BUCKETS,)),
    ]
)
u32 = st.integers(0, 2**32 - 2)
one_sample = st.tuples(st.one_of(u32, st.just(NO_VALUE)), u32, u32, u32)


def records_of(waiting: list[list[tuple[int, ...]]], numbers: list[int]) -> npt.NDArray[Any]:
    records = np.zeros(len(waiting), RECORD)
    for record, samples, number in zip(records, waiting, numbers, strict=True):
        record["pending"], record["histogram"] = len(samples), number
        for name in QUANTITIES:
            record[f"{name}_spread"]["minimum"] = NO_VALUE
        for index, sample in enumerate(samples):
            record["samples"][index] = sample
        # What an earlier sample left behind a full round is no value of this trial.
        record["samples"][len(samples) :] = (1, 2, 3, 4)
    return records


@given(st.lists(st.lists(one_sample, max_size=PENDING - 1), min_size=1, max_size=6))
def test_each_sample_is_counted_once_and_in_its_bucket(waiting: list[list[tuple[int, ...]]]) -> None:
    records = records_of(waiting, list(range(1, len(waiting) + 1)))
    sets = np.zeros(len(waiting), SETS)
    count_pending(records, sets)
    for index, samples in enumerate(waiting):
        for place, (name, array) in enumerate(QUANTITIES.items()):
            values = [sample[place] for sample in samples if sample[place] != NO_VALUE]
            counts = sets[index][array][name]
            expected = np.zeros_like(counts)
            above = 0
            for value in values:
                bucket = histogram.bucket_of(value)
                if bucket < len(counts):
                    expected[bucket] += 1
                else:
                    above += 1
            assert counts.tolist() == expected.tolist()
            assert int(records[index][f"{name}_above"]) == above
            spread = records[index][f"{name}_spread"]
            assert int(spread["total"]) == sum(values)
            assert int(spread["minimum"]) == min(values, default=NO_VALUE)
            assert int(spread["maximum"]) == max(values, default=0)
    assert not records["pending"].any()
    assert not records["lost_samples"].any()


def test_samples_without_room_for_a_histogram_are_lost_and_counted() -> None:
    sample = (20_000, 20_100, 10, 5)
    records = records_of([[sample] * 3, [sample] * 2, [sample]], [0, 2, 1])
    sets = np.zeros(1, SETS)
    count_pending(records, sets)
    assert records["lost_samples"].tolist() == [3, 2, 0]
    assert int(sets["times"]["srtt"].sum()) == 1


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_buckets_of_an_array_are_those_of_its_values(values: list[int]) -> None:
    found = histogram.buckets_of(np.array(values, dtype=np.uint32))
    assert found.tolist() == [histogram.bucket_of(value) for value in values]
