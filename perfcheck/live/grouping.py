"""Connections by process, by application or all together: sums, and percentiles over the connections of a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow_table import COUNTS, TOTALS, FlowTable

Floats = npt.NDArray[np.float64]

SUMMED_VALUES: Final = ("send_bps", "receive_bps", "sendq_bytes", "recvq_bytes", "inflight_segs")
SUMMED: Final = (*COUNTS, *TOTALS, *SUMMED_VALUES)
"""Columns whose sum over connections means something."""
SPREAD: Final = ("rtt_us", "cwnd_segs", "send_bps")
"""What has percentiles over a group's connections; `rtt_us` is `rtt_of`."""
SHARES: Final = (0.5, 0.9, 0.99)
UNKNOWN: Final = "unknown process"
OWN_NETNS: Final = "own namespace"


class GroupBy(StrEnum):
    """What makes connections one group."""

    CONNECTION = "connection"
    PROCESS = "process"
    APP = "app"
    NETNS = "netns"
    NONE = "none"


_GROUPED_BY: Final[Mapping[GroupBy, str]] = {
    GroupBy.PROCESS: "pid", GroupBy.APP: "comm", GroupBy.NETNS: "netns",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """The groups of one table, in no order.

    `index` is the group of each row of the table. `example` is for each group the row of it that carries the most
    bytes, `connections` the number of its rows, `closed` of those that ended. `sums` are by column (a value that no
    connection has is NaN), `percentiles` of shape (groups, 3) for `SHARES`, NaN where no connection has the value.
    """

    by: GroupBy
    labels: tuple[str, ...]
    index: npt.NDArray[np.intp]
    example: npt.NDArray[np.intp]
    connections: npt.NDArray[np.intp]
    closed: npt.NDArray[np.intp]
    sums: Mapping[str, npt.NDArray[Any]]
    percentiles: Mapping[str, Floats]

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.labels)


def group(table: FlowTable, by: GroupBy) -> Groups:
    """Return the groups of a table's connections."""
    index, count = _index(table, by)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(count))
    example = _examples(table, index, count)
    return Groups(
        by=by, labels=tuple(_label(table, by, int(row)) for row in example), index=index, example=example,
        connections=np.bincount(index, minlength=count),
        closed=np.bincount(index[table["closed"]], minlength=count),
        sums={name: _sum(table[name], order, starts) for name in SUMMED},
        percentiles={
            name: percentiles(rtt_of(table) if name == "rtt_us" else table[name], index, count) for name in SPREAD
        },
    )  # fmt: skip


def rtt_of(table: FlowTable) -> Floats:
    """Return each connection's RTT: the interval's median, or TCP's smoothed one where no sample was seen."""
    median: Floats = table["rtt_p50_us"]
    return np.where(np.isnan(median), table["srtt_us"], median)


def percentiles(values: Floats, index: npt.NDArray[np.intp], count: int) -> Floats:
    """Return the percentiles `SHARES` of each group's values, interpolated as numpy does, NaN left out."""
    found = np.full((count, len(SHARES)), np.nan)
    there = ~np.isnan(values)
    values, index = values[there], index[there]
    if not len(values):
        return found
    values = values[np.lexsort((values, index))]
    sizes = np.bincount(index, minlength=count)
    starts = np.cumsum(sizes) - sizes
    filled = sizes > 0
    for column, share in enumerate(SHARES):
        place = share * (sizes[filled] - 1)
        low = np.floor(place).astype(np.intp)
        high = np.minimum(low + 1, sizes[filled] - 1)
        first, second = values[starts[filled] + low], values[starts[filled] + high]

        found[filled, column] = np.where(first == second, first, first + (place - low) * (second - first))
    return found


def _index(table: FlowTable, by: GroupBy) -> tuple[npt.NDArray[np.intp], int]:
    rows = len(table)
    if by is GroupBy.CONNECTION:
        return np.arange(rows), rows
    if by is GroupBy.NONE:
        return np.zeros(rows, np.intp), min(rows, 1)
    names, index = np.unique(table[_GROUPED_BY[by]], return_inverse=True)
    return index.reshape(-1), len(names)


def _examples(table: FlowTable, index: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Return for each group its row with the most bytes, the first of several."""
    carried = table["bytes_acked"].astype(np.float64) + table["bytes_received"]
    order = np.lexsort((-np.arange(len(table)), carried, index))
    ends = np.searchsorted(index[order], np.arange(count), side="right")
    return order[ends - 1]


def _label(table: FlowTable, by: GroupBy, row: int) -> str:
    if by is GroupBy.NONE:
        return "all connections"
    if by is GroupBy.NETNS:
        netns = int(table["netns"][row])
        return table.hosts.get(netns, f"netns:{netns}") or OWN_NETNS
    comm, pid = table.text("comm", row), int(table["pid"][row])
    if by is GroupBy.APP:
        return comm or UNKNOWN
    return process_label(comm, pid)


def process_label(comm: str, pid: int) -> str:
    """Return `iperf3[100]`, or that the process is not known."""
    if pid == 0:
        return UNKNOWN
    return f"{comm or '?'}[{pid}]"


def _sum(column: npt.NDArray[Any], order: npt.NDArray[np.intp], starts: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Return the sum of each group; counts are summed exactly, and a group without any value has none."""
    if not len(starts):
        return column[:0]
    ordered = column[order]
    if column.dtype.kind != "f":
        return np.add.reduceat(ordered, starts)
    there = ~np.isnan(ordered)
    sums: Floats = np.add.reduceat(np.where(there, ordered, 0.0), starts)
    return np.where(np.logical_or.reduceat(there, starts), sums, np.nan)
