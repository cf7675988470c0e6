"""Which metrics a load of each kind has: of those that generators report, and of the cost of a kernel's path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

_OF_KIND: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "stream": ("app.throughput_bps", "app.recovery_ms", "cpu.insns_per_byte", "cpu.insns_per_segment"),
    "requests": ("app.requests_per_s", "app.latency_us", "app.recovery_ms", "cpu.insns_per_request"),
    "connections": ("app.connections_per_s", "app.connect_us", "app.first_byte_us", "cpu.insns_per_connection"),
    "datagrams": (
        "app.throughput_bps", "app.recovery_ms", "udp.datagrams", "udp.throughput_bps", "cpu.insns_per_segment",
    ),
})  # fmt: skip
_OF_ALL: Final = ("app.duration_us",)


def kinds_with(metric: str) -> tuple[str, ...]:
    """Return the kinds of load that have a metric, by its name without subject and phase."""
    return tuple(
        kind for kind, names in _OF_KIND.items()
        if any(metric == name or metric.startswith(f"{name}.") for name in (*names, *_OF_ALL))
    )  # fmt: skip


def any_has(kinds: Iterable[str], metric: str) -> bool:
    """Whether a load of one of these kinds has the metric."""
    return bool(set(kinds) & set(kinds_with(metric)))
