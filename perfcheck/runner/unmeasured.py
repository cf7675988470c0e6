"""The record of a scenario that could not be measured: no trials, verdict INVALID, and the reason."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Final

from perfcheck.errors import GuestDied, PerfcheckError
from perfcheck.model.record import DiagnosisRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner.sides import Side
from perfcheck.runner.summary import reference_to, reproduce, reproduce_pairs, with_kernel
from perfcheck.system import fingerprint

NOTHING: Final = DiagnosisRecord(cause="unknown", confidence=0.0, evidence_against=("nothing was measured",))
"""A record names a cause in any case; this one says that there is no evidence."""


def now() -> str:
    """Return this moment as records write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def interrupted_by(stop: BaseException) -> str:
    """Return the reason of a record whose measurement was interrupted."""
    return f"interrupted: {stop}" if str(stop) else "interrupted"


def reason_of(error: PerfcheckError) -> str:
    """Return why nothing was measured; of a guest that died with the last lines of its console."""
    if not isinstance(error, GuestDied):
        return str(error)
    return "\n".join((str(error), *(f"    {line}" for line in error.console)))


def unmeasured(scenario: Scenario, reason: str, started_at: str) -> RunRecord:
    """Return the record of a scenario of which nothing was measured."""
    return RunRecord(
        schema_version=1,
        run_id=uuid.uuid4().hex,
        scenario=reference_to(scenario),
        started_at=started_at,
        environment=fingerprint(),
        emulators={},
        trials=(),
        metrics={},
        diagnosis=(NOTHING,),
        verdict=Verdict.INVALID,
        invalid_reason=reason,
        reproduce=reproduce(scenario),
    )


def unmeasured_pairs(
    scenario: Scenario, reason: str, started_at: str, a: Side, b: Side, *, kernel: str | None = None
) -> tuple[RunRecord, RunRecord]:  # fmt: skip
    """Return the records of A and B where no pair was measured; the sides are in B's, as in one that was.

    `kernel`: what the guests of both sides were to boot.
    """
    before, after = (unmeasured(scenario, reason, started_at) for _ in range(2))
    sides = (a.text, b.text)
    again = with_kernel(reproduce_pairs(scenario, *sides), kernel)
    return before, after.model_copy(update={"sides": sides, "reproduce": again})
