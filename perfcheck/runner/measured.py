"""What a run needs of a bench, be it in a lab, on real machines or in guests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perfcheck.model.record import RunRecord
from perfcheck.runner.trial import Trial


class Measured(Protocol):
    """What a run needs of a bench: of a lab, of real machines or of guests."""

    def measure(self, runs: int, why: str = "") -> None:
        """Make trials until so many more count, or patience is at its end."""

    def summary(self) -> RunRecord:
        """Return the record of all trials so far."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials so far that a later run can go on with, as far as the record does not have them."""

    def go_on(self, record: RunRecord, trials: Sequence[Trial]) -> None:
        """Go on with a run that was summed up before."""
