"""Percentiles of many histograms at once, whose buckets come as rows (model.series.COUNT)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perfcheck.model.series import Rows


def quantiles(
    rows: Rows, edges: npt.NDArray[np.float64], shares: Sequence[float]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return group and tick of each histogram that has values, and a column of values for each share (0..1).

    As analyse.histogram.quantile does it: a value lies evenly in its bucket. Rows of one bucket are added up.
    """
    rows = rows[rows["count"] > 0]
    if not len(rows):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, np.zeros((0, len(shares)))
    rows = _added_up(rows[np.lexsort((rows["bucket"], rows["tick"], rows["group"]))])
    group, tick = rows["group"].astype(np.int64), rows["tick"].astype(np.int64)
    begins = np.flatnonzero(np.append(True, (group[1:] != group[:-1]) | (tick[1:] != tick[:-1])))
    reached = np.cumsum(rows["count"], dtype=np.int64)
    before = reached[begins] - rows["count"][begins]
    whole = np.append(before[1:], reached[-1]) - before
    columns = []
    for share in shares:
        wanted = before + share * whole
        # The first row by which so many values are reached; never one of the histogram before.
        index = np.maximum(np.searchsorted(reached, wanted, side="left"), begins)
        bucket = rows["bucket"][index].astype(np.int64)
        inside = (wanted - (reached[index] - rows["count"][index])) / rows["count"][index]
        columns.append(edges[bucket] + np.clip(inside, 0, 1) * (edges[bucket + 1] - edges[bucket]))
    return group[begins], tick[begins], np.stack(columns, axis=1)


def _added_up(rows: Rows) -> Rows:
    """Join rows of one bucket of one histogram, which lie side by side."""
    names = ("group", "tick", "bucket")
    differs = np.zeros(len(rows) - 1, bool)
    for name in names:
        differs |= rows[name][1:] != rows[name][:-1]
    begins = np.flatnonzero(np.append(True, differs))
    found = rows[begins].copy()
    found["count"] = np.add.reduceat(rows["count"], begins)
    return found
