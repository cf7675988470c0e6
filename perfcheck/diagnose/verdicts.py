"""Turns a judgement into causes, most probable first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from perfcheck.diagnose.engine import Judgement, RuleOutcome, judge, noisy_or
from perfcheck.diagnose.network import Posterior
from perfcheck.diagnose.rule import SEVERITIES, Severity
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.diagnose.weighed import is_remark, log_likelihoods
from perfcheck.model.causes import CAUSES, HEALTHY, UNKNOWN
from perfcheck.model.metric import Metrics
from perfcheck.model.record import DiagnosisRecord

MIN_CONFIDENCE: Final = 0.2
"""Causes below it are left out, unless nothing else remains."""
MAX_CONFIDENCE: Final = 0.99
"""Rules are no proof."""
_MOST_UNKNOWN: Final = 0.98
"""Of a symptom that nothing explains; `MAX_CONFIDENCE` says that too little was measured."""
_MIN_RATIO: Final = math.log(2)
"""Evidence is told if it makes its cause twice as probable against a healthy run, or half as probable."""
_MOST_TOLD: Final = 6
"""Pieces of evidence that are told for a cause beside its rules, and as many against it."""

_UNKNOWN_ADVICE: Final = (
    "No rule explains the symptom. Measure more layers, run more trials, or write what you find as a rule."
)
_NO_ADVICE: Final = "Look at the evidence; no file says what to do about this cause."


def diagnose(
    rules: RuleSet, metrics: Metrics, trials: Sequence[Metrics] = (), baseline: Mapping[str, float] | None = None
) -> tuple[DiagnosisRecord, ...]:
    """Return the causes that the rules see in a run, most probable first, at least one.

    `metrics` are the medians over the trials. `confidence` is the probability of the cause.
    """
    return records(judge(rules, metrics, trials, baseline))


def posterior(judgement: Judgement) -> Posterior:
    """Return the probabilities of all causes, those that `records` leaves out included."""
    network = judgement.rule_set.network
    return network.posterior(network.states(judgement.states()), log_likelihoods(judgement))


def records(judgement: Judgement) -> tuple[DiagnosisRecord, ...]:
    """Return the causes of a judgement; see `diagnose`."""
    if not _says_something(judgement):
        return (_nothing(judgement),)
    found = posterior(judgement)
    listed = [
        _record(judgement, cause, probability, found)
        for cause, probability in _probabilities(judgement, found).items()
        if probability >= MIN_CONFIDENCE and cause != UNKNOWN
    ]
    listed += [_healthy(judgement, found), _unknown(judgement, found)]
    listed.sort(key=lambda record: (-record.confidence, _comes_late(record.cause, judgement, found)))
    return tuple([each for each in listed if each.confidence >= MIN_CONFIDENCE] or listed[:1])


def _comes_late(cause: str, judgement: Judgement, found: Posterior) -> tuple[bool, int]:
    """Order causes of one confidence: a harmless one goes before `healthy` if it is the surer of the two."""
    surer = cause in judgement.rule_set.harmless and found.causes.get(cause, 0.0) > found.healthy
    return not surer, CAUSES.index(cause)


def _says_something(judgement: Judgement) -> bool:
    return (
        any(each.strength > 0 for each in judgement.rules)
        or any(each.outcome.state != "not applicable" for each in judgement.symptoms)
        or any(each.outcome.state != "not applicable" for each in judgement.evidence)
    )


def _probabilities(judgement: Judgement, found: Posterior) -> dict[str, float]:
    """Return each cause's probability; what is harmless, and a mere remark, count as far as the run is healthy."""
    remarks: dict[str, list[float]] = {}
    for each in judgement.rules:
        if each.strength > 0 and is_remark(each, judgement.rule_set):
            remarks.setdefault(each.rule.cause, []).append(each.strength)
    harmless = judgement.rule_set.harmless
    return {
        cause: max(
            min(probability, found.healthy) if cause in harmless else probability,
            noisy_or(remarks.get(cause, ())) * found.healthy,
        )
        for cause, probability in found.causes.items()
    }


def _held(judgement: Judgement, cause: str) -> list[RuleOutcome]:
    return [each for each in judgement.rules if each.strength > 0 and each.rule.cause == cause]


def _present(judgement: Judgement) -> dict[str, None]:
    """Return the symptoms that are there, in the order in which the files declare them."""
    return dict.fromkeys(each.symptom.symptom for each in judgement.symptoms if each.strength > 0)


def _record(judgement: Judgement, cause: str, confidence: float, found: Posterior) -> DiagnosisRecord:
    rules, held = judgement.rule_set, _held(judgement, cause)
    said = rules.causes.get(cause)
    explained = {symptom for each in held for symptom in each.rule.explains}
    explained |= rules.explains.get(cause, frozenset()) if not held else set()
    chain = [symptom for symptom in _present(judgement) if symptom in explained]
    seen, missed = _told(judgement, cause)
    counters = dict.fromkeys(text for each in held for text in each.against)
    severities: list[Severity] = [each.rule.severity for each in held] or [
        said.severity if said is not None and said.severity is not None else "warning"
    ]
    if found.causes[cause] >= MIN_CONFIDENCE and said is not None and said.severity is not None:
        severities.append(said.severity)
    advice = max(held, key=lambda each: each.strength).rule.advice if held else said.advice if said else None
    return DiagnosisRecord(
        cause=cause,
        confidence=_bounded(confidence),
        evidence_for=tuple(dict.fromkeys([*(each.evidence for each in held), *seen]))
        or ("nothing else explains what was measured as well",),
        evidence_against=tuple(dict.fromkeys([*counters, *missed])),
        chain=(cause, *chain) if chain else (),
        advice=advice or _NO_ADVICE,
        severity=max(severities, key=SEVERITIES.index),
    )


