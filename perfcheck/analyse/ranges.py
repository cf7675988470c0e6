"""Finds the range of sequence numbers that covers a byte before or after a moment; each range has a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
NONE: Final = -1


class TimedRanges:
    """Ranges [start, end) with a time in ns each; they may overlap and come in any order.

    The numbers at which any range begins or ends cut all of them into cells; each cell has its ranges in the
    order of time. A look-up is two binary searches.
    """

    def __init__(self, start: npt.NDArray[Any], end: npt.NDArray[Any], ns: npt.NDArray[Any]) -> None:
        """Take three arrays of one length, whole numbers; empty ranges cover nothing."""
        start, end, ns = (np.asarray(one, np.int64) for one in (start, end, ns))
        self._edges: Ints = np.unique(np.concatenate((start, end)))
        first = np.searchsorted(self._edges, start)
        cells = np.maximum(np.searchsorted(self._edges, end) - first, 0)
        owner = np.repeat(np.arange(len(start)), cells)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(cells) - cells, cells)
        cell = first[owner] + within
        order = np.lexsort((ns[owner], cell))
        self._owner: Ints = owner[order]
        self._cell: Ints = cell[order]
        self._begin_ns = int(ns.min()) if len(ns) else 0
        self._span = int(ns.max()) - self._begin_ns + 2 if len(ns) else 2
        self._keys: Ints = self._cell * self._span + (ns[owner] - self._begin_ns)[order]

    def latest(self, byte: npt.NDArray[Any], ns: npt.NDArray[Any]) -> Ints:
        """Give, for each byte and moment, the index of the latest range up to the moment that covers it, or NONE."""
        cell, key = self._wanted(byte, ns)
        place = np.searchsorted(self._keys, key, side="right") - 1
        return self._found(place, cell)

    def earliest(self, byte: npt.NDArray[Any], ns: npt.NDArray[Any]) -> Ints:
        """Give, for each byte and moment, the index of the first range from the moment on that covers it, or NONE."""
        cell, key = self._wanted(byte, ns)
        place = np.searchsorted(self._keys, key, side="left")
        return self._found(place, cell)

    def covering(self, byte: npt.NDArray[Any]) -> Ints:
        """Return how many ranges cover each byte."""
        cell = np.searchsorted(self._edges, np.asarray(byte, np.int64), side="right") - 1
        return np.searchsorted(self._cell, cell, side="right") - np.searchsorted(self._cell, cell, side="left")

    def before(self, byte: npt.NDArray[Any], ns: npt.NDArray[Any]) -> Ints:
        """Return how many ranges before each moment cover each byte."""
        cell, key = self._wanted(byte, ns)
        until = np.searchsorted(self._keys, key, side="left")
        return np.where(self.covering(byte) > 0, until - np.searchsorted(self._cell, cell, side="left"), 0)

    def nth(self, byte: npt.NDArray[Any], number: npt.NDArray[Any]) -> Ints:
        """Give, for each byte, the index of the range of this number (from 0, in time) that covers it, or NONE."""
        cell = np.searchsorted(self._edges, np.asarray(byte, np.int64), side="right") - 1
        return self._found(np.searchsorted(self._cell, cell, side="left") + np.asarray(number, np.int64), cell)

    def _wanted(self, byte: npt.NDArray[Any], ns: npt.NDArray[Any]) -> tuple[Ints, Ints]:
        cell = np.searchsorted(self._edges, np.asarray(byte, np.int64), side="right") - 1
        # One more than any time in a cell, or less: what lies outside must not reach into the next cell's times.
        moment = np.clip(np.asarray(ns, np.int64) - self._begin_ns, -1, self._span - 1)
        return cell, cell * self._span + moment

    def _found(self, place: Ints, cell: Ints) -> Ints:
        inside = (place >= 0) & (place < len(self._keys))
        place = np.where(inside, place, 0)
        if not len(self._keys):
            return np.full(len(cell), NONE)
        return np.where(inside & (self._cell[place] == cell), self._owner[place], NONE)


def unwrapped(seq: npt.NDArray[Any]) -> Ints:
    """Return 32-bit sequence numbers, in the order of time, as positions that do not wrap; the first one is its own.

    Each has to be less than 2^31 from the one before.
    """
    numbers = np.asarray(seq, np.uint32)
    if not len(numbers):
        return np.zeros(0, np.int64)
    steps = np.diff(numbers).astype(np.int32).astype(np.int64)
    return np.concatenate(([int(numbers[0])], int(numbers[0]) + np.cumsum(steps)))
