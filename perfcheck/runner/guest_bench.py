"""One scenario in guests that boot a kernel of the store: each measurement is a boot, and all are summed up as one."""

from __future__ import annotations

from collections.abc import Sequence

from perfcheck.diagnose import RuleSet
from perfcheck.errors import CouldNotMeasure
from perfcheck.kernels.kvm import require_kvm
from perfcheck.model.record import EventsRecord, RunRecord, SeriesRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress
from perfcheck.output.events import EventLines
from perfcheck.output.series import SeriesFile
from perfcheck.runner.guest_run import GuestPlace, GuestResult, measured_in_guest
from perfcheck.runner.joining import joined
from perfcheck.runner.options import RunOptions
from perfcheck.runner.placing import in_guest
from perfcheck.runner.trial import Trial
from perfcheck.system import measuring_lock


class GuestBench:
    """As a Bench, but the lab is in a guest, and is there only while it is measured.

    In virtual time guests do not disturb one another, so that several may run side by side; in real time one does.
    """

    def __init__(
        self, scenario: Scenario, place: GuestPlace, options: RunOptions, rules: RuleSet, progress: Progress,
        events: EventLines | None = None, series: SeriesFile | None = None,
    ) -> None:  # fmt: skip
        """Take what the session has made; nothing is booted yet."""
        self._scenario = scenario
        self._place = place
        self._options = options
        self._rules = rules
        self._progress = progress
        self._events = events
        self._series = series
        self._record: RunRecord | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """None: a guest gives its record, and keeps what that was made of."""
        return ()

    def go_on(self, record: RunRecord, trials: Sequence[Trial]) -> None:
        """Go on with a run that was summed up before."""
        del trials
        self._record = record

    def measure(self, runs: int, why: str = "") -> None:
        """Boot, and make trials until `runs` more count: what one boot has in common is no confirmation of itself."""
        scenario = self._scenario.model_copy(update={"repeat": runs})

        def stage(text: str, done: int, total: int) -> None:
            self._progress.stage(scenario, f"{why}: {text}" if why else text, done, total)

        with measuring_lock(lambda text: stage(text, 0, runs), shared=self._place.time == "virtual"):
            if self._place.time == "real" and self._record is None:
                stage("trying KVM", 0, runs)
                require_kvm(self._place.kernel)
            found = measured_in_guest(self._place, scenario, self._options, stage)
        record = self._placed(found)
        self._record = record if self._record is None else joined(self._scenario, self._record, record, self._rules)

    def summary(self) -> RunRecord:
        """Return the record of all boots so far."""
        if self._record is None:
            raise CouldNotMeasure(f"{self._scenario.label}: nothing was measured in a guest yet")
        return self._record

    def _placed(self, found: GuestResult) -> RunRecord:
        """Return the record with where it was measured, and with this machine's files of events and series."""
        record = in_guest(found.record, self._options)
        update: dict[str, object] = {"events": None, "series": None}
        first = record if self._record is None else self._record
        shift = 0 if self._record is None else len(self._record.trials)
        if self._events is not None:
            self._events.append(found.events, run_id=first.run_id, first_trial=shift)
            update["events"] = EventsRecord(file=str(self._events.path))
        if self._series is not None and record.series is not None:
            self._series.append(found.series, run_id=first.run_id, first_trial=shift)
            update["series"] = SeriesRecord(file=str(self._series.path), interval_ms=record.series.interval_ms)
        return record.model_copy(update=update)
