"""Measures what a bisect compares: one metric of one scenario, the good kernel against another."""

from __future__ import annotations

from dataclasses import dataclass

from perfcheck.errors import UsageError
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress
from perfcheck.runner.bisecting.bisection import Pair
from perfcheck.runner.cost_load import metric_keys
from perfcheck.runner.guests import GuestSide, beside_others, compare_guests, require_cost
from perfcheck.scenario import hint


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestComparison:
    """Compares two guests by one metric, with the machine's measuring lock held meanwhile."""

    scenario: Scenario
    metric: str
    progress: Progress

    def __call__(self, good: GuestSide, other: GuestSide) -> Pair:
        """Measure interleaved pairs until the metric is settled."""
        with beside_others(self.scenario, self.progress, 1):
            return compare_guests(self.scenario, good, other, self.progress, only=self.metric)


def check_metric(scenario: Scenario, metric: str) -> None:
    """Raise UsageError for a metric that the scenario does not measure in guests; it names the nearest one."""
    require_cost(scenario)
    known = metric_keys(scenario)
    if metric not in known:
        raise UsageError(f"--metric: {scenario.label} does not measure {metric[:100]!r}{hint(metric, known)}")


class StepProgress:
    """Tells the progress of one step, with the step's name before each stage."""

    def __init__(self, progress: Progress) -> None:
        """Take the progress that is told."""
        self._progress = progress
        self.step = ""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Tell a stage."""
        self._progress.stage(scenario, f"{self.step}: {text}" if self.step else text, done, total)
