"""Rules: the form against which rule files are checked, and the rule that the engine applies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from perfcheck.diagnose.condition import Condition, Quantity
from perfcheck.diagnose.parsing import RESERVED
from perfcheck.model.causes import CAUSES

Severity = Literal["info", "warning", "critical"]
Judged = Literal["medians", "any_trial"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Sentence = Annotated[str, Field(min_length=1, max_length=400)]
Weight = Annotated[float, Field(gt=0, lt=1)]
DEFAULT_LEAK = 0.01
"""How often a bit of evidence is on without any cause, where the file does not say it."""


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class CounterForm(_Form):
    """What speaks against the rule that it stands in: `weight` is the share of the rule's weight that it takes."""

    when: str
    weight: Weight
    evidence: Sentence


class RuleForm(_Form):
    """One entry of `rules`."""

    name: Name
    cause: str
    when: str
    weight: Weight
    severity: Severity
    evidence: Sentence
    advice: Sentence
    explains: tuple[Name, ...] = ()
    against: tuple[CounterForm, ...] = ()
    judged: Judged = "medians"
    replace: bool = False

    @field_validator("cause")
    @classmethod
    def _known_cause(cls, value: str) -> str:
        if value not in CAUSES:
            raise ValueError(f"{value!r} is not a cause")
        if value == "unknown":
            raise ValueError("a rule cannot name the cause unknown: it is given when no rule explains a symptom")
        return value


class SymptomForm(_Form):
    """One entry of `symptoms`: a sign of the symptom `symptom`, of which there may be several."""

    name: Name
    symptom: Name
    when: str
    weight: Weight
    evidence: Sentence
    judged: Judged = "medians"
    replace: bool = False


class EvidenceForm(_Form):
    """One entry of `evidence`: a condition, and how often each cause makes it hold.

    `given` is a condition without which the entry says nothing, as if it had not been measured. `says` has, for each
    cause, the probability that the cause alone turns it on; `healthy` stands for a run without any harmful cause.
    `leak` is the probability that it holds for none of these reasons.
    """

    name: Name
    given: str | None = None
    when: str
    says: Mapping[str, Weight] = Field(min_length=1)
    leak: Weight = DEFAULT_LEAK
    sentence: Sentence
    layer: Name | None = None
    judged: Judged = "medians"
    replace: bool = False


class CauseForm(_Form):
    """One entry of `causes`: what is known of a cause before anything is measured, and what to do about it.

    A later file's entry replaces an earlier one's of the same cause.
    """

    name: str
    prior: Weight | None = None
    severity: Severity | None = None
    advice: Sentence | None = None
    explains: tuple[Name, ...] | None = None

    @field_validator("name")
    @classmethod
    def _known_cause(cls, value: str) -> str:
        if value not in CAUSES:
            raise ValueError(f"{value!r} is not a cause")
        if value == "healthy":
            raise ValueError("healthy has no prior of its own: it is a run without any harmful cause")
        return value


class TermForm(_Form):
    """One entry of `terms`: a quantity or condition that later conditions may name."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,40}$")]
    stands_for: str = Field(alias="is")
    meaning: Sentence

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"{value!r} is reserved in conditions")
        return value


class RuleFileForm(_Form):
    """A rule file; `disable` names rules and symptoms of earlier files that shall not count."""

    schema_version: Literal[1] = Field(alias="schema")
    terms: tuple[TermForm, ...] = ()
    symptoms: tuple[SymptomForm, ...] = ()
    rules: tuple[RuleForm, ...] = ()
    evidence: tuple[EvidenceForm, ...] = ()
    causes: tuple[CauseForm, ...] = ()
    disable: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A named quantity or condition; `text` is what it stands for, as the file has it."""

    name: str
    text: str
    node: Quantity | Condition
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A condition that takes the share `weight` from the rule that it stands in."""

    text: str
    condition: Condition
    weight: float
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A sign that something is wrong, whatever the cause; `text` is the condition as the file has it."""

    name: str
    symptom: str
    text: str
    condition: Condition
    weight: float
    evidence: str
    judged: Judged
    origin: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One checked rule; `origin` is its file and line, `digest` that of its conditions with their terms."""

    name: str
    cause: str
    text: str
    condition: Condition
    weight: float
    severity: Severity
    evidence: str
    advice: str
    explains: tuple[str, ...]
    against: tuple[Counter, ...]
    judged: Judged
    origin: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One checked entry of `evidence`; see `EvidenceForm`."""

    name: str
    text: str
    condition: Condition
    says: Mapping[str, float]
    leak: float
    sentence: str
    layer: str | None
    judged: Judged
    origin: str
    digest: str = ""
    given_text: str = ""
    given: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What the files say of a cause: its prior probability, how bad it is, what to do, the symptoms it explains."""

    name: str
    prior: float | None = None
    severity: Severity | None = None
    advice: str | None = None
    explains: tuple[str, ...] = ()
