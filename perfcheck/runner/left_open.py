"""Judgements that a run cannot bear are left open: neither passed nor failed, neither better nor worse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from perfcheck.model.record import ComparisonRecord, ExpectationRecord
from perfcheck.model.verdict import Verdict

Line = TypeVar("Line", ExpectationRecord, ComparisonRecord)


def left_open(lines: Iterable[Line], why: Callable[[str, Verdict], str | None]) -> tuple[Line, ...]:
    """Return the lines, INCONCLUSIVE each for which `why` has a reason; it is asked with metric and verdict."""
    reasons = ((line, why(line.metric, line.verdict)) for line in lines)
    return tuple(
        line if reason is None else line.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})
        for line, reason in reasons
    )
