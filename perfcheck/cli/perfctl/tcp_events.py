"""The events of `perfctl tcp`: one a connection, or a group, and interval."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.grouping import SHARES, Groups
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow_table import COUNTS, TOTALS, VALUES, FlowTable
from perfcheck.model.interval import Interval
from perfcheck.model.metric import Layer

_STATISTIC: Final = re.compile(r"(rtt|cwnd|inflight)_(mean|min|max|p50|p90|p99)_(us|segs)")
_SOCKET: Final = frozenset(
    {"sendq_bytes", "recvq_bytes", "sndbuf_bytes", "rcvbuf_bytes", "wmem_bytes", "rmem_bytes"}
)  # fmt: skip
_MAIN: Final = "tcp.bytes_acked"


def metric_name(column: str) -> str:
    """Return what the catalogue calls a column: `rtt_p99_us` is `tcp.rtt_us.p99`."""
    if found := _STATISTIC.fullmatch(column):
        return f"tcp.{found[1]}_{found[3]}.{found[2]}"
    return f"{'socket' if column in _SOCKET else 'tcp'}.{column}"


def connection_events(
    interval: Interval, table: FlowTable, number: int, notes: Sequence[Mapping[str, str]]
) -> Iterator[Event]:
    """Yield an event a row; the first has this number. `notes` are further context, one mapping a row.

    Connections that ended have `closed` in their context, and their totals among the metrics. What has no value is
    not there.
    """
    names = [(metric_name(name), table[name].tolist()) for name in (*COUNTS, *VALUES)]
    totals = [(metric_name(name), table[name].tolist()) for name in TOTALS]
    closed, pids = table["closed"].tolist(), table["pid"].tolist()
    for row, key in enumerate(table.keys()):
        metrics = _present(
            (name, values[row]) for name, values in (*names, *totals)[: None if closed[row] else len(names)]
        )
        context: dict[str, str | int | float] = {
            "host": key.host, "interval": interval.number, "seconds": interval.seconds, "pid": pids[row],
            "comm": table.text("comm", row), "congestion": table.text("congestion", row), **notes[row],
        }  # fmt: skip
        if closed[row]:
            context["closed"] = True
        yield Event(
            number=number + row, timestamp_ns=interval.end_ns, flow=key, layer=Layer.TCP, metric=_MAIN,
            value=metrics[_MAIN], type=EventType.ALERT if "trigger" in context else EventType.SUMMARY,
            metrics=metrics, context=context,
        )  # fmt: skip


def group_events(
    interval: Interval, groups: Groups, chosen: npt.NDArray[np.intp], number: int, notes: Sequence[Mapping[str, str]]
) -> Iterator[Event]:
    """Yield an event a group: sums of its connections by the columns' names, and percentiles over them."""
    for place, which in enumerate(chosen.tolist()):
        metrics = _present((metric_name(name), float(values[which])) for name, values in groups.sums.items())
        for name, spread in groups.percentiles.items():
            metrics |= _present(
                (f"tcp.{name}.connections_p{100 * share:.0f}", value)
                for share, value in zip(SHARES, spread[which].tolist(), strict=True)
            )
        context: dict[str, str | int | float] = {
            "interval": interval.number, "seconds": interval.seconds, "group_by": groups.by.value,
            "group": groups.labels[which], "connections": int(groups.connections[which]),
            "ended": int(groups.closed[which]), **notes[place],
        }  # fmt: skip
        yield Event(
            number=number + place, timestamp_ns=interval.end_ns, flow=None, layer=Layer.TCP, metric=_MAIN,
            value=metrics[_MAIN], type=EventType.SUMMARY, metrics=metrics, context=context,
        )  # fmt: skip


def _present(values: Any) -> dict[str, float]:
    """Return the values that are numbers: JSON knows neither NaN nor an infinity."""
    return {name: value for name, value in values if math.isfinite(value)}
