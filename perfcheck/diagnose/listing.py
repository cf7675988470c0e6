"""Explains rules to people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.diagnose.rule import Evidence, Rule
from perfcheck.diagnose.ruleset import RuleSet
from perfcheck.model.causes import CAUSES

_STRONG: Final = 0.3
"""Evidence that a cause shows less often than this is named only."""
_USUAL: Final = 0.6
"""A bit that a cause turns on so often speaks against the cause where it is off."""


def explain(rules: RuleSet) -> str:
    """Return all terms, symptoms, evidence and rules as Markdown, causes in the order of the catalogue of causes."""
    return "\n".join([*_terms(rules), *_symptoms(rules), *_evidence(rules), *_priors(rules), *_causes(rules)]) + "\n"


def explain_cause(rules: RuleSet, cause: str) -> str:
    """Return what shows one cause and what speaks against it as Markdown, the strongest evidence first."""
    return "\n".join([*_shows(rules, cause), *_against(rules, cause)]) + "\n"


def _shows(rules: RuleSet, cause: str) -> Iterator[str]:
    bits = _bits(rules, cause)
    strong = [each for each in bits if each.says[cause] >= _STRONG]
    if bits or rules.for_cause(cause):
        yield "## What shows it"
    else:
        yield "No evidence shows it: it is what is left where no other cause explains a symptom."
    if strong:
        yield ""
        yield "| layer | evidence | | seen with this cause | seen without any |"
        yield "|---|---|---|---:|---:|"
    for each in strong:
        seen = f"{each.says[cause]:.0%} | {each.leak:.1%}"
        yield f"| {each.layer or ''} | {each.name} | {_cell(each.sentence)} | {seen} |"
    weak = [each.name for each in bits if each.says[cause] < _STRONG]
    if weak:
        yield ""
        yield f"Less often: {', '.join(weak)}."
    for rule in rules.for_cause(cause):
        yield ""
        yield f"- **{rule.name}** (weight {rule.weight:g}, {rule.severity}): {rule.evidence}."


def _against(rules: RuleSet, cause: str) -> Iterator[str]:
    usual = [each.name for each in _bits(rules, cause) if each.says[cause] >= _USUAL]
    counters = [counter for rule in rules.for_cause(cause) for counter in rule.against]
    if not usual and not counters:
        return
    yield ""
    yield "## What speaks against it"
    if usual:
        yield ""
        yield f"- One of these was measured, and does not hold: {', '.join(usual)}."
    for text in dict.fromkeys(f"{counter.evidence}: `{counter.text}`" for counter in counters):
        yield ""
        yield f"- {text}"


def _bits(rules: RuleSet, cause: str) -> list[Evidence]:
    """Return the evidence that the cause turns on more often than nothing does, the strongest first."""
    own = [each for each in rules.evidence if each.says.get(cause, 0.0) > each.leak]
    return sorted(own, key=lambda each: -each.says[cause])


def _terms(rules: RuleSet) -> Iterator[str]:
    yield "### Terms"
    yield ""
    yield "| term | stands for | meaning |"
    yield "|---|---|---|"
    for term in rules.terms:
        yield f"| `{term.name}` | `{_cell(term.text)}` | {term.meaning} |"
    yield ""


def _symptoms(rules: RuleSet) -> Iterator[str]:
    yield "### Symptoms"
    yield ""
    yield "| symptom | weight | condition |"
    yield "|---|---|---|"
    for symptom in rules.symptoms:
        yield f"| {symptom.symptom}: {symptom.evidence} | {symptom.weight:g} | `{_cell(symptom.text)}` |"


def _evidence(rules: RuleSet) -> Iterator[str]:
    if not rules.evidence:
        return
    yield ""
    yield "### Evidence"
    for each in rules.evidence:
        said = ", ".join(f"{cause} {strength:g}" for cause, strength in each.says.items())
        often = ", in any run" if each.judged == "any_trial" else ""
        layer = f"{each.layer}; " if each.layer else ""
        yield ""
        yield f"**{each.name}** ({layer}{said}; leak {each.leak:g}{often}): {each.sentence}."
        yield ""
        yield f"    {each.text}"
        if each.given_text:
            yield ""
            yield f"- only where `{each.given_text}`"


def _priors(rules: RuleSet) -> Iterator[str]:
    stated = [rules.causes[cause] for cause in CAUSES if cause in rules.causes]
    if not stated:
        return
    yield ""
    yield "### Causes before anything is measured"
    yield ""
    yield "| cause | prior | severity | advice where no rule has its own |"
    yield "|---|---|---|---|"
    for cause in stated:
        yield f"| {cause.name} | {rules.prior(cause.name):g} | {cause.severity or ''} | {_cell(cause.advice or '')} |"


def _causes(rules: RuleSet) -> Iterator[str]:
    for cause in CAUSES:
        own = rules.for_cause(cause)
        if own:
            yield ""
            yield f"### {cause}"
            for rule in own:
                yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    yield ""
    often = ", in any run" if rule.judged == "any_trial" else ""
    yield f"**{rule.name}** (weight {rule.weight:g}, {rule.severity}{often}): {rule.evidence}."
    yield ""
    yield f"    {rule.text}"
    yield ""
    if rule.explains:
        yield f"- explains: {', '.join(rule.explains)}"
    for counter in rule.against:
        yield f"- against it (-{counter.weight:.0%}): {counter.evidence}: `{counter.text}`"
    yield f"- advice: {rule.advice}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
