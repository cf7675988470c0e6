"""What rules and symptoms with hand-written weights say of each hypothesis.

A weight says how strongly the rule alone shows its cause. So the rules of a cause are joined by noisy-OR, and their
joint weight becomes a likelihood ratio: from the usual prior it makes the joint weight of the cause's probability.
A rule that does not hold says nothing by itself, since most rules describe one situation of several. Only where nothing
but such rules speaks of a cause, and none of them holds, the cause becomes improbable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from perfcheck.diagnose.engine import Judgement, RuleOutcome, noisy_or
from perfcheck.diagnose.network import Floats
from perfcheck.diagnose.ruleset import PRIOR, PRIOR_OF_UNKNOWN, RuleSet
from perfcheck.model.causes import HEALTHY, UNKNOWN

MISSED: Final = 0.05
"""How probable it is that no rule of a cause holds although the cause is there."""
SHOWS: Final = 0.6
"""How often a cause that explains a symptom, or `unknown`, shows it."""
_MOST: Final = 0.99


def is_remark(outcome: RuleOutcome, rules: RuleSet) -> bool:
    """Whether a rule is information about a cause that can be harmful: it does not make the cause more probable."""
    return outcome.rule.severity == "info" and outcome.rule.cause not in rules.harmless | {HEALTHY}


def log_likelihoods(judgement: Judgement) -> Floats:
    """Return the log-likelihood of each hypothesis of the network, from all that counts by its weight."""
    network = judgement.rule_set.network
    present, absent = _symptoms(judgement)
    healthy = noisy_or(each.strength for each in judgement.rules if each.rule.cause == HEALTHY)
    doubt = math.log1p(-min(healthy, _MOST))
    states = judgement.states()
    each_cause = [_log_factor(judgement, cause, states, doubt) for cause in network.causes]
    # What is unknown shows itself by symptoms only. One of them is enough: it need not show all.
    each_cause[network.index[UNKNOWN]] = 0.0 if present else doubt + len(absent) * math.log1p(-SHOWS)
    logs: Floats = network.members @ np.array(each_cause)
    for symptom, strength in present.items():
        logs = logs + _log_of_symptom(judgement.rule_set, symptom, min(strength, _MOST))
    return logs


def _log_factor(judgement: Judgement, cause: str, states: Mapping[str, float | None], doubt: float) -> float:
    """Return what the rules of one cause say for it, as a log-likelihood ratio."""
    rules = judgement.rule_set
    own = [each for each in judgement.rules if each.rule.cause == cause and not is_remark(each, rules)]
    weight = noisy_or(each.strength for each in own)
    if weight > 0:
        return _logit(min(weight, _MOST)) - _logit(PRIOR)
    speaking = [bit for bit in rules.network.bits if cause in bit.says]
    if speaking:
        # Its bits speak for themselves. What makes a run look healthy is no bit, and counts unless one of them is on.
        return 0.0 if any(states.get(bit.name) and bit.says[cause] >= bit.leak for bit in speaking) else doubt
    judged = any(each.outcome.state != "not applicable" for each in own)
    return doubt + (math.log(MISSED) if judged else 0.0)


def _symptoms(judgement: Judgement) -> tuple[dict[str, float], set[str]]:
    """Return the strengths of the symptoms that are there, and those that could be judged and are not."""
    signs: dict[str, list[float]] = {}
    for each in judgement.symptoms:
        if each.outcome.state != "not applicable":
            signs.setdefault(each.symptom.symptom, []).append(each.strength)
    joined: Mapping[str, float] = {symptom: noisy_or(strengths) for symptom, strengths in signs.items()}
    return (
        {symptom: strength for symptom, strength in joined.items() if strength > 0},
        {symptom for symptom, strength in joined.items() if strength == 0},
    )


def _log_of_symptom(rules: RuleSet, symptom: str, strength: float) -> Floats:
    """Return log P(symptom) of each hypothesis; alone it makes `unknown` as probable as its strength says."""
    network = rules.network
    leak = SHOWS * PRIOR_OF_UNKNOWN / (1 - PRIOR_OF_UNKNOWN) * (1 - strength) / strength
    explaining = _explaining(rules, symptom)
    absent = (1 - min(leak, SHOWS)) * (1 - SHOWS) ** (network.members @ explaining)
    logs: Floats = np.log1p(-absent)
    return logs


def _explaining(rules: RuleSet, symptom: str) -> Floats:
    causes: Sequence[str] = rules.network.causes
    found = [cause == UNKNOWN or symptom in rules.explains.get(cause, frozenset()) for cause in causes]
    return np.array(found, dtype=np.float64)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
