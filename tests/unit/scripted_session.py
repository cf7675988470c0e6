"""What a test's runner needs besides its answers: it is made, entered and left as a Runner is."""

from __future__ import annotations

from typing import Self

from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.runner import RunOptions
from perfcheck.runner.unmeasured import unmeasured


class ScriptedSession:
    """Base of runners that answer by a script; keeps the options with which it was made."""

    options: RunOptions | None = None

    def create(self, options: RunOptions, *_: object) -> Self:
        self.options = options
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def unmeasured(self, scenario: Scenario, reason: str, started_at: str) -> RunRecord:
        return unmeasured(scenario, reason, started_at)
