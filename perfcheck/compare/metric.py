"""One metric against its baseline: from per-run values to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from perfcheck.compare.ranks import Floats, median
from perfcheck.compare.screen import CONFIRM, SCREEN, Estimate, Level, estimate
from perfcheck.model.metric import Direction, MetricSpec
from perfcheck.model.record import ComparisonRecord
from perfcheck.model.units import format_value, readable_pct
from perfcheck.model.verdict import Verdict

_MOST_RUNS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What counts as a change: an amount in the metric's unit, and the same in per cent of the baseline."""

    amount: float
    pct: float


def margin_of(spec: MetricSpec, centre: float, tolerance_pct: float | None) -> Margin:
    """Return the larger of the relative margin and the floor.

    A tolerance that the user wrote stands alone: the floor would silently make it wider. At a
    baseline of 0, where a percentage means nothing, the floor counts in any case.
    """
    pct = spec.margin_pct if tolerance_pct is None else tolerance_pct
    amount = abs(centre) * pct / 100
    if tolerance_pct is None or not centre:
        amount = max(amount, spec.floor)
    return Margin(amount=amount, pct=100 * amount / abs(centre) if centre else pct)


def compare_metric(
    spec: MetricSpec,
    baseline_runs: Sequence[Sequence[float]],
    current_runs: Sequence[float],
    tolerance_pct: float | None = None,
    level: Level = SCREEN,
) -> ComparisonRecord:
    """Judge the current runs of one metric against the baseline's sessions, each a sequence of per-run values.

    REGRESSED and IMPROVED need the whole interval beyond the margin, so the change is beyond the
    margin and beyond the noise. INCONCLUSIVE is a change for the worse that is certain (the
    interval leaves 0 out) and looks to be beyond the margin, but not certainly so; and anything
    where too few runs allow no interval. What noise explains is a PASS, with `detectable_pct` to
    say how large a change it would have hidden.
    """
    sessions = [values for values in (_finite(session) for session in baseline_runs) if values.size]
    current = _finite(current_runs)
    if not sessions:
        return _unjudged(spec, Verdict.NO_BASELINE, "the baseline has no value of this metric", current=current)
    centre = float(median(np.concatenate(sessions)))
    if not current.size:
        return _unjudged(spec, Verdict.INVALID, "no run has a value of this metric", baseline=centre)
    found = estimate(sessions, current, level)
    margin = margin_of(spec, centre, tolerance_pct)
    worse = _worse_signs(spec.direction, explicit=tolerance_pct is not None)
    verdict = _verdict(found, margin, worse, level)
    reach = _reach(found, worse)
    return ComparisonRecord(
        metric=spec.name,
        unit=spec.unit,
        baseline=centre,
        current=float(median(current)),
        change_pct=possible_pct(share_pct(float(found.shift), centre), *sessions, current),
        interval_pct=_interval_pct(found, centre, (*sessions, current)),
        detectable_pct=share_pct(margin.amount + reach, abs(centre)),
        detectable=margin.amount + reach if math.isfinite(reach) else None,
        margin_pct=margin.pct,
        verdict=verdict,
        runs_needed=_runs_needed(sessions, current, found, margin, verdict),
        reason=_reason(verdict, found, margin, centre, spec),
    )


def with_confirmation(
    compared: ComparisonRecord, spec: MetricSpec, baseline_runs: Sequence[Sequence[float]],
    current_runs: Sequence[float], tolerance_pct: float | None,
) -> ComparisonRecord:  # fmt: skip
    """Return a screen's result with the change that fresh runs, scattered as these are, would have confirmed too.

    A change as large as the screen's own `detectable` trips it in half of the cases, and is
    confirmed in a tenth of them (tests/unit/test_compare_error_rates.py counts it).
    """
    sessions = [values for values in (_finite(session) for session in baseline_runs) if values.size]
    current = _finite(current_runs)
    if compared.detectable is None or not sessions or not current.size:
        return compared
    centre = float(median(np.concatenate(sessions)))
    margin = margin_of(spec, centre, tolerance_pct)
    found = estimate(sessions, current, CONFIRM, least_depth=1)
    reach = _reach(found, _worse_signs(spec.direction, explicit=tolerance_pct is not None))
    amount = max(margin.amount + reach, compared.detectable)
    needed = _runs_needed(sessions, current, found, margin, compared.verdict)
    return compared.model_copy(
        update={"detectable": amount, "detectable_pct": share_pct(amount, abs(centre)), "runs_needed": needed}
    )


