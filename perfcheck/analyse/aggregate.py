"""Turns trials into the metrics of a run. The sample is the trial, not its packets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from perfcheck.model.catalogue import CATALOGUE, Catalogue
from perfcheck.model.metric import Metrics
from perfcheck.model.record import RECOVERY, MetricRecord, TrialRecord


def aggregate_subjects(
    trials: Sequence[TrialRecord], catalogue: Catalogue = CATALOGUE
) -> dict[str, dict[str, MetricRecord]]:  # fmt: skip
    """Return each subject's metrics as `aggregate` does; subjects in the order in which trials have them."""
    valid = [trial for trial in trials if trial.valid]
    names = dict.fromkeys(name for trial in valid for name in trial.subjects)
    return {
        name: aggregate(
            [trial.model_copy(update={"metrics": trial.subjects.get(name, {})}) for trial in valid], catalogue
        )
        for name in names
    }


def phase_trials(trials: Sequence[TrialRecord], phase: str) -> list[TrialRecord]:
    """Return the trials that count as if the phase had been all of them.

    Where one entry did not recover in one of them its time in the others would pass for that of all: it is left out.
    """
    parts = [(trial, trial.phases[phase]) for trial in trials if trial.valid and phase in trial.phases]
    stuck = {name for _, part in parts for name in part.unrecovered}
    some = any(RECOVERY not in part.metrics for _, part in parts)
    return [
        trial.model_copy(update={
            "phases": {},
            "metrics": _without_recovery(part.metrics) if some else part.metrics,
            "subjects": {
                name: _without_recovery(metrics) if name in stuck else metrics
                for name, metrics in part.subjects.items()
            },
        })
        for trial, part in parts
    ]  # fmt: skip


def _without_recovery(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if name != RECOVERY}


def aggregate(trials: Sequence[TrialRecord], catalogue: Catalogue = CATALOGUE) -> dict[str, MetricRecord]:
    """Return each metric's median over the valid trials that have it, in the catalogue's order.

    Values that are no finite number are left out. A metric that the catalogue does not declare is
    a mistake of the program that made it: ValueError.
    """
    valid = [trial for trial in trials if trial.valid]
    unknown = {name for trial in valid for name in trial.metrics} - catalogue.keys()
    if unknown:
        raise ValueError(f"not in the metric catalogue: {', '.join(sorted(unknown))}")
    found: dict[str, MetricRecord] = {}
    for name, spec in catalogue.items():
        values = tuple(trial.metrics[name] for trial in valid if math.isfinite(trial.metrics.get(name, math.nan)))
        if values:
            found[name] = MetricRecord(
                value=float(median(values)), unit=spec.unit, per_trial=values, host_wide=spec.host_wide
            )
    return found
