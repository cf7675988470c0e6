"""Runs combinations of the fault matrix: a fault beside its healthy twin, and what the diagnosis made of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.errors import CouldNotMeasure
from perfcheck.faults import Combination, Moved, moved_by
from perfcheck.faults.building import LOAD
from perfcheck.model.record import DiagnosisRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner.session import Runner

MOST_ALERTS: Final = 200
"""Alerts of a run that are kept whole; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRun:
    """One run of a combination.

    `problem` says why nothing was measured, or why it does not count; `record` is None only with one. `moved` is None
    for what has no twin, or where the twin was not measured. `against_twin` is the diagnosis with the twin as the
    baseline.
    """

    combination: Combination
    record: RunRecord | None
    problem: str | None = None
    moved: tuple[Moved, ...] | None = None
    against_twin: tuple[DiagnosisRecord, ...] = ()
    alerts: tuple[Mapping[str, Any], ...] = ()

    @property
    def counts(self) -> bool:
        """Whether it was measured and can be trusted."""
        return self.record is not None and self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """Return the run as one JSON object (docs/faults.md)."""
        one, record = self.combination, self.record
        dumped = {} if record is None else record.model_dump(mode="json", by_alias=True)
        return {
            "name": one.name, "causes": list(one.causes), "injector": one.injector, "means": list(one.means),
            "path": one.path, "load": one.load, "severity": one.severity, "fit": one.fit,
            "held_out": list(one.held_out), "drop_reasons": list(one.drop_reasons), "twin": one.twin,
            "healthy_twin_of": f"{one.path}/{one.load}" if one.twin is None else None,
            "moved": self._moved(), "moved_metrics": [str(each) for each in self.moved or ()],
            "valid": self.counts, "problem": self.problem,
            "metrics": {name: each["value"] for name, each in dumped.get("metrics", {}).items()},
            "trials": dumped.get("trials", []), "subjects": dumped.get("subjects", {}),
            "diagnosis": dumped.get("diagnosis", []),
            "diagnosis_against_twin": [each.model_dump(mode="json", by_alias=True) for each in self.against_twin],
            "alerts": {"counts": _counted(self.alerts), "first": _first(self.alerts)},
            "environment": dumped.get("environment", {}), "cross_checks": dumped.get("cross_checks", []),
            "unavailable": dumped.get("unavailable", {}), "overhead": dumped.get("overhead", {}),
            "measured_at": dumped.get("started_at"),
        }  # fmt: skip

    def _moved(self) -> bool | None:
        if not self.combination.exemplary:
            return False
        return None if self.moved is None or self.combination.causes == ("healthy",) else bool(self.moved)


class FaultBench:
    """Measures combinations in one session; the runner must write events to `events`."""

    def __init__(self, runner: Runner, events: Path) -> None:
        """Take a runner that has begun."""
        self._runner = runner
        self._events = events
        self._offset = 0
        self._rules: RuleSet = load_rules(runner.options.rule_dirs)

    def run(self, one: Combination, twins: Sequence[Mapping[str, float]] = ()) -> FaultRun:
        """Measure one combination; `twins` are `compared_values` of the healthy runs that it is compared with."""
        scenario = one.scenario()
        try:
            record = self._runner.run(scenario)
        except CouldNotMeasure as error:
            self._alerts()
            return FaultRun(combination=one, record=None, problem=str(error))
        invalid = record.verdict is Verdict.INVALID
        found = FaultRun(
            combination=one, record=record, alerts=self._alerts(), problem=record.invalid_reason if invalid else None
        )
        if not twins or not found.counts:
            return found
        return replace(found, moved=moved_by(compared_values(record), twins), against_twin=self._against(record, twins))

    def _against(self, record: RunRecord, twins: Sequence[Mapping[str, float]]) -> tuple[DiagnosisRecord, ...]:
        metrics = {name: each.value for name, each in record.metrics.items()}
        before = {name.removeprefix(_RUN): value for name, value in twins[0].items() if name.startswith(_RUN)}
        return diagnose(self._rules, metrics, [trial.metrics for trial in record.trials if trial.valid], before)

    def _alerts(self) -> tuple[Mapping[str, Any], ...]:
        """Return the alerts and sums that were written since the last call."""
        if not self._events.is_file():
            return ()
        with self._events.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read()
            self._offset = stream.tell()
        return tuple(event for line in text.splitlines() if (event := json.loads(line))["type"] != "detail")


_RUN: Final = "run:"


def compared_values(record: RunRecord) -> dict[str, float]:
    """Return what a fault is compared by: the load's own figures by their names, the whole run's behind `run:`.

    Of metrics that the load has no figure of its own of, the whole run's is the load's too.
    """
    own = record.subjects.get(LOAD)
    return _compared(
        {name: each.value for name, each in record.metrics.items()},
        {} if own is None else {name: each.value for name, each in own.metrics.items()},
    )


def compared_of_row(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the `compared_values` of a run that `as_dict` stored; stored runs need not have them written out."""
    stored: Mapping[str, float] | None = row.get("compared")
    if stored is not None:
        return dict(stored)
    own = row["subjects"].get(LOAD, {}).get("metrics", {})
    # Records know more of a metric than its value; in rows for reports it is the value alone.
    of_load = {name: each["value"] if isinstance(each, Mapping) else each for name, each in own.items()}
    return _compared(row["metrics"], of_load)


def _compared(whole: Mapping[str, float], of_load: Mapping[str, float]) -> dict[str, float]:
    return {**{f"{_RUN}{name}": value for name, value in whole.items()}, **whole, **of_load}


def _counted(alerts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return how many alerts of each metric there were: of the sums where there are any, else of the alerts."""
    sums = {str(each["metric"]): float(each["value"]) for each in alerts if each["type"] == "summary"}
    return sums or dict(Counter(str(each["metric"]) for each in alerts))


def _first(alerts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for each in alerts if each["type"] == "alert"][:MOST_ALERTS]
