"""A run that is measured but not yet compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.runner.trial import Trial

Load = Callable[[Scenario, Any], BaselineLookup]


class Comparing(Protocol):
    """What compares a measurement, and measures again for it."""

    def compared(self, measured: Measurement, baseline: str | RunRecord | None) -> RunRecord:
        """Return the record with its comparisons."""


class Measurement:
    """One run with the trials that it is made of, so that it can be compared later, and go on where it must.

    Baselines are read once: when the run itself has become a session of one, it is still compared with the sessions
    before it.
    """

    def __init__(
        self, *, scenario: Scenario, record: RunRecord, trials: tuple[Trial, ...], comparing: Comparing
    ) -> None:
        """Take the scenario with the session's options applied, its record and trials."""
        self.scenario = scenario
        self.trials = trials
        self._record = record
        self._comparing = comparing
        self._lookups: dict[str | None, BaselineLookup] = {}

    @property
    def record(self) -> RunRecord:
        """The record as it was measured, compared with nothing."""
        return self._record

    def against(self, baseline: str | RunRecord | None) -> RunRecord:
        """Return the record with its comparisons: with the stored baseline, one of a named set, or a record."""
        return self._comparing.compared(self, baseline)

    def lookup(self, load: Load, name: str | None) -> BaselineLookup:
        """Return the baseline of a set as it was when it was asked for first."""
        if name not in self._lookups:
            self._lookups[name] = load(self.scenario, self._record.environment)
        return self._lookups[name]
