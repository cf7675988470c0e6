"""The arithmetic of fitting: strengths, leaks and weights of evidence, near the hand-written ones.

It maximises the probability of what was made on each row, less a penalty for each number that moves away from what its
author wrote (in logits). What no row speaks of stays where it is, so nothing is learnt of it. A weight says how much a
condition counts, since conditions that see the same thing must not count twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from fault_runs import Run
from fit_table import Row, Table
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit, logsumexp

from perfcheck.diagnose import RuleSet
from perfcheck.diagnose.fitted import Fitted, FittedBit
from perfcheck.diagnose.network import NEVER, Bit
from perfcheck.model.causes import HEALTHY

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FOLDS: Final = 4
STRENGTHS: Final = (1.0, 0.3, 0.1, 0.03)
"""Penalties (nats for a number that moves by 1.4 logits) from which cross-validation chooses."""
_OF_WEIGHTS: Final = 10.0
"""A weight that goes from 1 to 0 costs as much as this number of logits squared."""
_MOST_MOVED: Final = 2.5
"""Logits that a number may move: no few runs make a half of a hundredth."""
_LEAST_WEIGHT: Final = 0.1
_STEPS: Final = 50
_HOTTEST: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Strengths (a row for each cause and one for `healthy`; a column for each bit), leaks and weights."""

    strengths: Floats
    leaks: Floats
    weights: Floats


class Frame:
    """Hypotheses of up to two causes at once: enough to fit, and eight times fewer than the diagnosis has."""

    def __init__(self, rules: RuleSet) -> None:
        """Take the hand-written numbers of rules without fitted ones."""
        network = rules.network
        few = network.members.sum(axis=1) <= 2
        self.count = int(few.sum())
        self.causes = network.causes
        self.bits = network.bits
        self.log_prior: Floats = network.log_prior[: self.count]
        self.harmless: Flags = network.harmless[: self.count]
        harmful = np.array([cause not in rules.harmless for cause in self.causes])
        members = network.members[: self.count]
        self.harmful_members: Floats = members * harmful
        self.members: Floats = np.hstack([members, self.harmless[:, None].astype(float)])
        names = (*self.causes, HEALTHY)
        self.said: Flags = np.array([[cause in bit.says for bit in self.bits] for cause in names])
        self.hand = Numbers(
            strengths=np.array([[bit.says.get(cause, 0.0) for bit in self.bits] for cause in names]),
            leaks=np.array([bit.leak for bit in self.bits]), weights=np.ones(len(self.bits)),
        )  # fmt: skip

    def right(self, run: Run) -> Flags:
        """Return the hypotheses that are right: exactly the run's causes, or with harmless ones beside them."""
        found = np.zeros(self.count, dtype=bool)
        choices = [run.causes] if len(run.causes) > 1 else [frozenset({cause}) - {HEALTHY} for cause in run.accepted]
        members = self.members[:, :-1]
        for causes in choices:
            wanted = np.array([float(cause in causes) for cause in self.causes])
            harmful = self.harmful_members[1 : 1 + len(self.causes)].any(axis=1)
            same = (self.harmful_members == wanted * harmful).all(axis=1)
            found |= same & (members >= wanted).all(axis=1)
        return found

    def off(self, numbers: Numbers) -> Floats:
        """Return log P(off) of each bit under each hypothesis."""
        logs = np.log1p(-numbers.leaks) + self.members @ np.log1p(-numbers.strengths)
        return np.clip(logs, np.log(NEVER), np.log1p(-NEVER))

    def logs(self, data: Data, numbers: Numbers, temperature: float = 1.0) -> Floats:
        """Return the log-probability of each hypothesis (columns) on each row, up to a constant of the row."""
        off = self.off(numbers)
        on = np.log1p(-np.exp(off))
        weights = numbers.weights / temperature
        said = (data.on * weights) @ on.T + (data.off * weights) @ off.T
        return np.asarray(said + data.further + self.log_prior, dtype=np.float64)

    def named(self, data: Data, logs: Floats) -> Flags:
        """Whether what was made on each row is named: by the first name, or two faults by the first two."""
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        marginals = (shares / shares.sum(axis=1, keepdims=True)) @ self.members
        harmless = ~self.harmful_members[1 : len(self.causes) + 1].any(axis=1)
        # What is harmless stands beside `healthy`, the last column, with no more than its probability.
        marginals[:, :-1][:, harmless] = np.minimum(marginals[:, :-1][:, harmless], marginals[:, -1:])
        first = np.argsort(-marginals, axis=1)
        said = np.zeros(len(logs), dtype=bool)
        for row, (order, right) in enumerate(zip(first, data.right, strict=True)):
            sizes = self.harmful_members[right].sum(axis=1)
            wanted = self.members[right][sizes == sizes.min()] if len(sizes) else self.members[:0]
            count = 2 if len(sizes) and sizes.min() > 1 else 1
            said[row] = any(one[order[:count]].all() for one in wanted)
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Rows as the fit needs them: how far each bit is on and off, right hypotheses, and how much each row counts."""

    on: Floats
    off: Floats
    further: Floats
    right: Flags
    counts: Floats

    def only(self, chosen: Sequence[int] | Flags) -> Data:
        """Return some rows."""
        return Data(
            on=self.on[chosen], off=self.off[chosen], further=self.further[chosen], right=self.right[chosen],
            counts=self.counts[chosen],
        )  # fmt: skip


def data_of(frame: Frame, table: Table) -> Data:
    """Return a table's rows; one that no hypothesis explains counts nothing."""
    measured = np.isfinite(table.states)
    on = np.where(measured, table.states, 0.0)
    right = np.array([frame.right(row.run) for row in table.rows])
    counts = np.array([row.counts for row in table.rows]) * right.any(axis=1)
    return Data(
        on=on, off=np.where(measured, 1 - on, 0.0), further=table.further[:, : frame.count], right=right, counts=counts
    )


