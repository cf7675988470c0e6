"""What is drawn of a run's time series, in the terminal and on pages alike: which metrics, phases and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import MetricSpec
from perfcheck.model.record import RunRecord

TELLING: Final = (
    "app.throughput_bps", "app.requests_per_s", "app.latency_us.p50", "app.latency_us.p99", "app.connections_per_s",
    "app.first_byte_us.p99", "tcp.rtt_us.p50", "tcp.rtt_us.p99", "tcp.cwnd_segs", "tcp.retrans_segs",
    "qdisc.link_queue_bytes", "cpu.busy_pct",
)  # fmt: skip
"""What is drawn where nothing is asked for, as far as the file has it."""
COUNTED: Final = (
    ("tcp.retrans_rto_segs", "RTO"), ("qdisc.link_losses", "lost"), ("qdisc.link_drops", "drops"),
    ("qdisc.drops", "drops"),
)  # fmt: skip
"""Counts that are marked where they are not 0."""
_OF_INTERVALS: Final[Mapping[str, str]] = MappingProxyType({
    "app.throughput_bps": "rate at which data arrived at the receiver",
    "app.requests_per_s": "requests that were answered",
    "app.latency_us": "time from a request to its answer",
    "app.connections_per_s": "connections that were established",
    "app.connect_us": "time until a connection was established",
    "app.first_byte_us": "time from the begin of a connection to its first byte",
    "tcp.rtt_us": "round trip of the segments that were acknowledged",
    "tcp.cwnd_segs": "congestion window",
    "tcp.retrans_segs": "segments retransmitted",
    "qdisc.link_queue_bytes": "what waits in the queue of the emulated link",
    "cpu.busy_pct": "CPU time of the host's processes, where 100 % is one CPU",
})  # fmt: skip
"""What the telling metrics are of each interval; the catalogue says what they are of a whole run."""
_STATS: Final = {"p50": "median", "p90": "90th percentile", "p99": "99th percentile"}
WHOLE: Final = "(all)"
"""Stands for the whole machine, of which a curve has no subject."""


def subject_name(subject: str | None) -> str:
    """Return what a curve's subject is called."""
    return subject or WHOLE


def phase_begins(record: RunRecord, trial: int) -> tuple[tuple[str, int], ...]:
    """Return each phase's begin in the trial, in ns; that of the scenario where the trial does not say it."""
    found = next((one.phases for one in record.trials if one.index == trial), {})
    begins = ((name, found[name].begin_ns if name in found else None) for name in record.phases)
    return tuple((name, record.phases[name].begin_ns if begin_ns is None else begin_ns) for name, begin_ns in begins)


def trial_began_ns(record: RunRecord, trial: int) -> int | None:
    """Return when a trial's traffic began (CLOCK_MONOTONIC); None where the record does not say it."""
    return next((one.began_ns for one in record.trials if one.index == trial), None)


def unit_of(metric: str) -> str:
    """Return the unit of a series' metric, also of one that the catalogue has with a stat only."""
    spec = spec_of(metric)
    if spec is not None:
        return spec.unit
    return next((unit for unit in ("bytes", "pct", "us", "bps") if f"_{unit}" in metric), "count")


def meaning_of(metric: str) -> str:
    """Return what a metric of series is: `round trip of the segments that were acknowledged, median`."""
    stem, _, stat = metric.rpartition(".")
    if stat in _STATS and stem in _OF_INTERVALS:
        return f"{_OF_INTERVALS[stem]}, {_STATS[stat]}"
    spec = spec_of(metric)
    known = _OF_INTERVALS.get(metric)
    return known or (spec.meaning if spec is not None else "the application's own figure")


def spec_of(metric: str) -> MetricSpec | None:
    """Return the declaration of a series' metric: its own, else that of one of its stats."""
    return CATALOGUE.get(metric) or next(
        (CATALOGUE[name] for name in CATALOGUE if name.startswith(f"{metric}.")), None
    )  # fmt: skip


def file_there(written: Path, folder: Path) -> Path | None:
    """Return a file that a record names: where it was written, or beside the record."""
    return next((path for path in (written, folder / written.name) if path.is_file()), None)
