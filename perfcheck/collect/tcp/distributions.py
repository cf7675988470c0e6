"""What the histograms of many connections grew by from look to look: percentiles of each, and the sum of all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import decode
from perfcheck.model.flow import Histogram

Array = npt.NDArray[Any]
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_TRIES: Final = 3
METRICS: Final = {
    "rtt": ("tcp.rtt_us", "us"), "srtt": ("tcp.srtt_us", "us"), "cwnd": ("tcp.cwnd_segs", "segs"),
    "inflight": ("tcp.inflight_segs", "segs"),
}  # fmt: skip
"""Catalogue names without their stats, and units, of the quantities of `pc_sample`."""


class Distributions:
    """The mapped histograms, and what they held at the last look; `most` rows get percentiles of their own."""

    def __init__(self, records: Array, sets: Array, most: int) -> None:
        """Take the maps; nothing is in them yet."""
        self._records, self._sets, self.most = records, sets, most
        self._before = {
            name: np.zeros((len(sets), sets.dtype[array].shape[0]), np.uint32)
            for name, array in decode.QUANTITIES.items()
        }
        # Beyond the scale, and the exact sums, by the records' numbers: those have a set or none.
        self._sums = {name: np.zeros(len(records), np.int64) for name in decode.QUANTITIES}
        self._aboves = {name: np.zeros(len(records), np.int64) for name in decode.QUANTITIES}
        self._losts = np.zeros(len(records), np.int64)
        # Of those that have no histograms yet: the samples that waited at the last look, and how many these were.
        self._waited = np.zeros((len(records), *records.dtype["samples"].shape), records.dtype["samples"].base)
        self._seen = np.zeros(len(records), np.int64)
        self.left_out = self.ranked = 0

    def since(self, rows: Array, own: Array, active: Array) -> tuple[dict[str, Array], dict[str, Histogram]]:
        """Return columns for the records (`own`: copies of the elements `rows`), and the histograms of all together.

        `active` are the indexes within `rows` of those that had samples since; the others' columns are empty.
        """
        columns = {name: np.full(len(rows), np.nan) for name in _columns()}
        self.ranked = 0
        counted = np.zeros(len(rows), np.uint64)
        merged: dict[str, Histogram] = {}
        if active.size:
            numbers = own["histogram"][active].astype(np.int64) - 1
            waiting = own["cwnd_spread"]["total"][active] == 0
            with_set = ~waiting & (numbers >= 0) & (numbers < len(self._sets))
            self._without_set(rows, own, active[~with_set & ~waiting], columns, counted)
            merged = self._with_set(rows, active[with_set], numbers[with_set], columns, counted)
            for metric, one in self._waiting(rows, own, active[waiting], columns, counted).items():
                merged[metric] = added(merged[metric], one) if metric in merged else one
        for name, (metric, unit) in METRICS.items():
            scale = histogram.edges(self._sets.dtype[decode.QUANTITIES[name]].shape[0])
            merged.setdefault(metric, histogram.empty(unit, scale))
        return {**columns, "rtt_count": counted}, merged

    def _waiting(
        self, rows: Array, own: Array, active: Array, columns: dict[str, Array], counted: Array
    ) -> dict[str, Histogram]:  # fmt: skip
        """Take the samples of connections that had too few for histograms so far."""
        if not active.size:
            return {}
        places = np.arange(own.dtype["samples"].shape[0])
        samples, seen = own["samples"][active], self._seen[rows[active]]
        fresh = (places >= seen[:, None]) & (places < own["pending"][active][:, None])
        self._waited[rows[active]], self._seen[rows[active]] = samples, own["pending"][active]
        merged = {}
        for name, array in decode.QUANTITIES.items():
            values = np.where(fresh & (samples[name] != decode.NO_VALUE), samples[name], np.nan).astype(np.float64)
            known = ~np.isnan(values)
            metric, unit = METRICS[name]
            scale = histogram.edges(self._sets.dtype[array].shape[0])
            merged[metric] = histogram.of_values(unit, scale, values[known])
            some = known.any(axis=1)
            if some.any():
                _fill_few(name, active[some], values[some], columns, counted)
        return merged

    def _were_waiting(self, rows: Array, numbers: Array) -> None:
        """Know the samples that were told before they went into the histograms."""
        told = np.flatnonzero(self._seen[rows])
        if not told.size:
            return
        places = np.arange(self._waited.shape[1])
        for name in decode.QUANTITIES:
            values = self._waited[name][rows[told]]
            row, place = np.nonzero((places < self._seen[rows[told]][:, None]) & (values != decode.NO_VALUE))
            bucket = histogram.buckets_of(values[row, place])
            within = bucket < self._before[name].shape[1]
            np.add.at(self._before[name], (numbers[told][row[within]], bucket[within]), 1)
            np.add.at(self._sums[name], rows[told][row], values[row, place].astype(np.int64))
        self._seen[rows[told]] = 0

    def _with_set(
        self, rows: Array, active: Array, numbers: Array, columns: dict[str, Array], counted: Array
    ) -> dict[str, Histogram]:  # fmt: skip
        if not active.size:
            return {}
        self._were_waiting(rows[active], numbers)
        records, sets = self._settled(rows[active], numbers)
        merged = {}
        for name, array in decode.QUANTITIES.items():
            now, pending_sum = _with_pending(name, records, sets[name])
            before = self._before[name][numbers]
            grown = np.maximum(now.astype(np.int64) - before, 0)
            self._before[name][numbers] = now
            above = records[f"{name}_above"].astype(np.int64)
            total = records[f"{name}_spread"]["total"].astype(np.int64) + pending_sum
            more, beyond = total - self._sums[name][rows[active]], above - self._aboves[name][rows[active]]
            self._sums[name][rows[active]], self._aboves[name][rows[active]] = total, above
            metric, unit = METRICS[name]
            scale = histogram.edges(self._sets.dtype[array].shape[0])
            merged[metric] = _merged(unit, scale, grown, beyond, more)
            self._fill(name, active, grown, beyond, more, scale, columns, counted)
        return merged

    def _settled(self, rows: Array, numbers: Array) -> tuple[Array, dict[str, Array]]:
        """Copy records with their histograms; again those whose pending samples the kernel counted in between."""
        records = self._records[rows]
        sets = {name: self._sets[array][name][numbers] for name, array in decode.QUANTITIES.items()}
        for _ in range(_TRIES):
            live = self._records[rows]
            moved = np.flatnonzero(
                (live["pending"] != records["pending"])
                | (live["cwnd_spread"]["total"] != records["cwnd_spread"]["total"])
            )
            if not moved.size:
                break
            records[moved] = live[moved]
            for name, array in decode.QUANTITIES.items():
                sets[name][moved] = self._sets[array][name][numbers[moved]]
        return records, sets

    def _fill(
        self, name: str, active: Array, grown: Array, above: Array, total: Array, scale: tuple[float, ...],
        columns: dict[str, Array], counted: Array,
    ) -> None:  # fmt: skip
        count = grown.sum(axis=1) + above
        edges = np.array(scale)
        filled = grown > 0
        some = count > 0
        lowest = edges[np.argmax(filled, axis=1)]
        highest = np.where(above > 0, edges[-1], edges[grown.shape[1] - np.argmax(filled[:, ::-1], axis=1)] - 1)
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=some)
        mean = np.clip(mean, lowest, np.maximum(highest, lowest))
        if name == "rtt":
            counted[active] = count
            columns["rtt_mean_us"][active] = mean
            columns["rtt_min_us"][active] = np.where(some, lowest, np.nan)
            columns["rtt_max_us"][active] = np.where(some, highest, np.nan)
            self._percentiles(active, grown, count, edges, columns)
        elif name == "cwnd":
            columns["cwnd_min_segs"][active] = np.where(some, lowest, np.nan)
            columns["cwnd_max_segs"][active] = np.where(some, highest, np.nan)
        elif name == "inflight":
            columns["inflight_mean_segs"][active] = mean
            columns["inflight_max_segs"][active] = np.where(some, highest, np.nan)

    def _percentiles(self, active: Array, grown: Array, count: Array, edges: Array, columns: dict[str, Array]) -> None:
        """Give those with the most samples their percentiles: each takes a pass over its buckets."""
        chosen = np.flatnonzero(count)
        self.left_out = max(len(chosen) - self.most, 0)
        if self.left_out:
            chosen = chosen[np.argpartition(count[chosen], -self.most)[-self.most :]]
        self.ranked = len(chosen)
        if not chosen.size:
            return
        reached = np.cumsum(grown[chosen], axis=1)
        for stat, share in _SHARES.items():
            bucket = np.argmax(reached >= np.ceil(share * count[chosen])[:, None], axis=1)
            middle = (edges[bucket] + edges[bucket + 1] - 1) / 2
            columns[f"rtt_{stat}_us"][active[chosen]] = middle

    def _without_set(
        self, rows: Array, own: Array, active: Array, columns: dict[str, Array], counted: Array
    ) -> None:  # fmt: skip
        """Give means, where the kernel had no room for histograms: of these samples sums alone are kept."""
        if not active.size:
            return
        lost = own["lost_samples"][active].astype(np.int64)
        total = own["rtt_spread"]["total"][active].astype(np.int64)
        # Those that waited before have been told.
        told = np.arange(self._waited.shape[1]) < self._seen[rows[active]][:, None]
        waited = self._waited["rtt"][rows[active]].astype(np.int64)
        self._losts[rows[active]] += self._seen[rows[active]]
        self._sums["rtt"][rows[active]] += np.where(told & (waited != decode.NO_VALUE), waited, 0).sum(axis=1)
        self._seen[rows[active]] = 0
        more = lost - self._losts[rows[active]]
        self._losts[rows[active]] = lost
        grown, self._sums["rtt"][rows[active]] = total - self._sums["rtt"][rows[active]], total
        counted[active] = np.maximum(more, 0)
        columns["rtt_mean_us"][active] = np.divide(grown, more, out=np.full(len(more), np.nan), where=more > 0)

    def forget(self, rows: Array, numbers: Array) -> None:
        """Empty the sets of these records, which are used again; `numbers` count from 1, 0: none."""
        for name in decode.QUANTITIES:
            self._sums[name][rows] = self._aboves[name][rows] = 0
        self._losts[rows] = self._seen[rows] = 0
        known = numbers[(numbers > 0) & (numbers <= len(self._sets))].astype(np.int64) - 1
        self._sets[known] = 0
        for before in self._before.values():
            before[known] = 0


def _columns() -> tuple[str, ...]:
    return (
        "rtt_mean_us", "rtt_min_us", "rtt_max_us", *(f"rtt_{stat}_us" for stat in _SHARES), "cwnd_min_segs",
        "cwnd_max_segs", "inflight_mean_segs", "inflight_max_segs",
    )  # fmt: skip


def _fill_few(name: str, active: Array, values: Array, columns: dict[str, Array], counted: Array) -> None:
    """Fill columns from rows of values (NaN: none), each of which has one at least."""
    if name == "rtt":
        counted[active] = (~np.isnan(values)).sum(axis=1)
        columns["rtt_mean_us"][active] = np.nanmean(values, axis=1)
        columns["rtt_min_us"][active], columns["rtt_max_us"][active] = np.nanmin(values, 1), np.nanmax(values, 1)
        ordered = np.sort(values, axis=1)
        for stat, share in _SHARES.items():
            rank = np.ceil(share * counted[active]).astype(np.int64) - 1
            columns[f"rtt_{stat}_us"][active] = ordered[np.arange(len(ordered)), rank]
    elif name == "cwnd":
        columns["cwnd_min_segs"][active], columns["cwnd_max_segs"][active] = np.nanmin(values, 1), np.nanmax(values, 1)
    elif name == "inflight":
        columns["inflight_mean_segs"][active] = np.nanmean(values, axis=1)
        columns["inflight_max_segs"][active] = np.nanmax(values, axis=1)


def added(one: Histogram, other: Histogram) -> Histogram:
    """Return the sum of two histograms of one scale."""
    if not one.count or not other.count:
        return other if not one.count else one
    return Histogram(
        unit=one.unit, edges=one.edges,
        counts=tuple(map(int.__add__, one.counts, other.counts)), above=one.above + other.above,
        minimum=min(one.minimum, other.minimum), maximum=max(one.maximum, other.maximum),
        total=one.total + other.total,
    )  # fmt: skip


def _with_pending(name: str, records: Array, counts: Array) -> tuple[Array, Array]:
    """Return counts with the samples that wait, and those samples' sum."""
    now = counts.astype(np.uint32)
    sums = np.zeros(len(records), np.int64)
    places = records.dtype["samples"].shape[0]
    rows, place = np.nonzero(np.arange(places) < records["pending"][:, None])
    values = records["samples"][rows, place][name]
    given = values != decode.NO_VALUE
    rows, values = rows[given], values[given]
    np.add.at(sums, rows, values.astype(np.int64))
    buckets = histogram.buckets_of(values)
    within = buckets < now.shape[1]
    np.add.at(now, (rows[within], buckets[within]), 1)
    return now, sums


def _merged(unit: str, scale: tuple[float, ...], grown: Array, above: Array, total: Array) -> Histogram:
    counts = grown.sum(axis=0)
    beyond = int(above.sum())
    filled = np.flatnonzero(counts)
    if not filled.size and not beyond:
        return histogram.empty(unit, scale)
    low = scale[int(filled[0])] if filled.size else scale[-1]
    high = scale[-1] if beyond else scale[int(filled[-1]) + 1]
    return Histogram(
        unit=unit, edges=scale, counts=tuple(counts.tolist()), above=beyond, minimum=low, maximum=high,
        total=float(max(int(total.sum()), 0)),
    )  # fmt: skip
