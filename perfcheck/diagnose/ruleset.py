"""All that the rule files say, and the network that is made of it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from perfcheck.diagnose.causality import Causality
from perfcheck.diagnose.fitted import NOT_FITTED, Fitted
from perfcheck.diagnose.network import Bit, Network
from perfcheck.diagnose.rule import SEVERITIES, Cause, Evidence, Rule, Symptom, Term
from perfcheck.diagnose.tree import Branch
from perfcheck.model.causes import CAUSES, HEALTHY, UNKNOWN

PRIOR: Final = 0.02
"""Probability of a cause, where no file says another: about one run in three has one of 22."""
PRIOR_OF_UNKNOWN: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """All rules, symptoms and evidence in the order of their files, what can cause what, and the decision tree."""

    rules: tuple[Rule, ...]
    symptoms: tuple[Symptom, ...]
    terms: tuple[Term, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    causes: Mapping[str, Cause] = field(default_factory=dict)
    fitted: Fitted = NOT_FITTED
    causality: Causality = field(default_factory=Causality)
    tree: tuple[Branch, ...] = ()

    def for_cause(self, cause: str) -> Sequence[Rule]:
        """Return the rules of one cause."""
        return tuple(rule for rule in self.rules if rule.cause == cause)

    @cached_property
    def network(self) -> Network:
        """The network of the causes that any rule or evidence looks for; nobody can name the others."""
        sought = {rule.cause for rule in self.rules}.union(*(each.says for each in self.evidence)) | {UNKNOWN}
        named = [cause for cause in CAUSES if cause in sought and cause != HEALTHY]
        bits = (self.fitted.bit(each) or Bit(name=each.name, says=each.says, leak=each.leak) for each in self.evidence)
        return Network({cause: self.prior(cause) for cause in named}, bits, harmless=self.harmless)

    @cached_property
    def harmless(self) -> frozenset[str]:
        """The causes that no rule calls more than information; they leave a run healthy."""
        worst: dict[str, int] = {}
        for rule in self.rules:
            worst[rule.cause] = max(worst.get(rule.cause, 0), SEVERITIES.index(rule.severity))
        for name, cause in self.causes.items():
            if cause.severity is not None:
                worst[name] = max(worst.get(name, 0), SEVERITIES.index(cause.severity))
        return frozenset(name for name, severity in worst.items() if severity == 0)

    @cached_property
    def explains(self) -> Mapping[str, frozenset[str]]:
        """The symptoms that each cause explains, by its rules and its entry in `causes`."""
        found = {name: set(cause.explains) for name, cause in self.causes.items()}
        for rule in self.rules:
            found.setdefault(rule.cause, set()).update(rule.explains)
        return {name: frozenset(symptoms) for name, symptoms in found.items()}

    def prior(self, cause: str) -> float:
        """Return the probability of a cause before anything is measured."""
        stated = self.causes.get(cause, Cause(name=cause)).prior
        return stated or (PRIOR_OF_UNKNOWN if cause == UNKNOWN else PRIOR)
