"""Numbers that were fitted on runs with known faults; they take the place of hand-written ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from perfcheck.diagnose.network import Bit
from perfcheck.model.causes import CAUSES

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FittedBitForm(_Form):
    """One bit; `of` is the digest of the condition on which it was fitted."""

    of: Annotated[str, Field(pattern=r"^[0-9a-f]{10}$")]
    leak: Share
    weight: Share
    says: Mapping[str, Share]

    @field_validator("says")
    @classmethod
    def _known_causes(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for cause in value:
            if cause not in CAUSES:
                raise ValueError(f"{cause!r} is not a cause")
        return value


class FittedForm(_Form):
    """The file of fitted numbers; `temperature` divides all log-likelihoods."""

    schema_version: Literal[1] = Field(alias="schema")
    runs: Annotated[int, Field(ge=0)]
    injectors: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0, le=100)]
    bits: Mapping[Name, FittedBitForm]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Fitted numbers by the name of rule, symptom or evidence; a digest says on which condition they were fitted."""

    temperature: float = 1.0
    bits: Mapping[str, tuple[str, Bit]] = field(default_factory=dict)

    def bit(self, name: str, digest: str) -> Bit | None:
        """Return the numbers of a condition, or None where it was not fitted or is not the same any more."""
        of, bit = self.bits.get(name, ("", None))
        return bit if of == digest else None


NOT_FITTED: Final = Fitted()


def fitted_of(form: FittedForm) -> Fitted:
    """Return a checked file's numbers."""
    return Fitted(
        temperature=form.temperature,
        bits={
            name: (bit.of, Bit(name=name, says=bit.says, leak=bit.leak, weight=bit.weight))
            for name, bit in form.bits.items()
        },
    )
