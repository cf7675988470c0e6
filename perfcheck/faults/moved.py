"""Whether a fault moved what matters: a run beside the runs of its healthy twin; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Direction, MetricSpec
from perfcheck.model.units import plain_number

MATTERS: Final = (
    "app.throughput_bps", "app.achieved_pct", "app.requests_per_s", "app.latency_us.p50", "app.latency_us.p99",
    "app.connect_us.p50", "app.connect_us.p99", "app.first_byte_us.p99", "app.errors", "app.timeouts", "app.resets",
    "udp.loss_pct", "udp.jitter_us", "tcp.retrans_pct", "tcp.rtt_us.p50", "tcp.rtt_us.p99", "tcp.handshake_us.max",
)  # fmt: skip
"""Throughput, latency, loss, errors and connect time, as the user of a path feels them."""
FLOORS: Final[Mapping[str, float]] = {
    "app.latency_us.p99": 1000.0, "app.connect_us.p99": 1000.0, "app.first_byte_us.p99": 1000.0, "udp.jitter_us": 300.0,
    "tcp.rtt_us.p99": 1000.0, "tcp.handshake_us.max": 2000.0,
}  # fmt: skip
"""Least difference, in the metric's unit, where the catalogue's is less: tails of single runs differ by as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A metric that a fault made worse than each run of its twin, beyond the metric's margin."""

    metric: str
    healthy: float
    fault: float

    def __str__(self) -> str:
        """Return metric, value of the nearest twin's run, and the fault's."""
        return f"{self.metric} {plain_number(self.healthy)} -> {plain_number(self.fault)}"


def moved_by(fault: Mapping[str, float], twins: Sequence[Mapping[str, float]]) -> tuple[Moved, ...]:
    """Return the metrics that matter and are worse than in every run of the twin, by more than the margin.

    The margin is the catalogue's; a metric that is missing on either side did not move, one that only the fault has
    counts from 0 where it counts errors.
    """
    found = []
    for name in MATTERS:
        spec = CATALOGUE[name]
        value = fault.get(name)
        before = [twin[name] for twin in twins if name in twin]
        if value is None or not before:
            continue
        nearest = max(before) if spec.direction is Direction.LOWER else min(before)
        if _worse(spec, value, nearest):
            found.append(Moved(metric=name, healthy=nearest, fault=value))
    return tuple(found)


def _worse(spec: MetricSpec, value: float, before: float) -> bool:
    change = value - before if spec.direction is Direction.LOWER else before - value
    return change > max(spec.margin_pct / 100 * abs(before), spec.floor, FLOORS.get(spec.name, 0.0))
