"""Two settings measured side by side, metric by metric: A is the baseline, B is judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfcheck.compare.judge import wanted_metrics
from perfcheck.compare.metric import margin_of, possible_pct, share_pct
from perfcheck.compare.pairs import LOOKS, Answer, Margins, Sequel, settle
from perfcheck.compare.ranks import Floats
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Direction, MetricSpec
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict

_VERDICTS = {
    Answer.WORSE: Verdict.REGRESSED,
    Answer.BETTER: Verdict.IMPROVED,
    Answer.SAME: Verdict.PASS,
    Answer.OPEN: Verdict.INCONCLUSIVE,
    Answer.UNSETTLED: Verdict.INCONCLUSIVE,
}
_MOST_RUNS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Verdicts after the pairs so far, and the metrics for which more pairs would still decide."""

    comparisons: tuple[ComparisonRecord, ...]
    open: tuple[str, ...]

    @property
    def decided(self) -> bool:
        """Whether no metric needs another pair."""
        return not self.open


def pairs_wanted(pairs: int) -> int | None:
    """Return at how many pairs the next look is; None after the last."""
    return next((look.pairs for look in LOOKS if look.pairs > pairs), None)


def judge_pairs(scenario: Scenario, a: RunRecord, b: RunRecord, only: str | None = None) -> SideBySide:
    """Compare trial i of A with trial i of B for every i that is valid in both, in the order they were made.

    A metric is settled at the first look that settles it, and later pairs do not change that. Where
    one of the two sides lacks a metric it is INVALID. `only` names the one metric that is compared.
    """
    wanted = wanted_metrics(scenario) if only is None else (only,)
    names = [name for name in wanted if name in a.figures or name in b.figures]
    known = catalogue_of(scenario)
    judged = [_judge(known[name], scenario.tolerance_pct.get(name), a, b) for name in names]
    return SideBySide(
        comparisons=tuple(comparison for comparison, _ in judged),
        open=tuple(comparison.metric for comparison, answer in judged if answer is Answer.OPEN),
    )


def compare_pairs(
    spec: MetricSpec, a: Sequence[float], b: Sequence[float], tolerance_pct: float | None = None
) -> tuple[ComparisonRecord, Answer]:
    """Judge one metric's paired values: log ratios, or plain differences where any value is 0 or below."""
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    centre = float(np.median(before))
    margin = margin_of(spec, centre, tolerance_pct)
    sign = -1.0 if spec.direction is Direction.HIGHER else 1.0
    logs = bool(np.all(before > 0) and np.all(after > 0))
    if logs:
        relative = margin.amount / centre
        up, down = math.log1p(relative), -math.log1p(-relative) if relative < 1 else math.inf
        margins = Margins(worse=up, better=down) if sign > 0 else Margins(worse=down, better=up)
        found = settle((sign * (np.log(after) - np.log(before))).tolist(), margins)
    else:
        margins = Margins(worse=margin.amount, better=margin.amount)
        found = settle((sign * (after - before)).tolist(), margins)
    answer = _without_direction(spec, found.answer, explicit=tolerance_pct is not None)
    scale = _Scale(logs=logs, sign=sign, centre=centre, values=(before, after))
    smallest = margins.worse + found.shift - found.low
    comparison = ComparisonRecord(
        metric=spec.name,
        unit=spec.unit,
        baseline=centre,
        current=float(np.median(after)),
        change_pct=scale.change_pct(found),
        interval_pct=scale.interval_pct(found),
        detectable_pct=scale.size_pct(smallest),
        detectable=smallest if not logs and math.isfinite(smallest) else None,
        margin_pct=margin.pct,
        verdict=_VERDICTS[answer],
        runs_needed=_pairs_needed(found, margins),
        reason=_reason(answer, found),
    )
    return comparison, answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """How differences, positive for the worse, read as per cent of A."""

    logs: bool
    sign: float
    centre: float
    values: tuple[Floats, Floats]

    def pct(self, worsening: float) -> float | None:
        """Return the change in per cent, in the metric's own direction; None where it is beyond all numbers."""
        if not math.isfinite(worsening):
            return None
        if not self.logs:
            return share_pct(self.sign * worsening, self.centre)
        with np.errstate(over="ignore"):
            found = 100 * float(np.expm1(self.sign * worsening))
        return found if math.isfinite(found) else None

    def change_pct(self, found: Sequel) -> float | None:
        """Return the estimate of the change in per cent."""
        return possible_pct(self.pct(found.shift), *self.values)

    def size_pct(self, worsening: float) -> float | None:
        """Return the size of a change for the worse in per cent."""
        found = self.pct(worsening)
        return None if found is None else abs(found)

    def interval_pct(self, found: Sequel) -> tuple[float, float] | None:
        """Return the interval in per cent, lower end first."""
        ends = [possible_pct(self.pct(end), *self.values) for end in (found.low, found.high)]
        known = sorted(end for end in ends if end is not None)
        return (known[0], known[1]) if len(known) == 2 else None


def _judge(
    spec: MetricSpec, tolerance_pct: float | None, a: RunRecord, b: RunRecord
) -> tuple[ComparisonRecord, Answer]:
    before, after = _paired(a, b, spec.name)
    if before.size:
        return compare_pairs(spec, before.tolist(), after.tolist(), tolerance_pct)
    measured = {side: record.figures.get(spec.name) for side, record in (("A", a), ("B", b))}
    missing = [side for side, metric in measured.items() if metric is None]
    reason = f"{' and '.join(missing)} did not measure it" if missing else "no pair of valid runs has a value"
    gone = ComparisonRecord(
        metric=spec.name, unit=spec.unit, baseline=_value(a, spec.name), current=_value(b, spec.name),
        change_pct=None, detectable_pct=None, verdict=Verdict.INVALID, reason=reason,
    )  # fmt: skip
    return gone, Answer.UNSETTLED


def _value(record: RunRecord, metric: str) -> float | None:
    measured = record.figures.get(metric)
    return measured.value if measured is not None else None


def _paired(a: RunRecord, b: RunRecord, metric: str) -> tuple[Floats, Floats]:
    others = {trial.index: trial for trial in b.trials if trial.valid}
    pairs = [
        (trial.figures.get(metric, math.nan), others[trial.index].figures.get(metric, math.nan))
        for trial in a.trials
        if trial.valid and trial.index in others
    ]
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
    array = np.asarray(finite, dtype=np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _without_direction(spec: MetricSpec, answer: Answer, *, explicit: bool) -> Answer:
    """A metric that has no better or worse never fails by itself; with a tolerance either way does."""
    if spec.direction is not Direction.NEITHER or answer not in (Answer.WORSE, Answer.BETTER):
        return answer
    return Answer.WORSE if explicit else Answer.SAME


def _pairs_needed(found: Sequel, margins: Margins) -> int | None:
    """Return how many pairs of this scatter would settle what these did not."""
    half = (found.high - found.low) / 2
    distance = abs(margins.worse - found.shift)
    if found.answer not in (Answer.OPEN, Answer.UNSETTLED) or not math.isfinite(half) or not distance:
        return None
    needed = math.ceil(found.pairs * (half / distance) ** 2)
    return needed if found.pairs < needed <= _MOST_RUNS else None


def _reason(answer: Answer, found: Sequel) -> str | None:
    if answer is Answer.OPEN:
        return f"{found.pairs} pairs are not yet enough to decide"
    if answer is Answer.UNSETTLED:
        return f"{found.pairs} pairs were not enough to decide whether the change is beyond the margin"
    return None
