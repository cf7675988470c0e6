"""The hook that the plugin adds to pytest, for runners other than perfcheck's own (fakes, remote labs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from perfcheck.api.caller import MeasuredRun
    from perfcheck.model.record import ComparisonRecord, RunRecord
    from perfcheck.model.scenario import Scenario
    from perfcheck.model.seams import Progress
    from perfcheck.plugin.options import PluginOptions
    from perfcheck.runner.sides import Side


class SessionRunner(Protocol):
    """What the plugin needs of a runner; entered at the first measurement of a session and left at its end."""

    def __enter__(self) -> SessionRunner:
        """Begin a session."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """End the session."""

    def run(self, scenario: Scenario) -> RunRecord:
        """Measure and judge; PerfcheckError where there is nothing to judge."""

    def measure(self, scenario: Scenario) -> MeasuredRun:
        """Measure without comparing, for a test in Python; PerfcheckError where there is nothing to judge."""

    def ab(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        """Measure two settings in interleaved pairs; B's record has the comparisons."""

    def save_baseline(
        self, record: RunRecord, *, update: bool = False, accept: Sequence[str] = (), reason: str = ""
    ) -> Path:
        """Store a record as a baseline; gives the file.

        `update`: in place of all earlier sessions. `accept`: of these metrics earlier sessions no
        longer count, for this reason.
        """

    def moved_since_saved(self, scenario: Scenario, record: RunRecord) -> Sequence[ComparisonRecord]:
        """Return the metrics that are certainly not what the sessions say to which `save_baseline` would add them."""

    def planned_comparisons(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the metrics that will be compared; called at collection, before the session is entered."""


@pytest.hookspec(firstresult=True)
def pytest_perfcheck_runner(
    config: pytest.Config, options: PluginOptions, progress: Progress | None
) -> SessionRunner | None:
    """Return the runner of this session, or None to leave it to the next plugin.

    Called once in each process that collects scenario files, that is in every pytest-xdist worker.
    """
