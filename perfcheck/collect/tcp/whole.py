"""Copies of all that is in use of the TCP collector's maps, where that is little: a tick chooses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.series.copies import FEW_TICKS, MOST_BYTES, touch
from perfcheck.collect.series.source import BATCH
from perfcheck.collect.tcp.copies import Taken

_SPARE: Final = 2
_OCTAVE: Final = 1 << histogram.SUB_BITS
_WORD: Final = (1 << 32) - 1


class WholeCopies:
    """Copies at up to BATCH ticks, 16 where they are large, of the first records and of the histograms of round trips.

    The histograms come first. What the kernel counts between the two copies is in neither of them, and comes with the
    next tick; nothing is in both. A record's number of pending samples lies before them, and is copied before them.
    Of histograms those buckets are copied between which all values lie. A memoryview copies by far fewer steps than an
    array, which counts where none of them is in the CPU's caches.
    """

    def __init__(self, control: npt.NDArray[Any], records: npt.NDArray[Any], sets: npt.NDArray[Any]) -> None:
        """Take the mapped arrays; nothing is copied yet."""
        self._dtype, self._times = records.dtype, sets["times"]
        raw, fields = np.frombuffer(control, np.uint8), _fields(control)
        self._records_in_use, self._sets_in_use = (
            raw[fields[name][1] :][:4].view(np.uint32).data for name in ("records", "histograms")
        )
        self._size, self._most_sets = records.dtype.itemsize, len(sets)
        flat = records.view(np.uint8).reshape(-1)
        self._records, self._whole_records = flat.data, records.view(f"V{self._size}")
        # Minimum and maximum lie side by side (pc_spread): one number of 64 bits.
        spread, kind = _fields(records)["rtt_spread"][1], records.dtype["rtt_spread"]
        at = spread + _fields(np.zeros(0, kind))["minimum"][1]
        self._extremes = flat.reshape(-1, self._size)[:, at : at + 8].view(np.uint64)[:, 0].data
        self._seen: list[int] = []
        self._low, self._high = self._times.shape[1], 0
        self._ticks: list[int] = []
        self._counts: list[int] = []
        self._set_counts: list[int] = []
        self._span = slice(0, 0)
        self._own: npt.NDArray[Any] = np.zeros((0, 0), self._whole_records.dtype)
        self._own_sets: npt.NDArray[Any] = np.zeros((0, 0, 0), self._times.dtype)
        self._rooms: list[tuple[memoryview, list[memoryview]]] = []
        self._sets: list[memoryview] = []

    @property
    def full(self) -> bool:
        """Whether there is no room for another tick."""
        return len(self._ticks) == len(self._rooms)

    @property
    def holds(self) -> bool:
        """Whether anything was copied that was not taken."""
        return bool(self._ticks)

    @property
    def in_use(self) -> int:
        """How many records there are, those for which there was no room among them."""
        count: int = self._records_in_use[0]
        return count

    def fits(self, records: int) -> bool:
        """Whether there is room for the first records, and the histograms' buckets, as they are now."""
        seen = self._extremes[:records].tolist()
        if seen != self._seen:
            self._seen = seen
            self._low, self._high = self._reach()
        in_reach = self._span.start <= self._low and self._high <= self._span.stop
        enough = records <= self._own.shape[1] and self._sets_used() <= self._own_sets.shape[1]
        return enough and (in_reach or not self._high)

    def _reach(self) -> tuple[int, int]:
        """Return between which buckets all values lie that were counted."""
        buckets = self._times.shape[1]
        used = [(both & _WORD, both >> 32) for both in self._seen if both >> 32]
        if not used:
            return buckets, 0
        low, high = min(low for low, _ in used), max(high for _, high in used)
        return min(histogram.bucket_of(low), buckets), min(histogram.bucket_of(high) + 1, buckets)

    def _sets_used(self) -> int:
        return min(self._sets_in_use[0], self._most_sets)

    def make_room(self, records: int) -> None:
        """Have room for more than what there is now; what was copied must have been taken."""
        sets, buckets = _with_spare(self._sets_used()), self._times.shape[1]
        records = _with_spare(records)
        if self._high:
            low = max(self._low // _OCTAVE - 1, 0) * _OCTAVE
            self._span = slice(low, min((self._high // _OCTAVE + 2) * _OCTAVE, buckets))
        width = self._span.stop - self._span.start
        size = records * self._size + sets * width * self._times.dtype.itemsize
        ticks = min(max(MOST_BYTES // size, FEW_TICKS), BATCH)
        self._own = np.empty((ticks, records), self._whole_records.dtype)
        self._own_sets = np.empty((ticks, sets, width), self._times.dtype)
        touch(self._own)
        touch(self._own_sets)
        own, own_sets = (array.view(np.uint8).reshape(-1).data for array in (self._own, self._own_sets))
        self._rooms = list(
            zip(_parts(own, ticks), (_parts(each, sets) for each in _parts(own_sets, ticks)), strict=True)
        )
        self._sets = [one[self._span].view(np.uint8).data for one in self._times[:sets]]

    def take(self, tick: int, records: int) -> None:
        """Copy the first records, and all histograms that are in use; those that fit."""
        own, own_sets = self._rooms[len(self._ticks)]
        sets, size = min(self._sets_used(), len(self._sets)), records * self._size
        for number in range(sets):
            own_sets[number][:] = self._sets[number]
        own[:size] = self._records[:size]
        self._ticks.append(tick)
        self._counts.append(records)
        self._set_counts.append(sets)

    def taken(self, done: npt.NDArray[np.bool_]) -> Taken | None:
        """Return the copies but for those of flows that are done; None where there are none.

        They are valid until the next `take`.
        """
        if not self._ticks:
            return None
        count, size = len(self._ticks), self._counts[-1]
        whole = self._own[:count, :size]
        rows = whole.view(self._dtype)
        there = (np.arange(size) < np.array(self._counts)[:, None]) & ~done[:size]
        # Of a connection that was closed there is no next tick; nothing counts any more for it.
        at, closed = np.nonzero(there & (rows["closed"] != 0))
        whole[at, closed] = self._whole_records[closed]
        found = Taken(
            ticks=np.array(self._ticks), flows=np.arange(size), rows=rows, there=there,
            counts_of=_Counts(rows, self._own_sets["rtt"], np.array(self._set_counts), self._span, self._times["rtt"]),
            buckets=self._times.shape[1], sets=self._most_sets,
        )  # fmt: skip
        self._ticks, self._counts, self._set_counts = [], [], []
        return found


def _with_spare(count: int) -> int:
    return count + max(count // 2, _SPARE)


def _parts(memory: memoryview, count: int) -> list[memoryview]:
    """Return parts of equal length."""
    size = len(memory) // count
    return [memory[number * size : (number + 1) * size] for number in range(count)]


class _Counts:
    """Gives round trips by row and bucket (`Taken.counts_of`)."""

    def __init__(
        self, rows: npt.NDArray[Any], own: npt.NDArray[Any], copied: npt.NDArray[Any], span: slice,
        live: npt.NDArray[Any],
    ) -> None:  # fmt: skip
        """Take rows by tick and place, and counts by tick, histogram and bucket of the span that was copied.

        `copied` says how many histograms were, by tick; `live` are the mapped ones.
        """
        self._rows, self._own, self._copied, self._span, self._live = rows, own, copied, span, live

    def __call__(
        self, tick: npt.NDArray[np.int64], place: npt.NDArray[np.int64], span: slice
    ) -> npt.NDArray[np.int32]:  # fmt: skip
        number = self._rows["histogram"][tick, place].astype(np.int64) - 1
        found = np.zeros((len(tick), span.stop - span.start), np.int32)
        # A histogram that came into use after those were copied has only what is pending.
        copied = number < self._copied[tick]
        begin, end = max(span.start, self._span.start), min(span.stop, self._span.stop)
        if begin < end:
            own = slice(begin - self._span.start, end - self._span.start)
            found[copied, begin - span.start : end - span.start] = self._own[tick[copied], number[copied], own]
        closed = self._rows["closed"][tick, place] != 0
        found[closed] = self._live[number[closed], span]
        return found


def _fields(array: npt.NDArray[Any]) -> Mapping[str, Any]:
    """Return the members of a struct: type and offset by name."""
    fields: Mapping[str, Any] | None = array.dtype.fields
    return fields or {}
