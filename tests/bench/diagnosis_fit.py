"""The arithmetic of fitting: how often each cause turns each bit on, and how much each bit should count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from fault_runs import Run
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from perfcheck.diagnose import RuleSet
from perfcheck.diagnose.fitted import Fitted
from perfcheck.diagnose.network import Bit, Network
from perfcheck.diagnose.rule import Evidence, Rule, Symptom
from perfcheck.model.causes import CAUSES, HEALTHY, UNKNOWN

Floats = npt.NDArray[np.float64]

FOLDS: Final = 4
_INJECTORS_WORTH: Final = 0.5
"""A hand-written probability counts as much as this number of injectors."""
_STATED_WORTH: Final = 2.0
"""The same where the file says that the cause turns the condition on: its author may know of other injectors."""
_RUNS_WORTH: Final = 1.0
"""Within one injector: as much as this number of runs."""
_STATED: Final = 0.15
_LOWEST: Final = 0.003
_STRENGTH_SHOWN: Final = 0.005
_PENALTY: Final = 0.2
"""What a weight costs (nats of all runs together) that is 1 away from `_USUAL_WEIGHT`; it keeps those of bits that
hardly differ apart."""
_USUAL_WEIGHT: Final = 0.8
_HEALTHY_COUNTS: Final = 4.0
"""Healthy runs together count as much as this number of causes: a false alarm is worse than a wrong name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """States of all bits on all runs: rows of runs, columns of conditions; NaN where it was not measured."""

    runs: tuple[Run, ...]
    conditions: tuple[Rule | Symptom | Evidence, ...]
    states: Floats

    def only(self, chosen: Sequence[int]) -> Table:
        """Return some rows."""
        runs = tuple(self.runs[row] for row in chosen)
        return Table(runs=runs, conditions=self.conditions, states=self.states[list(chosen)])


def table_of(rules: RuleSet, runs: Sequence[Run]) -> Table:
    """Evaluate every condition of the rules on every run."""
    conditions: tuple[Rule | Symptom | Evidence, ...] = (*rules.rules, *rules.symptoms, *rules.evidence)
    states = np.full((len(runs), len(conditions)), np.nan)
    for row, run in enumerate(runs):
        known = run.reading.judged(rules).states()
        for column, each in enumerate(conditions):
            state = known[each.name]
            states[row, column] = np.nan if state is None else state
    return Table(runs=tuple(runs), conditions=conditions, states=states)


def expected(rules: RuleSet, condition: Rule | Symptom | Evidence, cause: str) -> float:
    """Return the hand-written probability that a cause (or `healthy`) turns a condition on."""
    match condition:
        case Evidence():
            return 1 - (1 - condition.leak) * (1 - condition.says.get(cause, 0.0))
        case Rule():
            return 0.6 if condition.cause == cause else 0.2 if condition.cause == HEALTHY else 0.03
        case Symptom():
            explains = cause == UNKNOWN or condition.symptom in rules.explains.get(cause, frozenset())
            return 0.4 if explains else 0.03


def probabilities(rules: RuleSet, table: Table) -> dict[str, Floats]:
    """Return P(on) of every bit for each cause, for `healthy` and for `unknown`.

    Frequencies are averaged over injectors, not over runs: ten severities of one injector are one way to make a fault.
    `unknown` is like a cause that nobody has met: it turns bits on as often as the other causes do on average.
    """
    found: dict[str, Floats] = {}
    for cause in CAUSES:
        if cause == UNKNOWN:
            continue
        prior = np.array([expected(rules, each, cause) for each in table.conditions])
        groups: dict[str, list[int]] = defaultdict(list)
        for row, run in enumerate(table.runs):
            if run.label == cause:
                groups[run.path if cause == HEALTHY else run.injector].append(row)
        count: Floats = np.where(prior >= _STATED, _STATED_WORTH, _INJECTORS_WORTH)
        total = prior * count
        for rows in groups.values():
            states = table.states[rows]
            measured = np.isfinite(states)
            held, seen = np.where(measured, states, 0.0).sum(axis=0), measured.sum(axis=0)
            share = seen / (seen + _RUNS_WORTH)  # an injector with few runs counts less than a whole one
            total += share * np.divide(held, seen, out=np.zeros_like(held), where=seen > 0)
            count += share
        found[cause] = np.clip(total / count, _LOWEST, 1 - _LOWEST)
    harmful = [found[cause] for cause in found if cause != HEALTHY and cause not in rules.harmless]
    found[UNKNOWN] = np.clip(np.mean(harmful, axis=0), _LOWEST, 1 - _LOWEST)
    return found


def bits(table: Table, found: Mapping[str, Floats], weights: Floats, known: Sequence[str]) -> tuple[Bit, ...]:
    """Return noisy-OR bits whose probabilities for each cause alone are those found; the lowest is the leak."""
    made = []
    for column, condition in enumerate(table.conditions):
        each = {cause: float(found[cause][column]) for cause in (HEALTHY, *known)}
        leak = min(each.values())
        says = {cause: 1 - (1 - share) / (1 - leak) for cause, share in each.items()}
        made.append(
            Bit(
                name=condition.name, leak=round(leak, 4), weight=round(float(weights[column]), 3),
                says={cause: round(share, 3) for cause, share in says.items() if share >= _STRENGTH_SHOWN},
            )
        )  # fmt: skip
    return tuple(made)


