"""What a whole run of a live command saw: sums over its intervals, of a size that does not grow with them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from perfcheck.analyse.histogram import merge
from perfcheck.live.figures import again_pct
from perfcheck.model.flow import Histogram
from perfcheck.model.interval import Interval


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums since the begin; `rtt_us` is None where no sample was seen, or where the buckets changed on the way."""

    intervals: int = 0
    begin_ns: int = 0
    end_ns: int = 0
    opened: int = 0
    ended: int = 0
    most_connections: int = 0
    bytes_acked: int = 0
    bytes_received: int = 0
    retrans_segs: int = 0
    data_segs_out: int = 0
    refused: int = 0
    lost: int = 0
    cpu_ns: float = 0.0
    shed: tuple[str, ...] = ()
    rtt_us: Histogram | None = None
    _rtt_is_whole: bool = field(default=True)

    def add(self, interval: Interval) -> None:
        """Add an interval."""
        flows, told = interval.flows, interval.accounting
        if not self.intervals:
            self.begin_ns = interval.begin_ns
        self.end_ns = interval.end_ns
        self.intervals += 1
        self.opened += told.opened
        self.ended += told.ended
        self.refused += told.refused
        self.lost += told.lost
        self.cpu_ns += told.cpu_pct / 100 * (interval.end_ns - interval.begin_ns)
        self.shed = told.shed or self.shed
        self.most_connections = max(self.most_connections, len(flows))
        for name in ("bytes_acked", "bytes_received", "retrans_segs", "data_segs_out"):
            setattr(self, name, getattr(self, name) + int(flows[name].sum()))
        self._add_rtt(interval.histograms.get("tcp.rtt_us"))

    @property
    def seconds(self) -> float:
        """How long the intervals were, from the first to the last."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def cpu_pct(self) -> float:
        """Share of one CPU that watching took."""
        return 100 * self.cpu_ns / (self.end_ns - self.begin_ns) if self.end_ns > self.begin_ns else 0.0

    @property
    def retrans_pct(self) -> float:
        """Share of the segments with data that were sent again; NaN where there were none."""
        return again_pct(self.retrans_segs, self.data_segs_out)

    def _add_rtt(self, found: Histogram | None) -> None:
        if found is None or not self._rtt_is_whole:
            return
        with suppress(ValueError):
            self.rtt_us = merge([found] if self.rtt_us is None else [self.rtt_us, found])
            return
        self.rtt_us, self._rtt_is_whole = None, False
