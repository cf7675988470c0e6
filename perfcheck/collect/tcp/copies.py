"""Copies of the TCP collector's maps at several ticks, while the kernel writes to them, to be decoded together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.series.copies import FEW_TICKS
from perfcheck.collect.tcp import decode

_SPARE: Final = 8
_ONE: Final = np.uint32(1)
"""A histogram's number less 1 is beyond all of them where there is none."""
_FEW: Final = 32
"""Of so many flows all buckets are copied: to find out which ones are in use costs as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was copied: `rows` are `pc_record`s by tick and flow; `there` says which are in use.

    `counts_of` gives round trips by row and bucket, for the rows' ticks and flows (by their places in `flows`) and a
    span of the `buckets` that there are; the flows must have a histogram. Samples that were pending are not in it.
    `sets` is the number of histograms that there are.
    """

    ticks: npt.NDArray[np.int64]
    flows: npt.NDArray[np.int64]
    rows: npt.NDArray[Any]
    there: npt.NDArray[np.bool_]
    counts_of: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64], slice], npt.NDArray[np.int32]]
    buckets: int
    sets: int

    def counted(
        self, tick: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
    ) -> tuple[int, npt.NDArray[np.int32]]:  # fmt: skip
        """Return the first bucket, and the round trips by bucket of some rows, those that were pending with them."""
        rows = self.rows[tick, place]
        values = rows["samples"]["rtt"]
        row, one = np.nonzero((np.arange(values.shape[1]) < rows["pending"][:, None]) & (values != decode.NO_VALUE))
        buckets = histogram.buckets_of(values[row, one])
        within = buckets < self.buckets
        row, buckets = row[within], buckets[within]
        begin, end = reach(rows["rtt_spread"], self.buckets)
        if buckets.size:
            begin, end = min(begin, int(buckets.min())), max(end, int(buckets.max()) + 1)
        end = max(begin, end)
        counts = self.counts_of(tick, place, slice(begin, end))
        np.add.at(counts, (row, buckets - begin), 1)
        return begin, counts


class Copies:
    """Copies at up to FEW_TICKS; what is copied at one of them is copied at the next ones, too."""

    _own: npt.NDArray[Any]
    _own_counts: npt.NDArray[np.int32]

    def __init__(self, records: npt.NDArray[Any], counts: npt.NDArray[Any]) -> None:
        """Take the mapped records, and the histograms' counts of round trips, by histogram and bucket."""
        self._records, self._counts = records, counts
        self._raw = records.view(f"V{records.itemsize}")
        self._pending = records["pending"]
        self._ticks: list[int] = []
        self._sizes: list[int] = []
        self._flows = np.zeros(0, np.int64)
        self._known = self._numbers = np.zeros(0, np.uint32)
        self._places = np.zeros(0, np.int64)
        self._own: npt.NDArray[Any] = np.zeros((0, 0), records.dtype)
        self._own_counts = np.zeros((0, 0, counts.shape[1]), np.int32)
        self._make_room(_SPARE)

    @property
    def full(self) -> bool:
        """Whether there is no room for another tick."""
        return len(self._ticks) == FEW_TICKS

    def _make_room(self, flows: int) -> None:
        """Have room for so many flows, and keep what was copied."""
        rows: npt.NDArray[Any] = np.zeros((FEW_TICKS, flows), self._records.dtype)
        counts = np.zeros((FEW_TICKS, flows, self._counts.shape[1]), np.int32)
        if self._ticks:
            held = self._own.shape[1]
            rows[:, :held], counts[:, :held] = self._own, self._own_counts
        self._own, self._own_counts = rows, counts
        self._own_raw = rows.view(f"V{rows.itemsize}")
        self._histogram, self._own_pending = rows["histogram"], rows["pending"]

    def take(self, tick: int, flows: npt.NDArray[np.int64]) -> None:
        """Copy these records and their counts as they are now; `flows` begins with those of the tick before."""
        at, size = len(self._ticks), len(flows)
        if size > self._own.shape[1]:
            self._make_room(2 * size)
        self._flows = flows
        np.take(self._raw, flows, out=self._own_raw[at, :size], mode="clip")
        self._ticks.append(tick)
        self._sizes.append(size)
        self._copy_counts(at, size)
        # What the kernel counted while it was copied would be counted twice, or not at all.
        moved = self._pending[flows] != self._own_pending[at, :size]
        if moved.any():
            places = np.flatnonzero(moved)
            self._own[at, places] = self._records[flows[places]]
            places = places[self._histogram[at, places] - _ONE < len(self._counts)]
            self._own_counts[at, places] = self._counts[self._histogram[at, places] - _ONE]

    def _copy_counts(self, at: int, size: int) -> None:
        histograms = self._histogram[at, :size]
        if len(self._known) != size or (histograms != self._known).any():
            self._known = histograms.copy()
            numbers = self._known - _ONE
            self._places = np.flatnonzero(numbers < len(self._counts))
            self._numbers = numbers[self._places]
        places, numbers = self._places, self._numbers
        if len(places) <= _FEW:
            self._own_counts[at, places] = self._counts[numbers]
            return
        begin, end = reach(self._own["rtt_spread"][at, places], self._counts.shape[1])
        self._own_counts[at, :size] = 0
        self._own_counts[at, places, begin:end] = self._counts[numbers, begin:end]

    def taken(self) -> Taken | None:
        """Return the copies, None where there are none; they are valid until the next `take`."""
        if not self._ticks:
            return None
        count, size = len(self._ticks), self._sizes[-1]
        counts = self._own_counts[:count, :size]
        found = Taken(
            ticks=np.array(self._ticks), flows=self._flows, rows=self._own[:count, :size],
            there=np.arange(size) < np.array(self._sizes)[:, None],
            counts_of=lambda tick, place, span: counts[tick, place, span], buckets=counts.shape[2],
            sets=len(self._counts),
        )  # fmt: skip
        self._ticks, self._sizes = [], []
        return found


def reach(spread: npt.NDArray[Any], buckets: int) -> tuple[int, int]:
    """Return between which buckets all values lie that were counted, from histograms' `pc_spread`s."""
    high = int(spread["maximum"].max())
    if not high:
        return buckets, 0
    low = int(spread["minimum"].min())
    return min(histogram.bucket_of(low), buckets), min(histogram.bucket_of(high) + 1, buckets)
