"""Numbers that were fitted on runs with known faults; they take the place of hand-written ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from perfcheck.diagnose.network import Bit
from perfcheck.diagnose.rule import Evidence
from perfcheck.model.causes import CAUSES

LEAK: Final = "leak"
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FittedBitForm(_Form):
    """One entry of evidence: `of` is the digest of its condition, `hand` has the numbers that its author wrote.

    `hand` and `fitted` have a number for each cause that the condition speaks of, and the `leak`.
    """

    of: Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]
    weight: Share
    hand: Mapping[str, Share]
    fitted: Mapping[str, Share]

    @field_validator("hand", "fitted")
    @classmethod
    def _known_causes(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for cause in value:
            if cause not in (*CAUSES, LEAK):
                raise ValueError(f"{cause!r} is not a cause")
        if LEAK not in value:
            raise ValueError("the leak is missing")
        return value


class FittedForm(_Form):
    """The file of fitted numbers; `temperature` divides what all entries of it say."""

    schema_version: Literal[1] = Field(alias="schema")
    runs: Annotated[int, Field(ge=0)]
    injectors: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(ge=1, le=100)]
    bits: Mapping[Name, FittedBitForm]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedBit:
    """Fitted numbers of one entry of evidence, and what must be unchanged for them to count.

    `of` is the digest of the condition, `hand_says` and `hand_leak` are the numbers that its author wrote.
    """

    of: str
    hand_says: Mapping[str, float]
    hand_leak: float
    bit: Bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Fitted numbers by the name of the evidence; a temperature of 1 or more makes all of it say less."""

    temperature: float = 1.0
    bits: Mapping[str, FittedBit] = field(default_factory=dict)

    def bit(self, evidence: Evidence) -> Bit | None:
        """Return the numbers of an entry, or None where it was not fitted or is not the same any more.

        It is another one if its condition or any of its hand-written numbers is: who changes a number means it.
        """
        found = self.bits.get(evidence.name)
        if found is None or found.of != evidence.digest:
            return None
        if found.hand_leak != evidence.leak or dict(found.hand_says) != dict(evidence.says):
            return None
        bit = found.bit
        return Bit(name=bit.name, says=bit.says, leak=bit.leak, weight=bit.weight / self.temperature)


NOT_FITTED: Final = Fitted()


def fitted_of(form: FittedForm) -> Fitted:
    """Return a checked file's numbers."""
    return Fitted(temperature=form.temperature, bits={name: _bit(name, each) for name, each in form.bits.items()})


def _bit(name: str, form: FittedBitForm) -> FittedBit:
    hand_says, says = (
        {cause: share for cause, share in each.items() if cause != LEAK} for each in (form.hand, form.fitted)
    )
    return FittedBit(
        of=form.of, hand_says=hand_says, hand_leak=form.hand[LEAK],
        bit=Bit(name=name, says=says, leak=form.fitted[LEAK], weight=form.weight),
    )  # fmt: skip
