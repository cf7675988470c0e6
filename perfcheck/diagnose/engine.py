"""Applies rules to one run: finds which hold, how strongly, and in how many trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from perfcheck.diagnose.condition import Condition
from perfcheck.diagnose.evaluation import Reading, facts, holds, why_unknown
from perfcheck.diagnose.rule import Evidence, Judged, Rule, Symptom
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.model.metric import Metrics

State = Literal["holds", "fails", "not applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one condition came out.

    `share` is the share of the trials in which it held, of those that could tell. `lacks` says
    what was missing where the condition is not applicable.
    """

    state: State
    share: float = 0.0
    facts: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def factor(self) -> float:
        """What a weight is multiplied by: 1 where it held in every trial, 1/2 where only the medians say so."""
        return (1 + self.share) / 2 if self.state == "holds" else 0.0

    @property
    def state_of_bit(self) -> float | None:
        """How far the condition is on: its factor, or None where it could not be judged."""
        return None if self.state == "not applicable" else self.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """One rule on one run; `strength` is its weight after the trials and what speaks against it had their say."""

    rule: Rule
    outcome: Outcome
    strength: float
    evidence: str
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomOutcome:
    """One sign of a symptom on one run."""

    symptom: Symptom
    outcome: Outcome
    strength: float
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOutcome:
    """One entry of evidence on one run; `sentence` says what was seen, or what was not."""

    evidence: Evidence
    outcome: Outcome
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Every rule, symptom and entry of evidence on one run, those that could not be judged included."""

    rule_set: RuleSet
    rules: tuple[RuleOutcome, ...]
    symptoms: tuple[SymptomOutcome, ...]
    evidence: tuple[EvidenceOutcome, ...]
    measured: int

    def states(self) -> dict[str, float | None]:
        """Return how far each condition holds, 0 to 1, by name; None where it could not be judged.

        A rule with evidence against it that takes half of its weight or more counts as one that does not hold.
        """
        found = {each.evidence.name: each.outcome.state_of_bit for each in self.evidence}
        found |= {each.symptom.name: each.outcome.state_of_bit for each in self.symptoms}
        for each in self.rules:
            refuted = each.outcome.state == "holds" and each.strength <= each.rule.weight * each.outcome.factor / 2
            found[each.rule.name] = 0.0 if refuted else each.outcome.state_of_bit
        return found


def judge(
    rules: RuleSet, metrics: Metrics, trials: Sequence[Metrics] = (), baseline: Mapping[str, float] | None = None, *,
    told: bool = True,
) -> Judgement:  # fmt: skip
    """Apply every rule to the medians `metrics` and to each trial; values are in the metrics' own units.

    Without `told` no values are put into words: who wants only states has them twice as fast.
    """
    reading = Reading(metrics=metrics, trials=tuple(trials), baseline=baseline or {})
    # One reading a trial for all conditions, so that what they share is evaluated once in each trial, too.
    runs = tuple(replace(reading, metrics=trial) for trial in reading.trials)
    return Judgement(
        rule_set=rules,
        rules=tuple(_judge_rule(rule, reading, runs, told=told) for rule in rules.rules),
        symptoms=tuple(_judge_symptom(symptom, reading, runs, told=told) for symptom in rules.symptoms),
        evidence=tuple(_judge_evidence(each, reading, runs, told=told) for each in rules.evidence),
        measured=len(metrics),
    )


def noisy_or(strengths: Iterable[float]) -> float:
    """Combine independent strengths in 0..1: each that holds explains a part of what the others left open."""
    return 1.0 - math.prod(1.0 - strength for strength in strengths)


def _judge_rule(rule: Rule, reading: Reading, runs: Sequence[Reading], *, told: bool) -> RuleOutcome:
    outcome = _outcome(rule.condition, rule.judged, reading, runs, told=told)
    strength = rule.weight * outcome.factor
    against: list[str] = []
    if strength:
        for counter in rule.against:
            opposed = _outcome(counter.condition, rule.judged, reading, runs, told=told)
            if opposed.state == "holds":
                strength *= 1.0 - counter.weight * opposed.factor
                against.append(_sentence(counter.evidence, opposed, reading))
    return RuleOutcome(
        rule=rule, outcome=outcome, strength=strength, evidence=_sentence(rule.evidence, outcome, reading),
        against=tuple(against),
    )  # fmt: skip


def _judge_symptom(symptom: Symptom, reading: Reading, runs: Sequence[Reading], *, told: bool) -> SymptomOutcome:
    outcome = _outcome(symptom.condition, symptom.judged, reading, runs, told=told)
    return SymptomOutcome(
        symptom=symptom, outcome=outcome, strength=symptom.weight * outcome.factor,
        evidence=_sentence(symptom.evidence, outcome, reading),
    )  # fmt: skip


def _judge_evidence(evidence: Evidence, reading: Reading, runs: Sequence[Reading], *, told: bool) -> EvidenceOutcome:
    outcome = _outcome(evidence.condition, evidence.judged, reading, runs, evidence.given, told=told)
    sentence = _sentence(evidence.sentence, outcome, reading)
    if told and outcome.state == "fails":
        seen = ", ".join(facts(evidence.condition, reading, wanted=False))
        sentence = f"not so: {evidence.sentence}: {seen}" if seen else f"not so: {evidence.sentence}"
    return EvidenceOutcome(evidence=evidence, outcome=outcome, sentence=sentence)


def _outcome(
    condition: Condition, judged: Judged, reading: Reading, runs: Sequence[Reading], given: Condition | None = None, *,
    told: bool,
) -> Outcome:  # fmt: skip
    results = [_holds_given(condition, given, run) for run in runs]
    known = [result for result in results if result is not None]
    share = sum(known) / len(known) if known else 1.0
    overall = _holds_given(condition, given, reading)
    if overall:
        return Outcome(state="holds", share=share, facts=facts(condition, reading) if told else ())
    if judged == "any_trial" and True in results:
        seen = facts(condition, runs[results.index(True)]) if told else ()
        return Outcome(state="holds", share=share, facts=seen)
    if overall is None and not told:
        return Outcome(state="not applicable")
    if overall is None:
        lacking = condition if given is None or holds(given, reading) else given
        return Outcome(state="not applicable", lacks=why_unknown(lacking, reading))
    return Outcome(state="fails")


def _holds_given(condition: Condition, given: Condition | None, reading: Reading) -> bool | None:
    return holds(condition, reading) if given is None or holds(given, reading) else None


def _sentence(text: str, outcome: Outcome, reading: Reading) -> str:
    if outcome.state != "holds":
        return ""
    trials = len(reading.trials)
    often = f" (in {round(outcome.share * trials)} of {trials} runs)" if trials and outcome.share < 1 else ""
    return f"{text}: {', '.join(outcome.facts)}{often}" if outcome.facts else f"{text}{often}"
