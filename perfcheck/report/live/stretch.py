"""What some neighbouring intervals of a watch saw together: sums, extremes and distributions, but no single flow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

import numpy as np

from perfcheck.analyse.histogram import merge
from perfcheck.live.bottleneck import IDLE, bottlenecks
from perfcheck.live.figures import again_pct
from perfcheck.live.observation import Figures
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval

RTT: Final = "tcp.rtt_us"
GAUGES: Final = ("tcp.cwnd_segs.p50", "tcp.inflight_segs.p50", "cpu.busy_pct", "qdisc.depth_packets.max")
"""Metrics of the machine whose course is kept beside the rates."""
SENT: Final = "send_bps"
RECEIVED: Final = "receive_bps"
AGAIN_PCT: Final = "retrans_pct"
_FLOW_COUNTS: Final = ("bytes_acked", "bytes_received", "data_segs_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A figure over some time: its integral over the seconds in which it was known, its smallest and largest value."""

    seconds: float
    integral: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Return the mean over time."""
        return self.integral / self.seconds if self.seconds else self.high

    def joined(self, other: Extent) -> Extent:
        """Return both together."""
        return Extent(
            seconds=self.seconds + other.seconds, integral=self.integral + other.integral,
            low=min(self.low, other.low), high=max(self.high, other.high),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring intervals; `seconds` is their length without gaps, `begin_ns` and `end_ns` on CLOCK_MONOTONIC.

    `counts` add up. `drops` are by metric. `limits` are connection-seconds by bottleneck, of connections that are not
    idle. `rtt_left_out` counts samples of RTT whose buckets are not those of `rtt`. `cpu_s` is what watching took.
    """

    begin_ns: int
    end_ns: int
    seconds: float
    intervals: int
    most_connections: int
    cpu_s: float
    counts: Mapping[str, int]
    drops: Mapping[str, int]
    limits: Mapping[str, float]
    gauges: Mapping[str, Extent]
    rtt: Histogram | None = None
    rtt_left_out: int = 0
    lacks: Mapping[str, str] = field(default_factory=dict)
    shed: tuple[str, ...] = ()

    @classmethod
    def of(cls, interval: Interval, figures: Figures) -> Stretch:
        """Return one interval."""
        told, seconds = interval.accounting, interval.seconds
        counts = {name: int(interval.flows[name].sum()) for name in _FLOW_COUNTS} | {
            "retransmitted": figures.retransmitted, "opened": told.opened, "ended": told.ended,
            "refused": told.refused, "lost": told.lost, "resets": int((interval.flows["resets"] > 0).sum()),
            **{f"again_{kind}": number for kind, number in figures.by_kind.items()},
        }  # fmt: skip
        rtt = interval.histograms.get(RTT)
        return cls(
            begin_ns=interval.begin_ns, end_ns=interval.end_ns, seconds=seconds, intervals=1,
            most_connections=len(interval.flows), cpu_s=told.cpu_pct / 100 * seconds, counts=counts,
            drops={name: round(number) for name, number in figures.drops.items() if math.isfinite(number)},
            limits=limits_of(interval.flows, seconds), gauges=_gauges(interval, figures),
            rtt=rtt if rtt is not None and rtt.count else None, lacks=interval.lacks, shed=told.shed,
        )  # fmt: skip

    @property
    def moved(self) -> int:
        """How many bytes of payload were moved, both ways."""
        return self.counts["bytes_acked"] + self.counts["bytes_received"]

    @property
    def again_pct(self) -> float:
        """Return the share of data segments that were sent again; NaN where none was sent."""
        return again_pct(self.counts["retransmitted"], self.counts["data_segs_out"])


def joined(before: Stretch, after: Stretch) -> Stretch:
    """Return two stretches as one; what is counted adds up."""
    rtt, left_out = _both_rtts(before, after)
    return Stretch(
        begin_ns=before.begin_ns, end_ns=after.end_ns, seconds=before.seconds + after.seconds,
        intervals=before.intervals + after.intervals, cpu_s=before.cpu_s + after.cpu_s,
        most_connections=max(before.most_connections, after.most_connections),
        counts=_added(before.counts, after.counts), drops=_added(before.drops, after.drops),
        limits={
            name: before.limits.get(name, 0.0) + after.limits.get(name, 0.0)
            for name in dict.fromkeys([*before.limits, *after.limits])
        },
        gauges=_joined_gauges(before.gauges, after.gauges), rtt=rtt, rtt_left_out=left_out,
        lacks={**before.lacks, **after.lacks}, shed=after.shed or before.shed,
    )  # fmt: skip


def whole_of(stretches: Iterable[Stretch]) -> Stretch:
    """Return all stretches as one; TypeError for none."""
    return reduce(joined, stretches)


def limits_of(flows: FlowTable, seconds: float) -> dict[str, float]:
    """Return for each bottleneck how many connections had it, times the seconds; idle ones have none."""
    names, counts = np.unique(bottlenecks(flows).names, return_counts=True)
    found = zip(names.tolist(), counts.tolist(), strict=True)
    return {name: number * seconds for name, number in found if name != IDLE}


def _gauges(interval: Interval, figures: Figures) -> dict[str, Extent]:
    values = {
        SENT: figures.send_bps, RECEIVED: figures.receive_bps, AGAIN_PCT: figures.retrans_pct,
        **{name: interval.metrics[name] for name in GAUGES if name in interval.metrics},
    }  # fmt: skip
    seconds = interval.seconds
    return {
        name: Extent(seconds=seconds, integral=value * seconds, low=value, high=value)
        for name, value in values.items()
        if math.isfinite(value)
    }


def _joined_gauges(before: Mapping[str, Extent], after: Mapping[str, Extent]) -> dict[str, Extent]:
    both = {name: one.joined(after[name]) for name, one in before.items() if name in after}
    return {**after, **before, **both}


def _added(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + after.get(name, 0) for name in dict.fromkeys([*before, *after])}


def _both_rtts(before: Stretch, after: Stretch) -> tuple[Histogram | None, int]:
    left_out = before.rtt_left_out + after.rtt_left_out
    try:
        return merge(one for one in (before.rtt, after.rtt) if one is not None), left_out
    except ValueError:
        # A recording may hold buckets of its own; those of the first stretch stay.
        assert after.rtt is not None  # noqa: S101 - two differ
        return before.rtt, left_out + after.rtt.count
