"""What a search for the kernel that brought a regression found: its steps, one for each kernel, and the outcome."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from perfcheck.model.verdict import Verdict


class Finding(StrEnum):
    """What a kernel counts as; SKIPPED: it could not be judged."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


class BisectStep(BaseModel):
    """One kernel compared with the good one.

    `change_pct` and `interval_pct` are those of the metric, `reason` says why a kernel was skipped. `lasting`: whether
    the kernel itself is the reason, so that it would be skipped again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Annotated[str, Field(max_length=5000)]
    finding: Finding
    verdict: Verdict
    change_pct: float | None = None
    interval_pct: tuple[float, float] | None = None
    margin_pct: float | None = None
    pairs: int = 0
    reason: Annotated[str | None, Field(max_length=20_000)] = None
    run_id: str = ""
    ended_at: str = ""
    lasting: bool = True


class BisectOutcome(BaseModel):
    """What the steps say: the first bad kernel, or those that may be it, or why there is nothing to find.

    `suspects` are in order, oldest first where that is known; with one it is the first bad kernel.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    good: str
    bad: str
    steps: tuple[BisectStep, ...]
    suspects: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def first_bad(self) -> str | None:
        """The kernel that brought the regression, where it is certain."""
        return self.suspects[0] if len(self.suspects) == 1 else None

    @property
    def last_good(self) -> str:
        """The good kernel that was judged last, the nearest before the suspects; else the one that is known."""
        judged = [step.candidate for step in self.steps if step.finding is Finding.GOOD]
        return judged[-1] if judged else self.good