def _finite(values: Sequence[float]) -> Floats:
    array: Floats = np.asarray(values, dtype=np.float64)
    return np.asarray(array[np.isfinite(array)])


def _unjudged(
    spec: MetricSpec, verdict: Verdict, reason: str, *, baseline: float | None = None, current: Floats | None = None
) -> ComparisonRecord:
    value = float(median(current)) if current is not None and current.size else None
    return ComparisonRecord(
        metric=spec.name, unit=spec.unit, baseline=baseline, current=value, change_pct=None, detectable_pct=None,
        verdict=verdict, reason=reason,
    )  # fmt: skip


def _worse_signs(direction: Direction, *, explicit: bool) -> tuple[int, ...]:
    """Signs of a change for the worse; a metric without a direction has both, but only on the user's word."""
    if direction is Direction.NEITHER:
        return (1, -1) if explicit else ()
    return (1,) if direction is Direction.LOWER else (-1,)


def _verdict(found: Estimate, margin: Margin, worse: tuple[int, ...], level: Level) -> Verdict:
    if not math.isfinite(float(found.low)):
        return Verdict.INCONCLUSIVE
    ends = {1: float(found.low), -1: -float(found.high)}
    if any(ends[sign] > margin.amount for sign in worse):
        return Verdict.REGRESSED
    if len(worse) == 1 and ends[-worse[0]] > margin.amount:
        return Verdict.IMPROVED
    suspects = [sign for sign in worse if sign * float(found.shift) > margin.amount]
    if any(level.suspicious or ends[sign] > 0 for sign in suspects):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def _reach(found: Estimate, worse: tuple[int, ...]) -> float:
    """How far beyond the margin the estimate must lie for the whole interval to be beyond it."""
    sides = {1: float(found.shift - found.low), -1: float(found.high - found.shift)}
    return max(sides[sign] for sign in worse or (1, -1))


def share_pct(amount: float, centre: float) -> float | None:
    """Return an amount in per cent of the baseline; None where that is 0 or there is no bound."""
    if not math.isfinite(amount):
        return None
    if not centre:
        return None if amount else 0.0
    found = 100 * amount / abs(centre)
    return found if math.isfinite(found) else None


def possible_pct(change_pct: float | None, *values: Floats) -> float | None:
    """Return a change of these values in per cent: what is never negative cannot fall by more than all of it.

    Differences of single values may be larger than the value that they are per cent of, a median.
    """
    if change_pct is None or any(part.min() < 0 for part in values if part.size):
        return change_pct
    return max(change_pct, -100.0)


def _interval_pct(found: Estimate, centre: float, values: Sequence[Floats]) -> tuple[float, float] | None:
    low, high = (possible_pct(share_pct(float(end), centre), *values) for end in (found.low, found.high))
    return None if low is None or high is None else (low, high)


def _runs_needed(
    sessions: Sequence[Floats], current: Floats, found: Estimate, margin: Margin, verdict: Verdict
) -> int | None:
    """Return how many runs a side would see a change of twice the margin, or settle the change that is in doubt.

    None where this run already can, and where no number of runs is enough because sessions differ.
    """
    half = float(found.high - found.low) / 2
    wanted = margin.amount
    if verdict is Verdict.INCONCLUSIVE:
        wanted = abs(float(found.shift)) - margin.amount
    if not math.isfinite(half) or wanted <= 0 or half <= wanted or float(found.session_reach) > wanted:
        return None
    if half / wanted > _MOST_RUNS:
        return None  # a tolerance of next to nothing, whose square no number holds
    now = 1 / sum(session.size for session in sessions) + 1 / current.size
    needed = math.ceil(2 / now * (half / wanted) ** 2)
    return needed if needed <= _MOST_RUNS else None


def _reason(verdict: Verdict, found: Estimate, margin: Margin, centre: float, spec: MetricSpec) -> str | None:
    if verdict is not Verdict.INCONCLUSIVE:
        return None
    if not math.isfinite(float(found.low)):
        return "too few runs to tell a change from noise: raise repeat, or save more sessions in the baseline"
    noise = "sessions" if float(found.session_reach) >= float(found.shift - found.low) else "runs"
    amount = readable_pct(margin.pct, 3) if centre else format_value(margin.amount, spec.unit)
    return f"beyond the margin of {amount}, but {noise} differ by as much without any change"
