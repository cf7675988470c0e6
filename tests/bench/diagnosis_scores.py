"""How good diagnoses are: ranks, confusions, and whether probabilities can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from fault_runs import Run

from perfcheck.diagnose import Judgement, RuleSet, posterior
from perfcheck.model.causes import CAUSES, HEALTHY, UNKNOWN

Scores = Mapping[str, float]
"""A probability, or a confidence, of each cause that is named, `healthy` included."""

BESIDE: Final = "application_limited"
"""It may stand beside `healthy`: where it does with 0.5 or more, either name is right for a run of that label."""
_SAID: Final = 0.5
BINS: Final = 10
_DRAWS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was said of one run: causes, the most probable first, and the probability of the first."""

    run: Run
    ranked: tuple[str, ...]
    confidence: float
    beside: tuple[str, ...] = ()
    """Further causes that are said with 0.5 or more, `unknown` and what is harmless left out."""

    @property
    def named(self) -> str:
        """The name that counts in the confusion matrix."""
        return next(iter(self.run.accepted & set(self.ranked[:1])), self.ranked[0])

    @property
    def right(self) -> bool:
        """Whether the first name is one of those that are right."""
        return self.within(1)

    @property
    def wrong_second(self) -> bool:
        """Whether the first name is right, and another that is wrong stands beside it: a false alarm, too."""
        return self.right and any(cause not in self.run.accepted for cause in self.beside)

    @property
    def complete(self) -> bool:
        """Whether all that was made is named: of two faults both, among the first two."""
        return self.right if len(self.run.causes) < 2 else self.run.causes <= set(self.ranked[:2])

    def within(self, places: int) -> bool:
        """Whether a right name is among the first `places`."""
        return bool(self.run.accepted & set(self.ranked[:places]))


def answer(run: Run, scores: Scores) -> Answer:
    """Order the causes of one run."""
    ordered = sorted(scores, key=lambda cause: (-scores[cause], CAUSES.index(cause)))
    first = ordered[0]
    if first == HEALTHY and scores.get(BESIDE, 0.0) >= 0.5 and BESIDE in run.accepted:
        ordered = [BESIDE, *(cause for cause in ordered if cause != BESIDE)]
    beside = [cause for cause in ordered[1:] if scores[cause] >= _SAID and cause not in (HEALTHY, BESIDE, UNKNOWN)]
    return Answer(run=run, ranked=tuple(ordered), confidence=min(1.0, scores[first]), beside=tuple(beside))


def network_scores(rules: RuleSet, run: Run) -> Scores:
    """Return the network's probabilities of a run; what is the matter with one of its entries is so with the run."""
    return scores_of(run.reading.judged(rules), [entry.judged(rules) for entry in run.entries])