def loss_of(frame: Frame, data: Data, numbers: Numbers) -> tuple[float, Numbers]:
    """Return the log loss (nats) and its slope by the logits of strengths and leaks, and by the weights."""
    off = frame.off(numbers)
    on = np.log1p(-np.exp(off))
    loss, slope = log_loss(data, frame.logs(data, numbers))
    by_on, by_off = slope.T @ data.on, slope.T @ data.off
    # d log P(on) / d log P(off) is -P(off) / P(on).
    by_logs = (by_off - by_on * np.exp(off - on)) * numbers.weights
    return loss, Numbers(
        strengths=-numbers.strengths * (frame.members.T @ by_logs), leaks=-numbers.leaks * by_logs.sum(axis=0),
        weights=(by_on * on + by_off * off).sum(axis=0),
    )  # fmt: skip


def log_loss(data: Data, logs: Floats) -> tuple[float, Floats]:
    """Return the log loss (nats) of rows, and its slope by their hypotheses' log-probabilities."""
    counted = data.counts > 0
    right = np.where(data.right, logs, -np.inf)
    right[~counted] = logs[~counted]
    all_of, of_right = logsumexp(logs, axis=1), logsumexp(right, axis=1)
    slope = (np.exp(logs - all_of[:, None]) - np.exp(right - of_right[:, None])) * data.counts[:, None]
    return float(data.counts @ (all_of - of_right)), slope


def measured_in(table: Table) -> Flags:
    """Return which bits any row speaks of."""
    return np.asarray(np.isfinite(table.states).any(axis=0), dtype=np.bool_)


