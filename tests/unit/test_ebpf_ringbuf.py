"""The ring buffer's reader against a ring that is written as kernel/bpf/ringbuf.c writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.ebpf.ringbuf import BUSY, DISCARD, HEADER_BYTES, RecordRing, RingLayoutError

RECORD = np.dtype([("number", "<u8"), ("rest", "u1", (48,))])
STRIDE = HEADER_BYTES + RECORD.itemsize
PLACES = 8


@dataclass
class KernelRing:
    """The kernel's side: positions, and data that are there twice."""

    places: int = PLACES
    produced: int = 0
    consumed: int = 0
    data: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.data = np.zeros(2 * self.places * STRIDE, np.uint8)

    def write(self, number: int, bits: int = 0, length: int = RECORD.itemsize) -> bool:
        """Write one record; False where there is no room for it."""
        if self.produced + STRIDE - self.consumed > self.places * STRIDE:
            return False
        record = np.zeros(1, RECORD)
        record["number"] = number
        record["rest"] = number % 251
        header = np.array([length | bits, 7], "<u4")
        raw = np.concatenate((header.view(np.uint8), record.view(np.uint8)))
        at = self.produced % (self.places * STRIDE)
        for copy in (0, self.places * STRIDE):
            self.data[at + copy : at + copy + STRIDE] = raw
        self.produced += STRIDE
        return True

    def finish(self, position: int, bits: int = 0) -> None:
        """Take the busy bit away from the record at this position."""
        at = position % (self.places * STRIDE)
        for copy in (0, self.places * STRIDE):
            self.data[at + copy : at + copy + 4] = np.array([RECORD.itemsize | bits], "<u4").view(np.uint8)

    def reader(self) -> RecordRing:
        return RecordRing(self.data, RECORD)


def numbers(records: npt.NDArray[Any]) -> list[int]:
    assert all((one["rest"] == one["number"] % 251).all() for one in records), "a record is torn"
    return [int(number) for number in records["number"]]


STEPS = st.lists(
    st.tuples(st.integers(0, PLACES + 2), st.integers(0, PLACES + 2), st.lists(st.booleans(), max_size=PLACES + 2)),
    max_size=40,
)


@given(steps=STEPS)
def test_every_record_is_taken_once_and_in_order_however_often_the_ring_wraps(
    steps: Sequence[tuple[int, int, Sequence[bool]]],
) -> None:
    kernel = KernelRing()
    ring = kernel.reader()
    number, lost = 0, 0
    taken: list[int] = []
    wanted: list[int] = []
    for written, most, discarded in steps:
        for place in range(written):
            thrown = place < len(discarded) and discarded[place]
            if kernel.write(number, DISCARD if thrown else 0):
                wanted += [] if thrown else [number]
            else:
                lost += 1
            number += 1
        batch = ring.take(kernel.consumed, kernel.produced, most)
        kernel.consumed = batch.position
        taken += numbers(batch.records)
    taken += numbers(ring.take(kernel.consumed, kernel.produced).records)
    assert taken == wanted


@given(before=st.integers(0, 20), busy=st.integers(0, PLACES - 1), after=st.integers(0, PLACES - 1))
def test_what_is_still_being_written_holds_back_what_comes_behind_it(before: int, busy: int, after: int) -> None:
    kernel = KernelRing()
    ring = kernel.reader()
    for number in range(before):
        kernel.write(number)
        kernel.consumed = ring.take(kernel.consumed, kernel.produced).position
    for number in range(busy):
        kernel.write(number)
    waiting = kernel.produced
    kernel.write(100, BUSY)
    for number in range(min(after, PLACES - busy - 1)):
        kernel.write(200 + number)
    batch = ring.take(kernel.consumed, kernel.produced)
    assert numbers(batch.records) == list(range(busy))
    assert batch.position == waiting
    kernel.finish(waiting)
    rest = ring.take(batch.position, kernel.produced)
    assert numbers(rest.records) == [100, *(200 + number for number in range(min(after, PLACES - busy - 1)))]


def test_a_busy_record_that_is_thrown_away_in_the_end_is_skipped() -> None:
    kernel = KernelRing()
    kernel.write(1, BUSY)
    kernel.write(2)
    assert not len(kernel.reader().take(0, kernel.produced).records)
    kernel.finish(0, DISCARD)
    assert numbers(kernel.reader().take(0, kernel.produced).records) == [2]


def test_what_was_taken_does_not_change_when_the_kernel_writes_on() -> None:
    kernel = KernelRing()
    kernel.write(1)
    records = kernel.reader().take(0, kernel.produced).records
    kernel.consumed = kernel.produced
    for number in range(2, 2 + PLACES):
        kernel.write(number)
    assert numbers(records) == [1]


def test_records_of_another_size_are_refused() -> None:
    kernel = KernelRing()
    kernel.write(1, length=RECORD.itemsize - 8)
    with pytest.raises(RingLayoutError, match="48 bytes, not 56"):
        kernel.reader().take(0, kernel.produced)


@pytest.mark.parametrize("size_bytes", [16, 40, 64])
def test_a_record_that_would_be_torn_by_the_rings_end_is_refused(size_bytes: int) -> None:
    with pytest.raises(RingLayoutError):
        RecordRing(np.zeros(2 * 4096, np.uint8), np.dtype([("bytes", "u1", (size_bytes,))]))


def test_records_that_the_kernel_pads_are_read_without_the_padding() -> None:
    record = np.dtype([("bytes", "u1", (53,))])
    data = np.zeros(2 * 4096, np.uint8)
    data[0:4] = np.array([53], "<u4").view(np.uint8)
    data[8:61] = 9
    (one,) = RecordRing(data, record).take(0, 64).records
    assert (one["bytes"] == 9).all()
