"""Series of connections or groups over intervals: of a bounded length and number, for trends."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.connections import active_rows
from perfcheck.live.grouping import GroupBy, group, rtt_of
from perfcheck.live.trends import cwnd_trend, movement, retrans_trend
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval

POINTS: Final = 240
"""Of a series. When there are more, each two become one, and so do the later ones."""
MOST_SERIES: Final = 16_384
_MEANS: Final = ("rtt_us", "cwnd_segs")
_SUMS: Final = ("retrans_segs", "data_segs_out")
_NAMES: Final = (*_MEANS, *_SUMS)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One connection's or group's values by name, and their times; NaN where it was not there."""

    times_s: Floats
    values: Mapping[str, Floats]

    def text(self) -> str:
        """Return `RTT rising, cwnd limited, retransmissions in bursts`, as far as the series is long enough."""
        said = (
            ("RTT", movement(self.times_s, self.values["rtt_us"])),
            ("cwnd", cwnd_trend(self.times_s, self.values["cwnd_segs"])),
            ("retransmissions", retrans_trend(self.values["retrans_segs"], self.values["data_segs_out"])),
        )
        return ", ".join(f"{name} {found.value}" for name, found in said if found.name not in {"UNKNOWN", "NONE"})


@dataclass(slots=True, kw_only=True, eq=False)
class _Points:
    """The values of all series: one row each, one column a point of time that all share."""

    times_ns: list[int] = field(default_factory=list)
    values: dict[str, npt.NDArray[np.float32]] = field(
        default_factory=lambda: {name: np.full((64, POINTS), np.nan, np.float32) for name in _NAMES}
    )

    def grow(self, rows: int) -> None:
        """Make room for so many series."""
        for name, old in self.values.items():
            if rows > len(old):
                more = np.full((max(rows, 2 * len(old)) - len(old), POINTS), np.nan, np.float32)
                self.values[name] = np.concatenate((old, more))

    def halve(self) -> None:
        """Make one point of each two."""
        half = POINTS // 2
        self.times_ns = self.times_ns[1::2]
        for name, old in self.values.items():
            pairs = old.reshape(len(old), half, 2)
            there = ~np.isnan(pairs)
            count = there.sum(axis=2)
            total = np.where(there, pairs, 0).sum(axis=2)
            merged = np.where(count > 0, total / np.maximum(count, 1) if name in _MEANS else total, np.nan)
            old[:, :half], old[:, half:] = merged, np.nan

    def drop_first(self, columns: int) -> None:
        """Let go of the oldest points."""
        self.times_ns = self.times_ns[columns:]
        for old in self.values.values():
            old[:, :-columns] = old[:, columns:].copy()
            old[:, -columns:] = np.nan


