"""What a user may choose for a session of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perfcheck.model.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a session; None leaves the scenario file's own value. `tolerances` are in percent.

    `ab` holds the texts of the two sides that are measured in pairs, instead of a baseline.
    `events` is the file for the events of detail mode, `budget_pct` the share of one CPU that
    measuring may take.
    """

    baseline: bool = False
    baseline_dir: Path = Path("baselines")
    baseline_name: str | None = None
    repeat: int | None = None
    mode: Literal["summary", "detail", "both"] | None = None
    tolerances: tuple[tuple[str, float], ...] = ()
    rule_dirs: tuple[Path, ...] = ()
    ab: tuple[str, str] | None = None
    events: Path | None = None
    budget_pct: float | None = None

    def applied_to(self, scenario: Scenario) -> Scenario:
        """Give the scenario with these options in place of the file's values."""
        update: dict[str, object] = {}
        if self.repeat is not None:
            update["repeat"] = self.repeat
        measure = {"mode": self.mode, "budget_pct": self.budget_pct}
        if any(value is not None for value in measure.values()):
            chosen = {key: value for key, value in measure.items() if value is not None}
            update["measure"] = scenario.measure.model_copy(update=chosen)
        if self.tolerances:
            update["tolerance_pct"] = {**scenario.tolerance_pct, **dict(self.tolerances)}
        return scenario.model_copy(update=update) if update else scenario
