"""Time series of a trial: what was sampled at each interval, and the curves made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.flow import FlowKey

STATES: Final = 5
"""How many congestion states there are."""

FLOW: Final = np.dtype(
    [("tick", "u4"), ("flow", "u4")]
    + [(name, "u8") for name in ("until_ns", "window_ns", "bytes_acked", "bytes_received", "pacing_total", "sndbuf_ns")]
    + [("state_ns", "u8", (STATES,))]
    + [
        (name, "u4")
        for name in (
            "data_segs_out", "retrans_segs", "lost_segs", "retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs",
            "retrans_syn_segs", "busy_jiffies", "rwnd_limited_jiffies", "pacing_samples", "cwnd_segs", "ssthresh_segs",
            "srtt_us", "inflight_segs", "fresh",
        )
    ]
)  # fmt: skip
"""One connection's end at one tick: what it counted since its birth, and its state. `fresh`: it was born in the trial.

`srtt_us` and `inflight_segs` are those of the latest segment that was received; 0 where there was none.
"""
COUNT: Final = np.dtype([("tick", "u4"), ("group", "u4"), ("bucket", "u2"), ("count", "u4")])
"""How many values went into one bucket of a group's histogram in the interval that ends with the tick."""
VALUE: Final = np.dtype([("tick", "u4"), ("curve", "u4"), ("value", "f8")])
"""The value of a curve, of the interval that ends with the tick or at its end."""

Rows = npt.NDArray[Any]
Blocks = Callable[[], Iterator[Rows]]
"""Gives all rows from the first on, in blocks, in the order of their ticks; can be called again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Part of the course of a metric of a subject; of the whole run, or the machine, where the subject is None."""

    subject: str | None
    metric: str
    t_ns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSamples:
    """What was sampled of connections: FLOW rows, and COUNT rows of their round trips, by the flow's number."""

    keys: Mapping[int, FlowKey]
    rows: Blocks
    rtts: Blocks
    edges_us: tuple[float, ...]
    jiffy_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSamples:
    """VALUE rows of curves, and COUNT rows of distributions, each by (subject, metric) as these are numbered.

    A distribution's metric has no stat; its buckets are bounded by `edges`.
    """

    curves: tuple[tuple[str | None, str], ...] = ()
    values: Blocks = lambda: iter(())
    distributions: tuple[tuple[str | None, str], ...] = ()
    counts: Blocks = lambda: iter(())
    edges: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLooks:
    """Memory in use of one connection's end, in per cent of its buffers, at moments of their own."""

    key: FlowKey
    t_ns: npt.NDArray[np.int64]
    snd_use_pct: npt.NDArray[np.float64]
    rcv_use_pct: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All that was sampled in one trial; `ticks_ns` are the moments, on CLOCK_MONOTONIC, in ascending order.

    `began_ns` is when sampling began: the first interval is from there to the first tick.
    """

    began_ns: int
    ticks_ns: npt.NDArray[np.int64]
    flows: tuple[FlowSamples, ...] = ()
    named: tuple[NamedSamples, ...] = ()
    buffers: tuple[BufferLooks, ...] = ()
    warnings: tuple[str, ...] = ()
    cpu_s: float = 0.0