class Fit:
    """Numbers of one frame as one vector of what may move: logits of strengths and leaks, and weights."""

    def __init__(self, frame: Frame, table: Table) -> None:
        """Let move what some row speaks of: strengths of causes that were made where the bit was measured."""
        self.frame = frame
        seen = np.isfinite(table.states)
        made = np.array([[_made(row, cause) for cause in (*frame.causes, HEALTHY)] for row in table.rows])
        self.moves: Flags = frame.said & (made.T.astype(float) @ seen.astype(float) > 0)
        self.known: Flags = measured_in(table)

    @cached_property
    def _start(self) -> Floats:
        hand = self.frame.hand
        return np.concatenate([
            logit(hand.strengths[self.moves]), logit(hand.leaks[self.known]), hand.weights[self.known],
        ])  # fmt: skip

    def numbers(self, vector: Floats) -> Numbers:
        """Return the numbers of a vector; what may not move is as it was written."""
        strengths, leaks = self.frame.hand.strengths.copy(), self.frame.hand.leaks.copy()
        weights = self.frame.hand.weights.copy()
        first, second = int(self.moves.sum()), int(self.known.sum())
        strengths[self.moves] = expit(vector[:first])
        leaks[self.known] = expit(vector[first : first + second])
        weights[self.known] = vector[first + second :]
        return Numbers(strengths=strengths, leaks=leaks, weights=weights)

    def vector(self, data: Data, strength: float, start: Floats | None = None) -> Floats:
        """Return the vector that is best for these rows, with a penalty of that strength."""
        hand, free = self._start, len(self._start) - int(self.known.sum())
        scale = np.ones(len(hand))
        scale[free:] = _OF_WEIGHTS

        def penalised(vector: Floats) -> tuple[float, Floats]:
            loss, slope = loss_of(self.frame, data, self.numbers(vector))
            away = vector - hand
            steps = np.concatenate([slope.strengths[self.moves], slope.leaks[self.known], slope.weights[self.known]])
            return loss + strength / 2 * float(scale @ away**2), steps + strength * scale * away

        bounds = [(each - _MOST_MOVED, each + _MOST_MOVED) for each in hand[:free]]
        bounds += [(_LEAST_WEIGHT, 1.0)] * int(self.known.sum())
        found = minimize(
            penalised, hand if start is None else start, jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": _STEPS},
        )  # fmt: skip
        return np.asarray(found.x, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One penalty and temperature on injectors that were left out: the folds' rows, and the numbers for each.

    `right` is the share of rows (as they count) of which the first name is right, or the first two of two faults;
    `loss` the log loss in nats.
    """

    strength: float
    temperature: float
    right: float
    loss: float
    parts: tuple[tuple[Flags, Numbers], ...]


def tried(frame: Frame, table: Table, data: Data, strengths: Sequence[float] = STRENGTHS) -> list[Tried]:
    """Fit without each fold's injectors, with each penalty from the strongest to the weakest.

    The first one is what the hand-written numbers give. Each penalty is tried as it is, and with the temperature that
    makes the log loss least: that one changes the balance between evidence and priors, so it need not name more.
    """
    parts: dict[float, list[tuple[Flags, Numbers]]] = defaultdict(list)
    outs = folds(table.rows)
    for out in outs:
        fit = Fit(frame, table.only(np.flatnonzero(~out)))
        others, vector = data.only(~out), None
        for strength in sorted(strengths, reverse=True):
            vector = fit.vector(others, strength, vector)
            parts[strength].append((out, fit.numbers(vector)))
    # What counts are runs as they were measured: readings without layers are there to keep numbers from failing.
    judges = _judges(table)
    found = [_tried(frame, data, judges, [(out, frame.hand) for out in outs], np.inf, 1.0)]
    for strength, each in parts.items():
        heat = temperature_of(frame, [(data.only(out & judges), numbers) for out, numbers in each])
        found += [_tried(frame, data, judges, each, strength, one) for one in sorted({1.0, heat})]
    return found


def _tried(
    frame: Frame, data: Data, judges: Flags, parts: Sequence[tuple[Flags, Numbers]], strength: float,
    temperature: float,
) -> Tried:  # fmt: skip
    loss = right = total = 0.0
    for out, numbers in parts:
        part = data.only(out & judges)
        logs = frame.logs(part, numbers, temperature)
        loss += log_loss(part, logs)[0]
        right += float(part.counts @ frame.named(part, logs))
        total += float(part.counts.sum())
    return Tried(strength=strength, temperature=temperature, right=right / total, loss=loss, parts=tuple(parts))


def _judges(table: Table) -> Flags:
    return np.array([row.measured and not row.case for row in table.rows])


def fitted_of(frame: Frame, rules: RuleSet, numbers: Numbers, known: Flags, temperature: float = 1.0) -> Fitted:
    """Return the numbers of the evidence that the fit knows, rounded to three digits, as the file has them."""
    evidence = {each.name: each for each in rules.evidence}
    bits = {}
    for column in np.flatnonzero(known):
        each = evidence[frame.bits[column].name]
        names = [cause for row, cause in enumerate((*frame.causes, HEALTHY)) if frame.said[row, column]]
        strengths = dict(zip(names, numbers.strengths[frame.said[:, column], column], strict=True))
        bits[each.name] = FittedBit(
            of=each.digest, hand_says=dict(each.says), hand_leak=each.leak,
            bit=Bit(
                name=each.name, leak=round(float(numbers.leaks[column]), 4),
                weight=round(float(numbers.weights[column]), 2),
                says={cause: round(float(strengths.get(cause, hand)), 3) for cause, hand in each.says.items()},
            ),
        )  # fmt: skip
    return Fitted(temperature=temperature, bits=bits)


def _made(row: Row, cause: str) -> bool:
    return cause in row.run.causes if row.run.causes else cause == HEALTHY or cause in row.run.accepted


def folds(rows: Sequence[Row]) -> list[Flags]:
    """Share rows out so that an injector is whole in one fold, whatever reading of it; several folds for each cause.

    Where a cause has only one injector, its paths are shared out, as healthy runs are. Pairs of faults go by the pair.
    Cases of the unit tests go with their injector; those that no campaign has are in no fold.
    """
    injectors: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if not row.case:
            injectors[row.run.kind].add(row.run.injector)
    places: dict[tuple[str, str], int] = {}
    number: Counter[str] = Counter()
    found = [np.zeros(len(rows), dtype=bool) for _ in range(FOLDS)]
    for at, row in sorted(enumerate(rows), key=lambda item: item[1].case):
        run = row.run
        group = (run.kind, run.group if len(injectors[run.kind]) > 1 else run.path)
        if group not in places and not row.case:
            places[group] = number[run.kind]
            number[run.kind] += 1
        if group in places:
            found[places[group] % FOLDS][at] = True
    return [each for each in found if each.any()]


def temperature_of(frame: Frame, parts: Sequence[tuple[Data, Numbers]]) -> float:
    """Return what the evidence is to be divided by, so that probabilities of rows that were left out are best.

    It is never below 1: the conditions were written on some of these rows, so they look surer than they are.
    """
    found = minimize_scalar(
        lambda log_heat: sum(
            log_loss(data, frame.logs(data, numbers, float(np.exp(log_heat))))[0] for data, numbers in parts
        ),
        bounds=(0.0, np.log(_HOTTEST)), method="bounded",
    )  # fmt: skip
    return max(1.0, round(float(np.exp(found.x)), 2))
