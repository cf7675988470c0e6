"""One interval of a live machine, whether it is read from the kernel now or from a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from perfcheck.model.event import Event
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.flow_table import FlowTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """What became of all that happened in an interval, and what watching it cost; counts are the interval's.

    `opened` and `ended` are connections that were first and last seen. `refused` had no room among the records: `lost`
    are other events that were not counted. `shed` says what is left out to keep to the ceiling, since the begin.
    `cpu_pct` is the share of one CPU that perfctl used, its BPF programs (`bpf_pct`) included.
    """

    opened: int = 0
    ended: int = 0
    refused: int = 0
    lost: int = 0
    cpu_pct: float = 0.0
    bpf_pct: float = 0.0
    shed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interval:
    """What was seen from `begin_ns` to `end_ns` (CLOCK_MONOTONIC; `epoch_ns` is what it lacks to the time of day).

    `flows` are the connections that pass the filters: those that are open, and those that ended in the interval.
    `metrics` are catalogue metrics of the machine as a whole, by name; `hosts` of each namespace, where there are
    several; `interfaces` by namespace and interface. `histograms` are of all `flows` together: `tcp.rtt_us`,
    `tcp.srtt_us` (us), `tcp.cwnd_segs`, `tcp.inflight_segs` (segs), and others of the layers by catalogue name. With
    `LiveRequest.send_side` there are `tcp.send_srtt_us`, `tcp.send_cwnd_segs`, `tcp.send_inflight_segs`, too.
    `events` are in the order of time. `lacks` says what cannot be had here, and why, by what it is.
    """

    number: int
    begin_ns: int
    end_ns: int
    epoch_ns: int
    flows: FlowTable
    metrics: Mapping[str, float] = field(default_factory=dict)
    hosts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    interfaces: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    accounting: Accounting = Accounting()
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The interval's length."""
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequest:
    """What is to be watched.

    `netns` are network namespaces by name (empty: the machine's own). `layers` are layers' names, or "all". `mode` is
    `summary`, `detail` or `both`. `duration_ns` None: until it is interrupted. `max_flows` bounds the records.
    `cpu_ceiling_pct` is the share of one CPU that may be used. `send_side`: connections are also sampled when their
    segments leave, which costs a program at each of them.
    """

    filter: FlowFilter = field(default_factory=FlowFilter)
    netns: tuple[str, ...] = ()
    layers: tuple[str, ...] | str = ("tcp",)
    mode: str = "summary"
    interval_ns: int = 1_000_000_000
    duration_ns: int | None = None
    events: bool = False
    max_flows: int = 16384
    cpu_ceiling_pct: float = 1.0
    send_side: bool = False


class Intervals(Protocol):
    """Where intervals come from: a live machine, or a recording. Iterating ends with the duration or the recording."""

    def __iter__(self) -> Iterator[Interval]:
        """Yield one interval after the other, each as soon as it is over."""


OpenIntervals = AbstractContextManager[Intervals]
