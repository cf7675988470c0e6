"""What came of testing a cause: the suspected limit was relieved and nothing else, and metrics moved or did not."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Answer(StrEnum):
    """What the test says of the cause."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNTESTED = "cannot be tested here"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChangeRecord(_Part):
    """One change that relieved the limit: where (a key of the file, or a host), and what it was and became."""

    where: str
    before: str
    after: str


class EffectRecord(_Part):
    """One metric without and with the relief: medians in its unit, and the change in per cent of the unchanged runs.

    `interval_pct` holds the change with a probability of 90 %; `wanted_pct` is the least change that counts.
    """

    metric: str
    unit: str
    unchanged: float
    relieved: float
    change_pct: float | None
    interval_pct: tuple[float, float] | None
    wanted_pct: float
    outcome: Answer


class ConfirmationRecord(_Part):
    """One cause that was tested; `runs` are those that count on each side, 0 where none was needed or possible."""

    cause: str
    entry: str | None = None
    outcome: Answer
    relief: str = ""
    changes: tuple[ChangeRecord, ...] = ()
    effects: tuple[EffectRecord, ...] = ()
    runs: int = 0
    reason: str = ""
