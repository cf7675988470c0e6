"""Computes the margins and repeats that a scenario needs on this machine, from runs without a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from perfcheck.compare.judge import wanted_metrics
from perfcheck.compare.metric import margin_of
from perfcheck.compare.noise import expected_reach, run_scale, session_scale
from perfcheck.compare.ranks import Floats, median
from perfcheck.compare.screen import SCREEN
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import MetricSpec
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario

REPEATS: Final = range(3, 21)
_NICE_PCT: Final = (0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """One metric's noise with nothing changed, in per cent of its centre, and the margin that it needs.

    `run_pct` is the deviation of runs inside a session, `session_pct` that of sessions' medians.
    `tolerance_pct` is proposed where the margin in force is smaller than the noise; None: it is enough.
    """

    metric: str
    unit: str
    centre: float
    run_pct: float
    session_pct: float
    margin_pct: float
    tolerance_pct: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What A/A runs of one scenario say: the noise of each metric that can be given in per cent, and `repeat`.

    `repeat` is the smallest number of runs with which, against as many sessions, a change of twice
    the margin would trip the screen for nine of ten metrics; None where the most allowed do not.
    """

    sessions: int
    noises: tuple[Noise, ...]
    repeat: int | None

    @property
    def tolerance_pct(self) -> Mapping[str, float]:
        """Return the proposed `tolerance:` block."""
        return {noise.metric: noise.tolerance_pct for noise in self.noises if noise.tolerance_pct is not None}


def calibrate(scenario: Scenario, sessions: Sequence[RunRecord]) -> Calibration:
    """Learn from at least two records (sessions) of the unchanged scenario; ValueError for fewer."""
    if len(sessions) < 2:
        raise ValueError("noise between sessions needs at least two sessions")
    known = catalogue_of(scenario)
    found = [
        noise
        for name in wanted_metrics(scenario)
        if (noise := _noise(known[name], scenario.tolerance_pct.get(name), sessions)) is not None
    ]
    return Calibration(sessions=len(sessions), noises=tuple(found), repeat=_repeat(found, len(sessions)))


def _noise(spec: MetricSpec, tolerance_pct: float | None, sessions: Sequence[RunRecord]) -> Noise | None:
    runs = [_runs(record, spec.name) for record in sessions]
    runs = [each for each in runs if each.size > 1]
    if len(runs) < 2:
        return None
    centre = float(median(np.concatenate(runs)))
    if not centre:
        return None
    run_pct = 100 * float(run_scale(runs)) / abs(centre)
    session_pct = 100 * float(session_scale(runs)) / abs(centre)
    margin_pct = margin_of(spec, centre, tolerance_pct).pct
    # The error rates that are promised were counted with margins of at least this.
    needed_pct = max(run_pct, 2 * session_pct)
    return Noise(
        metric=spec.name, unit=spec.unit, centre=centre, run_pct=run_pct, session_pct=session_pct,
        margin_pct=margin_pct, tolerance_pct=None if needed_pct <= margin_pct else _nice(needed_pct),
    )  # fmt: skip


def _runs(record: RunRecord, metric: str) -> Floats:
    values = [trial.figures[metric] for trial in record.trials if trial.valid and metric in trial.figures]
    array: Floats = np.asarray(values, dtype=np.float64)
    return np.asarray(array[np.isfinite(array)])


def _nice(pct: float) -> float:
    return next((step for step in _NICE_PCT if step >= pct), float(np.ceil(pct)))


def _repeat(noises: Sequence[Noise], sessions: int) -> int | None:
    if not noises:
        return None
    for runs in REPEATS:
        seen = [_reach_pct(noise, runs, sessions) <= (noise.tolerance_pct or noise.margin_pct) for noise in noises]
        if sum(seen) >= 0.9 * len(seen):
            return runs
    return None


def _reach_pct(noise: Noise, runs: int, sessions: int) -> float:
    return expected_reach(
        within=noise.run_pct, between=noise.session_pct, runs=runs, sessions=sessions, alpha=SCREEN.sessions
    )
