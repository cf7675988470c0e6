"""Turns a judgement into causes, most probable first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.diagnose.engine import Judgement, RuleOutcome, judge, noisy_or
from perfcheck.diagnose.rule import SEVERITIES, RuleSet
from perfcheck.model.causes import CAUSES
from perfcheck.model.metric import Metrics
from perfcheck.model.record import DiagnosisRecord

MIN_CONFIDENCE: Final = 0.2
"""Causes below it are left out, unless nothing else remains."""
MAX_CONFIDENCE: Final = 0.99
"""Rules are no proof."""
NO_SYMPTOM: Final = 0.5
"""Confidence in `healthy` when symptoms could be judged and none was there."""

_UNKNOWN_ADVICE: Final = (
    "No rule explains the symptom. Measure more layers, run more trials, or write what you find as a rule."
)


def diagnose(
    rules: RuleSet, metrics: Metrics, trials: Sequence[Metrics] = (), baseline: Mapping[str, float] | None = None
) -> tuple[DiagnosisRecord, ...]:
    """Return the causes that the rules see in a run, most probable first, at least one.

    `metrics` are the medians over the trials. `confidence` orders the causes; it is a combined
    weight of rules, not yet a calibrated probability.
    """
    return records(judge(rules, metrics, trials, baseline))


def records(judgement: Judgement) -> tuple[DiagnosisRecord, ...]:
    """Return the causes of a judgement; see `diagnose`."""
    held = _by_cause(judgement)
    strengths = _symptom_strengths(judgement)
    confidences = {cause: noisy_or(each.strength for each in outcomes) for cause, outcomes in held.items()}
    found = [
        _record(judgement, cause, confidences[cause], outcomes, strengths)
        for cause, outcomes in held.items()
        if cause != "healthy"
    ]
    found.append(_healthy(judgement, held, strengths))
    found.append(_unknown(judgement, held, confidences, strengths))
    found.sort(key=lambda record: (-record.confidence, CAUSES.index(record.cause)))
    listed = [record for record in found if record.confidence >= MIN_CONFIDENCE]
    return tuple(listed or [_nothing(judgement)])


def _by_cause(judgement: Judgement) -> dict[str, list[RuleOutcome]]:
    held: dict[str, list[RuleOutcome]] = {}
    for each in judgement.rules:
        if each.strength > 0:
            held.setdefault(each.rule.cause, []).append(each)
    return held


def _symptom_strengths(judgement: Judgement) -> dict[str, float]:
    signs: dict[str, list[float]] = {}
    for each in judgement.symptoms:
        if each.strength > 0:
            signs.setdefault(each.symptom.symptom, []).append(each.strength)
    return {symptom: noisy_or(strengths) for symptom, strengths in signs.items()}


def _record(
    judgement: Judgement, cause: str, confidence: float, outcomes: Sequence[RuleOutcome], present: Mapping[str, float]
) -> DiagnosisRecord:
    explained = {symptom for each in outcomes for symptom in each.rule.explains if symptom in present}
    declared = dict.fromkeys(each.symptom.symptom for each in judgement.symptoms)
    chain = (cause, *(symptom for symptom in declared if symptom in explained)) if explained else ()
    return DiagnosisRecord(
        cause=cause,
        confidence=_bounded(confidence),
        evidence_for=tuple(each.evidence for each in outcomes),
        evidence_against=tuple(dict.fromkeys(text for each in outcomes for text in each.against)),
        chain=chain,
        advice=max(outcomes, key=lambda each: each.strength).rule.advice,
        severity=max((each.rule.severity for each in outcomes), key=SEVERITIES.index),
    )


def _healthy(
    judgement: Judgement, held: Mapping[str, Sequence[RuleOutcome]], present: Mapping[str, float]
) -> DiagnosisRecord:
    """Weigh what speaks for a healthy run against every symptom and every harmful cause."""
    own = held.get("healthy", ())
    judged = [each for each in judgement.symptoms if each.outcome.state != "not applicable"]
    calm = bool(judged) and not present
    harm = [
        each.strength for cause, outcomes in held.items() if cause != "healthy"
        for each in outcomes if each.rule.severity != "info"
    ]  # fmt: skip
    spoilt = noisy_or([*harm, *present.values()])
    seen_for = [each.evidence for each in own]
    if calm:
        seen_for.append(f"none of {len(judged)} symptoms that could be judged was found")
    seen_against = [each.evidence for each in judgement.symptoms if each.strength > 0]
    seen_against += [text for each in own for text in each.against]
    return DiagnosisRecord(
        cause="healthy",
        confidence=_bounded(noisy_or([*(each.strength for each in own), NO_SYMPTOM * calm]) * (1 - spoilt)),
        evidence_for=tuple(seen_for),
        evidence_against=(*dict.fromkeys(seen_against), *_not_judged(judgement)),
        advice=max(own, key=lambda each: each.strength).rule.advice if own else "Nothing to do.",
    )


def _unknown(
    judgement: Judgement, held: Mapping[str, Sequence[RuleOutcome]], confidences: Mapping[str, float],
    present: Mapping[str, float],
) -> DiagnosisRecord:  # fmt: skip
    """Return what remains of the strongest symptom after every cause that explains it."""
    remains: dict[str, float] = {}
    for symptom, strength in present.items():
        explaining = [
            confidences[cause] for cause, outcomes in held.items()
            if any(symptom in each.rule.explains for each in outcomes)
        ]  # fmt: skip
        remains[symptom] = strength * math.prod(1 - confidence for confidence in explaining)
    open_symptoms = [each for each in judgement.symptoms if remains.get(each.symptom.symptom, 0) >= MIN_CONFIDENCE]
    return DiagnosisRecord(
        cause="unknown",
        confidence=_bounded(max(remains.values(), default=0.0)),
        evidence_for=tuple(each.evidence for each in open_symptoms if each.evidence),
        evidence_against=_not_judged(judgement),
        advice=_UNKNOWN_ADVICE,
        severity="warning",
    )


def _nothing(judgement: Judgement) -> DiagnosisRecord:
    """Say that nothing can be said: too little was measured, or no rule speaks for or against anything."""
    text = "no rule applies, not even one for a healthy run" if judgement.measured else "no metric was measured"
    return DiagnosisRecord(
        cause="unknown", confidence=MAX_CONFIDENCE, evidence_for=(text,), evidence_against=_not_judged(judgement),
        advice=_UNKNOWN_ADVICE, severity="warning",
    )  # fmt: skip


def _not_judged(judgement: Judgement) -> tuple[str, ...]:
    """Name the causes of which no rule could be judged, and one metric each that was missing."""
    causes: dict[str, list[RuleOutcome]] = {}
    for each in judgement.rules:
        causes.setdefault(each.rule.cause, []).append(each)
    lacking = {
        cause: outcomes[0].outcome.lacks[:1] for cause, outcomes in causes.items()
        if cause != "healthy" and all(each.outcome.state == "not applicable" for each in outcomes)
    }  # fmt: skip
    if not lacking:
        return ()
    named = ", ".join(f"{cause} (needs {lacks[0]})" if lacks else cause for cause, lacks in lacking.items())
    return (f"not judged, because metrics are missing: {named}",)


def _bounded(confidence: float) -> float:
    return round(min(confidence, MAX_CONFIDENCE), 3)