def folds(runs: Sequence[Run]) -> list[list[int]]:
    """Share runs out so that an injector is whole in one fold; where a cause has only one, its paths are."""
    injectors: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        injectors[run.label].add(run.injector)
    rank: dict[str, dict[str, int]] = defaultdict(dict)
    shared: list[list[int]] = [[] for _ in range(FOLDS)]
    for row, run in enumerate(runs):
        whole = len(injectors[run.label]) > 1 and run.causes
        group = run.injector if whole else run.path
        place = rank[run.label].setdefault(group, len(rank[run.label]))
        shared[place % FOLDS].append(row)
    return [each for each in shared if each]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Runs that were left out of a fold, with the likelihoods that the others give."""

    on: Floats
    off: Floats
    log_on: Floats
    log_off: Floats
    right: npt.NDArray[np.bool_]
    counts: Floats

    def logs(self, weights: Floats, prior: Floats) -> Floats:
        return (self.on * weights) @ self.log_on.T + (self.off * weights) @ self.log_off.T + prior


def fit(rules: RuleSet, table: Table) -> Fitted:
    """Fit strengths on all runs of the table, weights and temperature on runs of injectors that were left out."""
    frame = _frame(rules, ())
    parts = []
    for left_out in folds(table.runs):
        others = [row for row in range(len(table.runs)) if row not in set(left_out)]
        found = probabilities(rules, table.only(others))
        network = _frame(rules, bits(table, found, np.ones(len(table.conditions)), frame.causes))
        parts.append(_part(network, table.only(left_out)))
    weights = _weights(parts, frame.log_prior, len(table.conditions))
    temperature = _temperature(parts, frame.log_prior, weights)
    found = probabilities(rules, table)
    digests = {each.name: each.digest for each in table.conditions}
    return Fitted(
        temperature=temperature,
        bits={bit.name: (digests[bit.name], bit) for bit in bits(table, found, weights, frame.causes)},
    )


def _frame(rules: RuleSet, made: Sequence[Bit]) -> Network:
    """Return a network of up to two causes at once, which is enough to fit and much faster."""
    shipped = rules.network
    return Network({cause: rules.prior(cause) for cause in shipped.causes}, made, harmless=rules.harmless, most=2)


def _part(network: Network, table: Table) -> _Part:
    measured = np.isfinite(table.states)
    on = np.where(measured, table.states, 0.0)
    right = np.array([_right(network, run) for run in table.runs])
    return _Part(
        on=on, off=np.where(measured, 1 - on, 0.0), log_on=network.log_on, log_off=network.log_off, right=right,
        counts=_counts(table.runs),
    )  # fmt: skip


def _right(network: Network, run: Run) -> npt.NDArray[np.bool_]:
    """Return the hypotheses that are right: exactly the run's causes, or with harmless ones beside them."""
    harmful = np.array([cause not in _harmless(network) for cause in network.causes])
    found = np.zeros(len(network.log_prior), dtype=bool)
    choices = [run.causes] if len(run.causes) > 1 else [frozenset({cause}) - {HEALTHY} for cause in run.accepted]
    for causes in choices:
        wanted = np.array([float(cause in causes) for cause in network.causes])
        same = (network.members * harmful == wanted * harmful).all(axis=1)
        found |= same & (network.members >= wanted).all(axis=1)
    return found


def _harmless(network: Network) -> set[str]:
    alone = range(1, 1 + len(network.causes))
    return {network.causes[row - 1] for row in alone if network.harmless[row]}


def _counts(runs: Sequence[Run]) -> Floats:
    """Return how much each run counts: causes alike, however many runs each has."""
    number: dict[str, int] = defaultdict(int)
    for run in runs:
        number[run.label] += 1
    return np.array([(_HEALTHY_COUNTS if run.label == HEALTHY else 1.0) / number[run.label] for run in runs])


def _loss(parts: Sequence[_Part], prior: Floats, weights: Floats) -> tuple[float, Floats]:
    """Return the log loss and its gradient by the weights."""
    loss, gradient = 0.0, np.zeros(len(weights))
    for part in parts:
        known = part.right.any(axis=1)
        logs = part.logs(weights, prior)[known]
        right = np.where(part.right[known], logs, -np.inf)
        all_of, of_right = logsumexp(logs, axis=1), logsumexp(right, axis=1)
        counts = part.counts[known]
        loss += float(counts @ (all_of - of_right))
        slope = (np.exp(logs - all_of[:, None]) - np.exp(right - of_right[:, None])) * counts[:, None]
        gradient += (part.on[known] * (slope @ part.log_on)).sum(axis=0)
        gradient += (part.off[known] * (slope @ part.log_off)).sum(axis=0)
    return loss, gradient


def _weights(parts: Sequence[_Part], prior: Floats, count: int) -> Floats:
    def penalised(weights: Floats) -> tuple[float, Floats]:
        loss, gradient = _loss(parts, prior, weights)
        away = weights - _USUAL_WEIGHT
        return loss + _PENALTY * float(away @ away), gradient + 2 * _PENALTY * away

    start = np.full(count, _USUAL_WEIGHT)
    found = minimize(penalised, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * count)
    return np.asarray(found.x, dtype=np.float64)


def _temperature(parts: Sequence[_Part], prior: Floats, weights: Floats) -> float:
    found = minimize_scalar(
        lambda log_heat: _loss(parts, prior, weights / np.exp(log_heat))[0], bounds=(-1.0, 2.0), method="bounded"
    )
    return round(float(np.exp(found.x)), 3)
