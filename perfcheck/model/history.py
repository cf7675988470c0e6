"""A metric's history: one value for each run, in the order of time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of one scenario (one matrix point) on one machine; only like values are in one series.

    `values` hold each run's median over its valid trials; `run_ids` and `started_at` go with them,
    oldest first. `machine` is the digest of the fields that make machines alike. `better` says which way an
    application's own metric gets better, as its last run did; it is empty for metrics of the catalogue.
    """

    metric: str
    unit: str
    scenario: str
    point: str
    workload: str
    machine: str
    emulators: str
    run_ids: tuple[str, ...]
    started_at: tuple[str, ...]
    values: tuple[float, ...]
    better: str = ""
