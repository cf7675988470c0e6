"""The metrics that a scenario or a record can have: perfcheck's, and those that its commands report of themselves."""

from __future__ import annotations

from perfcheck.model.catalogue import Catalogue
from perfcheck.model.own_metric import OwnMetricRecord, recorded, with_own
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario


def catalogue_of(source: Scenario | RunRecord) -> Catalogue:
    """Return the catalogue of a scenario, or of a record alone, whose scenario's file may be gone."""
    return with_own(own_metrics(source) if isinstance(source, Scenario) else source.scenario.own_metrics)


def own_metrics(scenario: Scenario) -> dict[str, OwnMetricRecord]:
    """Return what the scenario's commands report of themselves; where several report the same, they agree on it."""
    found: dict[str, OwnMetricRecord] = {}
    for entry in scenario.traffic:
        report = entry.command.report if entry.command is not None else None
        for name, metric in report.metrics.items() if report is not None else ():
            found.setdefault(name, recorded(name, metric))
    return found
