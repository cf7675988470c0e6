"""Turns trials into the metrics of a run. The sample is the trial, not its packets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from perfcheck.model.catalogue import CATALOGUE, Catalogue
from perfcheck.model.record import MetricRecord, TrialRecord


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
