"""The order of rows: exact when it is asked for; later, a row moves only when its value has clearly changed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.screen.frame import Keys

KEPT_SHARE: Final = 0.05
"""A value that changed by less than this since its row was placed does not move the row."""


class Order:
    """Where rows stand by one column; remembers by which value each was placed."""

    def __init__(self) -> None:
        """Begin without rows."""
        self._keys: Keys = np.zeros(0, np.uint64)
        self._placed: npt.NDArray[Any] = np.zeros(0)

    def forget(self) -> None:
        """Place all rows anew by their exact values."""
        self.__init__()  # type: ignore[misc]

    def places(self, keys: Keys, values: npt.NDArray[Any], *, descending: bool) -> npt.NDArray[np.intp]:
        """Return the rows in order; absent values come last, and equal ones stay as they stood before."""
        known = self._rows_before(keys)
        if values.dtype.kind == "f":
            values = self._steady(values, known)
        # Those that were there keep their order among equals; new ones come after them.
        before = np.where(known >= 0, known, len(self._keys) + np.arange(len(keys)))
        by_before = np.argsort(before, kind="stable")
        order = by_before[_sorted(values[by_before], descending=descending)]
        self._keys, self._placed = keys[order], values[order]
        return order

    def _rows_before(self, keys: Keys) -> npt.NDArray[np.intp]:
        if not len(self._keys) or not len(keys):
            return np.full(len(keys), -1, np.intp)
        order = np.argsort(self._keys, kind="stable")
        ordered = self._keys[order]
        place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
        return np.where(ordered[place] == keys, order[place], -1)

    def _steady(self, values: npt.NDArray[Any], known: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        """Return the values by which rows are placed: the former ones where they changed little."""
        there = known >= 0
        if not there.any() or self._placed.dtype.kind != "f":
            return values
        steady = values.copy()
        former = self._placed[known[there]]
        now = values[there]
        steady[there] = np.where(np.abs(now - former) <= KEPT_SHARE * np.abs(former), former, now)
        return steady


def _sorted(values: npt.NDArray[Any], *, descending: bool) -> npt.NDArray[np.intp]:
    """Return a stable order, in either direction; NaN is last in both."""
    if values.dtype.kind == "f":
        absent = np.isnan(values)
        ranked = np.where(absent, np.inf, -values if descending else values)
        return np.argsort(ranked, kind="stable")
    if not descending:
        return np.argsort(values, kind="stable")
    # Stable from the end, so that equal ones keep their order when it is turned.
    return (len(values) - 1 - np.argsort(values[::-1], kind="stable"))[::-1]