def scores_of(judgement: Judgement, entries: Sequence[Judgement]) -> Scores:
    """Return the same of a run that was judged already, with its traffic entries."""
    harmless = judgement.rule_set.harmless
    whole = posterior(judgement)
    found = dict(whole.causes) | {HEALTHY: whole.healthy}
    found |= {cause: min(found[cause], whole.healthy) for cause in harmless & found.keys()}
    for entry in entries:
        own = posterior(entry)
        cause = max(own.causes, key=lambda name: own.causes[name])
        if cause not in harmless and own.causes[cause] > own.healthy:
            found[cause] = max(found.get(cause, 0.0), own.causes[cause])
            found[HEALTHY] *= 1 - own.causes[cause]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All figures of one way to diagnose, over runs of one fault or none.

    `places` has the shares of runs with a right name among the first one to five, `average` is their mean (Avg@5).
    `chance` is what guessing among the labels gives, `lift` how many times as much the mean recall is. `both` is of
    double faults: those with both among the first two, and all. `wrong_seconds`: runs with a wrong cause of 0.5 or
    more beside the right one, and all. `intervals` are of 95 %, over whole injectors.
    """

    runs: int
    places: tuple[float, ...]
    average: float
    chance: float
    lift: float
    macro_f1: float
    worst_recall: tuple[str, float]
    healthy: int
    false_alarms: int
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    calibration_error: float
    both: tuple[int, int]
    wrong_seconds: tuple[int, int]
    intervals: Mapping[str, tuple[float, float]]


def summary(answers: Sequence[Answer]) -> Summary:
    """Return the figures of these answers; there must be one of a single fault or of a healthy run."""
    single = [each for each in answers if len(each.run.causes) < 2]
    double = [each for each in answers if len(each.run.causes) > 1]
    recalls = recalls_of(single)
    brier, reliability, resolution, uncertainty, error = believed(single)
    chance, right = 1 / len(recalls), sum(recalls.values()) / len(recalls)
    places = tuple(_share_within(single, count) for count in range(1, 6))
    intervals = {
        "ac1": interval(single, lambda some: _share_within(some, 1)),
        "ac2": interval(single, lambda some: _share_within(some, 2)),
        "macro_f1": interval(single, macro_f1),
        "brier": interval(single, lambda some: believed(some)[0]),
        "calibration_error": interval(single, lambda some: believed(some)[4]),
    }
    if double:
        intervals["both"] = interval(double, lambda some: sum(each.complete for each in some) / len(some))
    return Summary(
        runs=len(single), places=places, average=sum(places) / len(places), chance=chance, lift=right / chance,
        macro_f1=macro_f1(single),
        worst_recall=min(recalls.items(), key=lambda item: item[1]),
        healthy=sum(not each.run.causes for each in single),
        false_alarms=sum(not each.run.causes and not each.right for each in single),
        brier=brier, reliability=reliability, resolution=resolution, uncertainty=uncertainty, calibration_error=error,
        both=(sum(each.complete for each in double), len(double)),
        wrong_seconds=(sum(each.wrong_second for each in single), len(single)), intervals=intervals,
    )  # fmt: skip


def _share_within(answers: Sequence[Answer], places: int) -> float:
    return sum(each.within(places) for each in answers) / len(answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCause:
    """How often one cause is named on the runs in which it alone was made: first, and among the first two.

    `named` is in how many runs with one fault or none it was named first, rightly or not.
    """

    runs: int
    first: int
    among_two: int
    named: int


def of_causes(answers: Sequence[Answer]) -> dict[str, OfCause]:
    """Return how often each cause is named; `healthy` is one of them, and double faults are left out."""
    found: dict[str, list[Answer]] = {}
    for each in answers:
        if len(each.run.causes) < 2:
            found.setdefault(each.run.label, []).append(each)
    named = Counter(each.named for own in found.values() for each in own)
    return {
        label: OfCause(
            runs=len(own),
            first=sum(each.right for each in own),
            among_two=sum(each.within(2) for each in own),
            named=named[label],
        )
        for label, own in sorted(found.items(), key=lambda item: CAUSES.index(item[0]))
    }


def recalls_of(answers: Sequence[Answer]) -> dict[str, float]:
    """Return the share of each label's runs that are named rightly."""
    number = Counter(each.run.label for each in answers)
    right = Counter(each.run.label for each in answers if each.right)
    return {label: right[label] / number[label] for label in sorted(number, key=CAUSES.index)}


def macro_f1(answers: Sequence[Answer]) -> float:
    """Return the mean of the labels' F1: harmonic means of recall and precision."""
    number = Counter(each.run.label for each in answers)
    named = Counter(each.run.label if each.right else each.named for each in answers)
    right = Counter(each.run.label for each in answers if each.right)
    return float(np.mean([2 * right[label] / (number[label] + named[label]) for label in number]))


def believed(answers: Sequence[Answer]) -> tuple[float, float, float, float, float]:
    """Return Brier score, reliability, resolution, uncertainty (of the score's decomposition), calibration error.

    All are of the first name: its probability against whether it is right. Equal bins of probability.
    """
    said = np.array([each.confidence for each in answers])
    right = np.array([each.right for each in answers], dtype=float)
    base = float(right.mean())
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    reliability = resolution = error = 0.0
    for each in range(BINS):
        inside = place == each
        if inside.any():
            share, mean, hit = float(inside.mean()), float(said[inside].mean()), float(right[inside].mean())
            reliability += share * (mean - hit) ** 2
            resolution += share * (hit - base) ** 2
            error += share * abs(mean - hit)
    return float(((said - right) ** 2).mean()), reliability, resolution, base * (1 - base), error


def interval(answers: Sequence[Answer], figure: Callable[[Sequence[Answer]], float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a figure; whole injectors are drawn, since their runs are alike."""
    groups: dict[str, list[Answer]] = {}
    for each in answers:
        groups.setdefault(each.run.injector if each.run.causes else each.run.path, []).append(each)
    names = sorted(groups)
    chance = np.random.default_rng(1)
    figures = []
    for _ in range(_DRAWS):
        drawn = [each for at in chance.integers(len(names), size=len(names)) for each in groups[names[at]]]
        figures.append(figure(drawn))
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)


def confusion(answers: Sequence[Answer]) -> dict[str, Counter[str]]:
    """Return what was named first, by the label of the run."""
    found: dict[str, Counter[str]] = {}
    for each in sorted(answers, key=lambda one: one.run.label):
        found.setdefault(each.run.label, Counter())[each.named] += 1
    return found