def _told(judgement: Judgement, cause: str) -> tuple[list[str], list[str]]:
    """Return what bits say for and against a cause, the strongest first; its own rules are told elsewhere."""
    network = judgement.rule_set.network
    shares = network.contributions(network.states(judgement.states()), cause)
    texts = dict(_texts(judgement, cause))
    order = sorted(range(len(shares)), key=lambda at: -abs(shares[at]))
    named = [(shares[at], texts[network.bits[at].name]) for at in order if network.bits[at].name in texts]
    seen = [text for share, text in named if share >= _MIN_RATIO]
    missed = [text for share, text in named if share <= -_MIN_RATIO]
    return seen[:_MOST_TOLD], missed[:_MOST_TOLD]


def _texts(judgement: Judgement, cause: str) -> Iterator[tuple[str, str]]:
    """Yield names and sentences of all conditions that were judged, but for the cause's rules that hold."""
    for each in judgement.evidence:
        if each.sentence:
            yield each.evidence.name, each.sentence
    for sign in judgement.symptoms:
        if sign.outcome.state != "not applicable":
            yield sign.symptom.name, sign.evidence or f"not so: {sign.symptom.evidence}"
    for rule in judgement.rules:
        if rule.outcome.state != "not applicable" and not (rule.rule.cause == cause and rule.strength > 0):
            yield rule.rule.name, rule.evidence or f"not so: {rule.rule.evidence}"


def _healthy(judgement: Judgement, found: Posterior) -> DiagnosisRecord:
    """Say what speaks for a run in which nothing is wrong, and what against it."""
    own = _held(judgement, HEALTHY)
    judged = [each for each in judgement.symptoms if each.outcome.state != "not applicable"]
    seen_for = [each.evidence for each in own]
    if judged and not _present(judgement):
        seen_for.append(f"none of {len(judged)} symptoms that could be judged was found")
    seen_against = [each.evidence for each in judgement.symptoms if each.strength > 0]
    seen_against += [text for each in own for text in each.against]
    return DiagnosisRecord(
        cause=HEALTHY,
        confidence=_bounded(found.healthy),
        evidence_for=tuple(seen_for) or ("no cause is probable after what was measured",),
        evidence_against=(*dict.fromkeys(seen_against), *_not_judged(judgement)),
        advice=max(own, key=lambda each: each.strength).rule.advice if own else "Nothing to do.",
    )


def _unknown(judgement: Judgement, found: Posterior) -> DiagnosisRecord:
    """Name the symptoms that no probable cause explains, or all where each is explained."""
    explained = {
        symptom for cause, probability in found.causes.items() if probability >= 0.5 and cause != UNKNOWN
        for symptom in judgement.rule_set.explains.get(cause, ())
    }  # fmt: skip
    signs = [each for each in judgement.symptoms if each.strength > 0]
    open_signs = [each for each in signs if each.symptom.symptom not in explained] or signs
    return DiagnosisRecord(
        cause=UNKNOWN,
        confidence=_bounded(min(found.causes[UNKNOWN], _MOST_UNKNOWN)),
        evidence_for=tuple(dict.fromkeys(each.evidence for each in open_signs))
        or ("what was measured fits no cause that is known",),
        evidence_against=_not_judged(judgement),
        advice=_UNKNOWN_ADVICE,
        severity="warning",
    )


def _nothing(judgement: Judgement) -> DiagnosisRecord:
    """Say that nothing can be said: too little was measured, or no rule speaks for or against anything."""
    text = "no rule applies, not even one for a healthy run" if judgement.measured else "no metric was measured"
    return DiagnosisRecord(
        cause=UNKNOWN, confidence=MAX_CONFIDENCE, evidence_for=(text,), evidence_against=_not_judged(judgement),
        advice=_UNKNOWN_ADVICE, severity="warning",
    )  # fmt: skip


def _not_judged(judgement: Judgement) -> tuple[str, ...]:
    """Name the causes of which no rule or evidence could be judged, and one metric each that was missing."""
    lacks: dict[str, list[tuple[str, ...]]] = {}
    seen: set[str] = set()
    conditions = [(each.rule.cause, each.outcome) for each in judgement.rules]
    conditions += [(cause, each.outcome) for each in judgement.evidence for cause in each.evidence.says]
    for cause, outcome in conditions:
        lacks.setdefault(cause, []).append(outcome.lacks)
        if outcome.state != "not applicable":
            seen.add(cause)
    lacking = {cause: each[0][:1] for cause, each in lacks.items() if cause not in seen | {HEALTHY, UNKNOWN}}
    if not lacking:
        return ()
    named = ", ".join(f"{cause} (needs {first[0]})" if first else cause for cause, first in lacking.items())
    return (f"not judged, because metrics are missing: {named}",)


def _bounded(confidence: float) -> float:
    return round(min(confidence, MAX_CONFIDENCE), 3)
