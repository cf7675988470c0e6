"""One measurement for each scenario point and session, shared by all items and all pytest-xdist workers."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from perfcheck.errors import CouldNotMeasure, OutputError, PerfcheckError, Stopped
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Output
from perfcheck.output.outputs import Outputs
from perfcheck.plugin.defects import defect_text
from perfcheck.plugin.hookspecs import SessionRunner
from perfcheck.runner.keeping import Keep, kept
from perfcheck.system.files import replace_file
from perfcheck.system.printing import complain

if TYPE_CHECKING:
    from perfcheck.api.caller import MeasuredRun
    from perfcheck.runner.sides import Side

T = TypeVar("T")

JSON_LINES: Final = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A scenario's record, which is INVALID where it could not be measured.

    `saved` says what became of it as a baseline, if one was asked for, and `unwritten` what of it could not be written.
    """

    record: RunRecord
    saved: str | None = None
    unwritten: str | None = None


class Measurements:
    """Measures on demand; what failed once is not tried again."""

    def __init__(
        self,
        runner: SessionRunner,
        *,
        keep: Keep | None = None,
        outputs: Sequence[Output] = (),
        shared: Path | None = None,
        finished: Callable[[], None] = lambda: None,
        debug: bool = False,
    ) -> None:
        """Take the runner; `keep` says how runs become baselines, None that they do not.

        `shared` is a folder that all workers of the session see, `finished` clears the progress.
        `debug` adds the traceback to what is told of a defect.
        """
        self._runner = runner
        self._keep = keep
        self._outputs = Outputs(outputs)
        self._shared = shared
        self._finished = finished
        self._debug = debug
        self._known: dict[str, Measured] = {}
        self._stack = ExitStack()
        self._entered = False

    def of(self, scenario: Scenario) -> Measured:
        """Return the outcome of a scenario point, measured now if no item of the session has asked for it before."""
        key = hashlib.sha256(f"{scenario.file}\0{scenario.label}".encode()).hexdigest()[:32]
        if key not in self._known:
            self._known[key] = self._measured_once(key, scenario)
        return self._known[key]

    def anew(self, scenario: Scenario) -> MeasuredRun:
        """Measure a scenario whatever was measured before; the caller keeps the record, once it is judged."""
        return self._told(scenario, lambda: self._runner.measure(scenario))

    def pairs(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        """Measure two settings in interleaved pairs."""
        return self._told(scenario, lambda: self._runner.ab(scenario, a, b))

    def keep(self, scenario: Scenario, record: RunRecord) -> str | None:
        """Write a record to all outputs, and then as a baseline where that is asked for; return what became of that.

        OutputError where something could not be written; the baseline is then as it was.
        """
        _raise(self._outputs.write(record))
        return kept(self._runner, scenario, record, self._keep) if self._keep is not None else None

    def not_measured(self, scenario: Scenario, reason: str) -> None:
        """Write the record of a scenario that could not be measured."""
        _raise(self._outputs.write(self._unmeasured(scenario, reason, _now())))

    def keep_pair(self, before: RunRecord, after: RunRecord) -> None:
        """Write the records of A and B; runs of changed settings are no part of a history, and no baselines."""
        for record in (before, after):
            _raise(self._outputs.write(record, only=JSON_LINES))

    def close(self) -> None:
        """End the outputs and the runner's session; safe to call twice."""
        self._outputs.close()
        try:
            self._stack.close()
        except PerfcheckError as error:
            complain(f"perfcheck: {error}")

    def _measured_once(self, key: str, scenario: Scenario) -> Measured:
        if self._shared is None:
            return self._kept(scenario, self._measure(scenario))
        with _locked(self._shared / f"{key}.lock"):
            path = self._shared / f"{key}.json"
            if path.exists():
                return _read(path)
            measured = self._measure(scenario)
            # First without the baseline: nothing may fail once a baseline was replaced.
            _write(path, measured)
            outcome = self._kept(scenario, measured)
            if outcome is not measured:
                _write(path, outcome)
            return outcome

    def _measure(self, scenario: Scenario) -> Measured:
        """Measure, and write the record; what one output cannot write is written to the others."""
        started_at = _now()
        try:
            self._enter()
            record = self._runner.run(scenario)
        except (KeyboardInterrupt, Stopped) as stop:
            self._outputs.write(self._interrupted(scenario, stop, started_at))
            raise
        except PerfcheckError as error:
            from perfcheck.runner.unmeasured import reason_of

            record = self._unmeasured(scenario, reason_of(error), started_at)
        except Exception as error:  # noqa: BLE001 - a defect; it must not be met again by every item of the scenario
            record = self._unmeasured(scenario, defect_text(error, debug=self._debug), started_at)
        finally:
            self._finished()
        return Measured(record=record, unwritten="\n".join(self._outputs.write(record)) or None)

    def _told(self, scenario: Scenario, measure: Callable[[], T]) -> T:
        """Enter the session and measure; what goes wrong inside is a measurement that was not made, too."""
        try:
            self._enter()
            return measure()
        except (KeyboardInterrupt, Stopped) as stop:
            self._outputs.write(self._interrupted(scenario, stop, _now()))
            raise
        except PerfcheckError:
            raise
        except Exception as error:
            raise CouldNotMeasure(defect_text(error, debug=self._debug)) from error
        finally:
            self._finished()

    def _enter(self) -> None:
        """Begin the session; what cannot be written is told here, before anything is measured."""
        if self._entered:
            return
        self._outputs.open()
        self._stack.enter_context(self._runner)
        self._entered = True

    def _interrupted(self, scenario: Scenario, stop: BaseException, started_at: str) -> RunRecord:
        from perfcheck.runner.unmeasured import interrupted_by

        return self._unmeasured(scenario, interrupted_by(stop), started_at)

    def _unmeasured(self, scenario: Scenario, reason: str, started_at: str) -> RunRecord:
        """Return the runner's own record of what was not measured; another plugin's runner may have none."""
        from perfcheck.runner.unmeasured import unmeasured

        make: Callable[[Scenario, str, str], RunRecord] = getattr(self._runner, "unmeasured", unmeasured)
        return make(scenario, reason, started_at)

    def _kept(self, scenario: Scenario, measured: Measured) -> Measured:
        """Store the run as a baseline, as the last step: what went wrong before leaves the stored one as it is."""
        if self._keep is None:
            return measured
        if measured.unwritten is not None:
            return replace(measured, saved=f"not written, because the run was not kept: {measured.unwritten}")
        try:
            return replace(measured, saved=kept(self._runner, scenario, measured.record, self._keep))
        except PerfcheckError as error:
            return replace(measured, unwritten=str(error))
        except Exception as error:  # noqa: BLE001 - a defect, as above
            return replace(measured, unwritten=defect_text(error, debug=self._debug))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _raise(unwritten: Sequence[str]) -> None:
    if unwritten:
        raise OutputError("\n".join(unwritten))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an flock(2) on the file; it is free again when its holder dies, and waiting for it costs no CPU time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: Path, outcome: Measured) -> None:
    content = {"record": outcome.record.to_json(), "saved": outcome.saved, "unwritten": outcome.unwritten}
    replace_file(path, json.dumps(content).encode(), durable=False)


def _read(path: Path) -> Measured:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Measured(
        record=RunRecord.model_validate_json(content["record"]), saved=content["saved"], unwritten=content["unwritten"]
    )
