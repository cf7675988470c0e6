"""Finds the metrics of a collector that this kernel lacks, or has by another hook than the catalogue names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol, runtime_checkable

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import MetricSpec
from perfcheck.system.checks import Check

NEWER: Final = "use a newer kernel"


@runtime_checkable
class InParts(Protocol):
    """A collector that knows of such metrics."""

    def parts(self) -> tuple[Check, ...]:
        """Return them by name, with or without the stat; valid while open."""


def lacking(collector: str, hooks: Collection[str], fix: str = NEWER) -> tuple[Check, ...]:
    """Name the collector's metrics that rest on tracepoints which this kernel does not have."""
    return tuple(
        Check(name=spec.name, ok=False, why=f"this kernel has no tracepoint {hook}", fix=fix)
        for hook in hooks
        for spec in _metrics_of(collector)
        if hook in spec.hooks
    )


def by_another(collector: str, hooks: Mapping[str, str]) -> tuple[Check, ...]:
    """Name the collector's metrics that are measured by another hook instead of a tracepoint, `{tracepoint: hook}`."""
    return tuple(
        Check(name=spec.name, ok=True, hook=spec.source_by(hooks))
        for spec in _metrics_of(collector)
        if not hooks.keys().isdisjoint(spec.hooks)
    )


def _metrics_of(collector: str) -> list[MetricSpec]:
    return [spec for spec in CATALOGUE.values() if collector in spec.needs]
