"""What a user may choose for a session of runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perfcheck.errors import UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario, subjects_of
from perfcheck.model.subject import MetricKey, read_key
from perfcheck.scenario.suggest import hint


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a session; None leaves the scenario file's own value. `tolerances` are in percent.

    With `baseline_ref` baselines are read from that commit of the working directory's repository, not from the
    folder as it is. `ab` holds the texts of the two sides that are measured in pairs, instead of a baseline.
    `events` is the file for events, `series` that for time series, `budget_pct` the share of one
    CPU that measuring may take. `commands`: whether a scenario may run commands of its own. With `kernel`, a name in
    the store, scenarios are measured in guests that boot it; `time` is how time passes there.
    """

    baseline: bool = False
    baseline_dir: Path = Path("baselines")
    baseline_name: str | None = None
    baseline_ref: str | None = None
    repeat: int | None = None
    mode: Literal["summary", "detail", "both"] | None = None
    tolerances: tuple[tuple[str, float], ...] = ()
    rule_dirs: tuple[Path, ...] = ()
    ab: tuple[str, str] | None = None
    events: Path | None = None
    series: Path | None = None
    budget_pct: float | None = None
    commands: bool = True
    kernel: str | None = None
    time: Literal["virtual", "real"] = "virtual"

    def applied_to(self, scenario: Scenario) -> Scenario:
        """Return the scenario with these options in place of the file's values."""
        if not self.commands:
            _refuse_commands(scenario)
        update: dict[str, object] = {}
        if self.repeat is not None:
            update["repeat"] = self.repeat
        measure = {"mode": self.mode, "budget_pct": self.budget_pct}
        if any(value is not None for value in measure.values()):
            chosen = {key: value for key, value in measure.items() if value is not None}
            update["measure"] = scenario.measure.model_copy(update=chosen)
        if self.tolerances:
            metrics = catalogue_of(scenario)
            chosen_pct = {
                key: pct for key, pct in self.tolerances
                if key in metrics and _is_asked_of(scenario, read_key(key))
            }  # fmt: skip
            update["tolerance_pct"] = {**scenario.tolerance_pct, **chosen_pct}
        return scenario.model_copy(update=update) if update else scenario

    def comparing(self) -> str:
        """Return the options of the command line that compare with the same baselines again."""
        words = ["--baseline"]
        words += [] if self.baseline_ref is None else ["--baseline-ref", self.baseline_ref]
        words += [] if self.baseline_name is None else ["--baseline-name", self.baseline_name]
        return shlex.join(words)

    def placing(self) -> str:
        """Return the options of the command line that measure with the same kernel again."""
        words = [] if self.kernel is None else ["--kernel", self.kernel]
        words += [] if self.time == "virtual" else ["--time", self.time]
        return shlex.join(words)


def check_metrics(tolerances: Iterable[tuple[str, float]], sources: Sequence[Scenario | RunRecord]) -> None:
    """Raise UsageError for a tolerance of an application's own metric that no scenario or record reports."""
    known = [catalogue_of(source) for source in sources]
    for key in (key for key, _ in tolerances if key not in CATALOGUE):
        if known and not any(key in catalogue for catalogue in known):
            every = dict.fromkeys(metric for catalogue in known for metric in catalogue)
            raise UsageError(f"--tolerance: unknown metric {key!r}{hint(key, every)}")


def check_subjects(tolerances: Iterable[tuple[str, float]], scenarios: Iterable[Scenario]) -> None:
    """Raise UsageError for a tolerance of a subject or phase that no scenario has; it names the nearest one."""
    every = list(scenarios)
    subjects = {name for scenario in every for name in subjects_of(scenario)}
    phases = {name for scenario in every for name in scenario.phases_ns}
    for key, _ in tolerances:
        asked = read_key(key)
        for what, name, known in (("subject", asked.subject, subjects), ("phase", asked.phase, phases)):
            if name is not None and name not in known:
                raise UsageError(f"--tolerance: no scenario has a {what} {name!r}{hint(name, known)}")


def check_files(options: RunOptions, scenarios: Sequence[Scenario]) -> None:
    """Raise UsageError for a file of events or series where nothing would be written into it."""
    if not scenarios or any(options.applied_to(scenario).measure.mode != "cost" for scenario in scenarios):
        return
    for name in ("events", "series"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name}: has no effect with measure: {{mode: cost}}, which runs no collector")


def _is_asked_of(scenario: Scenario, key: MetricKey) -> bool:
    """Whether the scenario has the subject and the phase of a key."""
    return key.subject in {None, *subjects_of(scenario)} and key.phase in {None, *scenario.phases_ns}


def _refuse_commands(scenario: Scenario) -> None:
    """Refuse what runs commands, wherever the scenario comes from; a file's own error says the line."""
    real = next((name for name, spec in scenario.hosts.items() if spec.is_real), None)
    if real is not None:
        raise UsageError(f"{scenario.file}: hosts.{real} is a real machine, which --no-commands forbids")
    host = next((name for name, spec in scenario.hosts.items() if spec.setup), None)
    if host is not None or any(entry.command is not None for entry in scenario.traffic):
        what = f"hosts.{host}.setup" if host is not None else "traffic by command"
        raise UsageError(f"{scenario.file}: {what} runs commands as root on this machine, which --no-commands forbids")