class History:
    """Series by key; `left_out` counts those for which there was no room."""

    def __init__(self, *, duration_ns: int, most_series: int = MOST_SERIES) -> None:
        """Keep series for as long as `duration_ns`."""
        self._duration_ns = duration_ns
        self._most = most_series
        self._points = _Points()
        self._rows: dict[Hashable, int] = {}
        self._free: list[int] = []
        self._ended: list[Hashable] = []
        self._seen: dict[Hashable, int] = {}
        self._in_point = np.zeros(64, np.int64)
        self._step_ns = 0
        self._point_began_ns = 0
        self.left_out = 0

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self._rows)

    def add(
        self, keys: Sequence[Hashable], at_ns: int, values: Mapping[str, Floats], ended: Sequence[bool] = ()
    ) -> None:
        """Add the values of an interval that ended at `at_ns`, one a key; an ended key's series goes at the next."""
        if self._points.times_ns and at_ns <= self._points.times_ns[-1]:
            return  # a history goes forward only
        self._forget(at_ns)
        column = self._column(at_ns)
        kept = [(place, row) for place, key in enumerate(keys) if (row := self._row(key, at_ns)) is not None]
        if kept:
            places, rows = (np.array(each, np.intp) for each in zip(*kept, strict=True))
            self._write(column, places, rows, values)
        self._ended = [key for key, is_over in zip(keys, ended, strict=False) if is_over]

    def series(self, key: Hashable) -> Series | None:
        """Return the series of a key, from its begin."""
        row = self._rows.get(key)
        if row is None:
            return None
        length = len(self._points.times_ns)
        return Series(
            times_s=np.array(self._points.times_ns, np.float64) / 1e9,
            values={name: self._points.values[name][row, :length].astype(np.float64) for name in _NAMES},
        )

    def _write(
        self, column: int, places: npt.NDArray[np.intp], rows: npt.NDArray[np.intp], values: Mapping[str, Floats]
    ) -> None:
        self._in_point[rows] += 1
        for name, table in self._points.values.items():
            new = values[name][places].astype(np.float32)
            old = table[rows, column]
            merged = old + (new - old) / self._in_point[rows] if name in _MEANS else old + new
            table[rows, column] = np.where(np.isnan(old), new, np.where(np.isnan(new), old, merged))

    def _column(self, at_ns: int) -> int:
        """Return the point that an interval belongs to; a new one where the last is as long as the others."""
        points = self._points
        if points.times_ns and at_ns - self._point_began_ns < self._step_ns:
            points.times_ns[-1] = at_ns
            return len(points.times_ns) - 1
        old = int(np.searchsorted(points.times_ns, at_ns - self._duration_ns))
        if old:
            points.drop_first(old)
        if len(points.times_ns) == POINTS:
            span_ns = points.times_ns[-1] - points.times_ns[0]
            points.halve()
            self._step_ns = 2 * span_ns // (POINTS - 1)
        self._point_began_ns = at_ns
        self._in_point[:] = 0
        points.times_ns.append(at_ns)
        return len(points.times_ns) - 1

    def _row(self, key: Hashable, at_ns: int) -> int | None:
        self._seen[key] = at_ns
        row = self._rows.get(key)
        if row is not None:
            return row
        if len(self._rows) >= self._most:
            del self._seen[key]
            self.left_out += 1
            return None
        row = self._free.pop() if self._free else len(self._rows)
        self._rows[key] = row
        self._points.grow(row + 1)
        if row >= len(self._in_point):
            self._in_point = np.concatenate((self._in_point, np.zeros(len(self._in_point), np.int64)))
        return row

    def _forget(self, at_ns: int) -> None:
        """Let go of series that ended, and of those not seen for the whole duration."""
        gone = set(self._ended)
        gone |= {key for key, seen_ns in self._seen.items() if seen_ns < at_ns - self._duration_ns}
        for key in gone:
            row = self._rows.pop(key, None)
            self._seen.pop(key, None)
            if row is not None:
                self._free.append(row)
                self._in_point[row] = 0
                for table in self._points.values.values():
                    table[row] = np.nan


def add_interval(history: History, interval: Interval, by: GroupBy) -> None:
    """Add an interval's connections, or its groups."""
    flows, at_ns = interval.flows, interval.end_ns + interval.epoch_ns
    if by is GroupBy.CONNECTION:
        flows = flows.where(active_rows(flows))  # an idle one has nothing new to say
        values = {"rtt_us": rtt_of(flows), **{name: flows[name].astype(np.float64) for name in _NAMES[1:]}}
        history.add(connection_keys(flows), at_ns, values, flows["closed"].tolist())
        return
    groups = group(flows, by)
    spread = {name: groups.percentiles[name][:, 0] for name in _MEANS}
    sums = {name: groups.sums[name].astype(np.float64) for name in _SUMS}
    history.add(groups.labels, at_ns, {**spread, **sums})


def connection_keys(flows: FlowTable) -> list[Hashable]:
    """Return what stands for each connection over intervals and runs: the socket's cookie, and its ports."""
    columns = (flows[name].tolist() for name in ("netns", "cookie", "local_port", "remote_port"))
    return list(zip(*columns, strict=True))
