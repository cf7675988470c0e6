"""Other ways to name a cause from the same runs, to compare the network with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from diagnosis_scores import Scores
from fault_runs import Run

from perfcheck.diagnose import RuleSet
from perfcheck.model.causes import HEALTHY, UNKNOWN

Floats = npt.NDArray[np.float64]
Rival = Callable[[Run], Scores]

_SIGMAS: Final = 3.0


def today(run: Run) -> Scores:
    """Return what was said of the run when it was measured, by the rules of that day."""
    return dict(run.before) or {UNKNOWN: 1.0}


def first_rule(rules: RuleSet) -> Rival:
    """Return the rival that takes the first rule that holds, in the order of the files."""

    def scores(run: Run) -> Scores:
        judgement = run.reading.judged(rules)
        states = judgement.states()
        for each in judgement.rules:
            if each.rule.cause != HEALTHY and each.rule.severity != "info" and (states[each.rule.name] or 0) >= 0.5:
                return {each.rule.cause: each.rule.weight, HEALTHY: 1 - each.rule.weight}
        symptom = any(each.strength > 0 for each in judgement.symptoms)
        return {UNKNOWN: 0.6, HEALTHY: 0.4} if symptom else {HEALTHY: 0.6, UNKNOWN: 0.4}

    return scores


def most_moved(train: Sequence[Run]) -> Rival:
    """Return the rival that looks for the metric that is farthest from healthy runs, in their standard deviations.

    A metric stands for the cause under which it moved most often in `train`.
    """
    values: dict[str, list[float]] = {}
    for run in train:
        if not run.causes:
            for name, value in run.reading.metrics.items():
                values.setdefault(name, []).append(_scaled(value))
    usual = {
        name: (float(np.mean(each)), float(np.std(each)) + 1e-3) for name, each in values.items() if len(each) >= 3
    }  # fmt: skip

    def moved(run: Run) -> tuple[str, float]:
        far = {
            name: abs(_scaled(value) - usual[name][0]) / usual[name][1]
            for name, value in run.reading.metrics.items() if name in usual
        }  # fmt: skip
        name = max(far, key=lambda metric: far[metric], default="")
        return name, far.get(name, 0.0)

    shown: dict[str, Counter[str]] = {}
    for run in train:
        if len(run.causes) == 1:
            shown.setdefault(moved(run)[0], Counter())[run.label] += 1

    def scores(run: Run) -> Scores:
        name, sigmas = moved(run)
        if sigmas < _SIGMAS:
            return {HEALTHY: 1.0}
        causes = shown.get(name)
        if causes is None:
            return {UNKNOWN: 1.0}
        return {cause: count / causes.total() for cause, count in causes.items()}

    return scores


def _scaled(value: float) -> float:
    return float(np.sign(value) * np.log1p(abs(value)))


def regression(rules: RuleSet, train: Sequence[Run]) -> Rival:
    """Return a logistic regression on the same bits: whether each holds, and whether it was measured."""
    from sklearn.linear_model import LogisticRegression

    single = [run for run in train if len(run.causes) < 2]
    model: Any = LogisticRegression(C=1.0, max_iter=2000, class_weight="balanced")
    model.fit(_features(rules, single), [run.label for run in single])

    def scores(run: Run) -> Scores:
        shares = model.predict_proba(_features(rules, [run]))[0]
        found: Mapping[str, float] = dict(zip(model.classes_, map(float, shares), strict=True))
        return found

    return scores


def _features(rules: RuleSet, runs: Sequence[Run]) -> Floats:
    """Return whether each condition holds, then whether it was measured, in the order of the rules."""
    known = [list(run.reading.judged(rules).states().values()) for run in runs]
    states = np.array([[np.nan if state is None else state for state in each] for each in known])
    measured = np.isfinite(states)
    return np.hstack([np.where(measured, states, 0.0), measured.astype(float)])
