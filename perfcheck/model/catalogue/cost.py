"""Metrics of the cost of a path through the kernel: instructions, counted in a guest of the kernel lab."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from perfcheck.model.metric import DecidedBy, Direction, Layer, MetricSpec, Phased
from perfcheck.model.subject import SubjectKind

GUEST: Final = "guest"
"""What these metrics need, as MetricSpec.needs names it."""
MARGIN_PCT: Final = 0.2
"""An unchanged kernel moves by up to 0.1 % from boot to boot, whatever its command line (docs/kernels.md)."""

PER: Final[Mapping[str, str]] = MappingProxyType({
    "byte": "byte of a stream", "segment": "TCP segment of a stream, or datagram", "request": "request and its answer",
    "connection": "connection, with its request and answer",
})  # fmt: skip

COST: Final[tuple[MetricSpec, ...]] = tuple(
    MetricSpec(
        name=f"cpu.insns_per_{unit}", unit="insns", layer=Layer.CPU, direction=Direction.LOWER,
        decided_by=DecidedBy.INSTRUCTIONS, meaning=f"instructions of the guest's CPU for each {word}",
        computed="user space, kernel, softirqs and interrupts of all hosts together, idle time left out, from the "
        "first byte to the last one: what starts and ends a program does not count",
        source_text="/proc/schedstat of a guest whose time is counted in instructions (QEMU, -icount shift=2)",
        needs=(GUEST,), margin_pct=MARGIN_PCT, compared=unit != "segment", subjects=(SubjectKind.TRAFFIC,),
        phased=Phased.NEVER,
    )
    for unit, word in PER.items()
)  # fmt: skip


def is_cost(metric: str) -> bool:
    """Whether a metric is one of the above; whole keys with a subject are read before."""
    return any(spec.name == metric for spec in COST)
