"""How much a report may hold, so that a page of ten scenarios stays below 2 MB with all that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.output.cases import Status
from perfcheck.report.run.source import Run

VALUES: Final = 100_000
"""Values in all charts; each takes some 3 bytes of a page."""
OF_ONE: Final = 30_000
"""Values in the charts of one scenario at most: a single one needs no more to be seen."""
LEAST: Final = 2_000
"""Values without which a scenario's charts would be too coarse; so many scenarios at most have charts."""
RAW: Final = 120_000
"""Characters of all records' JSON."""
RAW_OF_ONE: Final = 100_000
ROWS: Final = 1_200
"""Rows of all tables of metrics."""
ROWS_OF_ONE: Final = 400
ROWS_LEAST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one scenario's part of the report may hold; 0 values: it has no charts."""

    values: int
    raw: int
    rows: int


def budgets(runs: Sequence[Run]) -> tuple[Budget, ...]:
    """Return each run's budget; where there are too many for charts, those that failed have them first."""
    if not runs:
        return ()
    most = VALUES // LEAST
    first = sorted(range(len(runs)), key=lambda place: (runs[place].status not in (Status.FAILED, Status.ERROR), place))
    charted = set(first[:most])
    values = min(OF_ONE, VALUES // min(len(runs), most))
    return tuple(
        Budget(
            values=values if place in charted else 0, raw=min(RAW_OF_ONE, RAW // len(runs)),
            rows=max(ROWS_LEAST, min(ROWS_OF_ONE, ROWS // len(runs))),
        )
        for place in range(len(runs))
    )  # fmt: skip
