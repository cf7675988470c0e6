"""The text of a history, shared by the terminal and its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.history import Series
from perfcheck.model.label import label_of, short_key
from perfcheck.model.metric import Direction
from perfcheck.model.printable import printable
from perfcheck.model.units import format_value

if TYPE_CHECKING:
    from perfcheck.compare.outlook import Outlook


LEAST_RUNS: Final = 3
"""Fewer runs have no trend."""


@dataclass(frozen=True, slots=True)
class Story:
    """A series with what was found in it."""

    series: Series
    outlook: Outlook

    @property
    def label(self) -> str:
        """Scenario and matrix point, keys by their last part, as everywhere else."""
        parts = (part.partition("=") for part in self.series.point.split(","))
        values = ",".join(short_key(key) + sign + value for key, sign, value in parts)
        return printable(label_of(self.series.scenario, values))

    @property
    def title(self) -> str:
        """What tells this series from the others."""
        through = f", links by {self.series.emulators}" if self.series.emulators else ""
        return printable(f"{self.label} on machine {self.series.machine[:8]}{through}")

    @property
    def trend(self) -> str:
        """Return `rising (+12.0 %)`, or `stable`."""
        if len(self.series.values) < LEAST_RUNS:
            return "too few runs"
        found = self.outlook.trend
        if not found.change or found.p_value > 0.01:
            return found.movement.value
        return f"{found.movement.value} ({self.difference(self.outlook.values[0], found.change)})"

    @property
    def beyond(self) -> str:
        """Return `2 bursts`, `lasting since 2024-01-01 12:00`, `none`."""
        bursts = sum(not each.lasting for each in self.outlook.excursions)
        parts = [f"{bursts} burst{'s' if bursts > 1 else ''}"] if bursts else []
        parts += [f"lasting since {self.when(each.first)}" for each in self.outlook.excursions if each.lasting]
        return ", ".join(parts) or "none"

    @property
    def has_limits(self) -> bool:
        """Whether there are enough runs for a rolling mean and its limits."""
        return bool(np.isfinite(self.outlook.limits.mean[-1]))

    def value(self, index: int) -> str:
        """Return a run's value in a readable unit."""
        return self.shown(float(self.outlook.values[index]))

    def shown(self, value: float) -> str:
        """Return a value in a readable unit."""
        return format_value(value, self.series.unit)

    def when(self, index: int) -> str:
        """Return a run's time to the minute, as it was recorded (UTC)."""
        return printable(self.series.started_at[index][:16].replace("T", " "))

    def run(self, index: int) -> str:
        """Name a run so that it can be found in records."""
        return f"run {printable(self.series.run_ids[index][:12])} of {self.when(index)}"

    def difference(self, before: float, change: float) -> str:
        """Return a change in per cent of what it was, or in the metric's unit where that was 0."""
        if before:
            return f"{100 * change / abs(before):+.1f} %"
        return f"{'+' if change > 0 else '-'}{self.shown(abs(change))}"

    def judged(self, change: float) -> str:
        """Return `better`, `worse`, or nothing where the metric has no better."""
        spec = CATALOGUE.get(self.series.metric)
        direction = spec.direction if spec is not None else self.series.better
        if not direction or direction == Direction.NEITHER or not change:
            return ""
        return "better" if (change > 0) == (direction == Direction.HIGHER) else "worse"

    def lines(self) -> Iterator[str]:
        """Yield all findings, each with its kind as first word."""
        found = [*self.change_lines(), *self.excursion_lines(), *self.drift_lines()]
        yield from found or [
            f"quiet     no change of level{', and nothing beyond its limits' if self.has_limits else ''}"
        ]
        yield self.limits_line()

    def change_lines(self) -> Iterator[str]:
        """Yield each change of level, with the first run of the new one."""
        for change in self.outlook.changes:
            step = change.after - change.before
            words = (self.difference(change.before, step), self.judged(step), f"p {change.p_value:.3f}")
            values = f"{self.shown(change.before)} -> {self.shown(change.after)}"
            yield f"changed   {values} ({', '.join(filter(None, words))}) as of {self.run(change.index)}"

    def excursion_lines(self) -> Iterator[str]:
        """Yield each stretch beyond three deviations of the runs before it."""
        for each in self.outlook.excursions:
            side = "above" if each.above else "below"
            runs = each.last - each.first + 1
            if each.lasting:
                yield f"lasting   {side} mean and 3 sigma for the last {runs} runs, since {self.run(each.first)}"
            else:
                worst = self.outlook.values[each.first : each.last + 1]
                peak = self.shown(float(worst.max() if each.above else worst.min()))
                length = "1 run" if runs == 1 else f"{runs} runs"
                yield f"burst     {side} mean and 3 sigma for {length}, at {peak}, from {self.run(each.first)}"

    def drift_lines(self) -> Iterator[str]:
        """Yield where the cumulative sums say that the last level has begun to move."""
        for index, way in ((self.outlook.drifted_up, "upward"), (self.outlook.drifted_down, "downward")):
            if index is not None:
                yield f"drift     {way} from the last level, by the cumulative sum, first seen at {self.run(index)}"

    def limits_line(self) -> str:
        """Return mean and limits of the runs before the last one."""
        mean, deviation = self.outlook.limits.mean[-1], self.outlook.limits.deviation[-1]
        if not self.has_limits:
            return "limits    too few runs for a rolling mean"
        low, high = (self.shown(float(mean + sign * 3 * deviation)) for sign in (-1, 1))
        return f"limits    rolling mean {self.shown(float(mean))}, 3 sigma from {low} to {high}"
