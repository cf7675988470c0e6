"""What measuring may cost in a scenario, and what stays open in a record after something was shed; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from perfcheck.model.budget import Budget
from perfcheck.model.catalogue import CATALOGUE, Catalogue
from perfcheck.model.record import MetricRecord, RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner.left_open import Line, left_open

SUMMARY_PCT: Final = 1.0
DETAIL_PCT: Final = 25.0
ALWAYS: Final = "always"
AT_REST: Final = "at rest"
STOPPED: Final = "stopped"
"""Key of a record's `overhead`: why collectors were stopped, by their names."""
HOW_TO_ALLOW: Final = "measure: {budget: 5%} or --budget 5% raises its budget"


def core_budget(scenario: Scenario) -> Budget:
    """Return what the whole core may take of one CPU: what was asked for always holds, the default only at rest.

    Traffic's own packets are what is measured: how many there are nobody knows beforehand, and a run on a fast
    machine must not lack figures for that.
    """
    chosen = scenario.measure.budget_pct
    if chosen is not None:
        return Budget(cpu_pct=chosen, always=True)
    return Budget(cpu_pct=SUMMARY_PCT if scenario.measure.mode == "summary" else DETAIL_PCT)


def detail_budget_pct(scenario: Scenario) -> float:
    """Return the share of one CPU that detail mode alone may take, whatever the traffic."""
    chosen = scenario.measure.budget_pct
    return DETAIL_PCT if chosen is None else chosen


def without_stopped(
    metrics: Mapping[str, MetricRecord],
    trials: Iterable[TrialRecord],
    stopped: Iterable[str],
    known: Catalogue = CATALOGUE,
) -> dict[str, MetricRecord]:
    """Leave out the metrics of stopped collectors that some of the trials that count lack.

    The median of those that have them would pass for that of all; each trial keeps its own values.
    """
    count, sources = sum(trial.valid for trial in trials), set(stopped)
    return {
        name: metric
        for name, metric in metrics.items()
        if sources.isdisjoint(known[name].needs) or len(metric.per_trial) >= count
    }


def why_shed(record: RunRecord, metric: str) -> str | None:
    """Say why a metric has no value in the record where its collector was stopped."""
    stopped = record.overhead.get(STOPPED, {})
    if metric in record.figures or metric not in CATALOGUE:
        return None
    return next((stopped[needed] for needed in CATALOGUE[metric].needs if needed in stopped), None)


def shed_left_open(record: RunRecord, lines: Iterable[Line]) -> tuple[Line, ...]:
    """Leave open what has no value because its collector was stopped."""
    return left_open(lines, lambda metric, verdict: why_shed(record, metric) if verdict is Verdict.INVALID else None)
