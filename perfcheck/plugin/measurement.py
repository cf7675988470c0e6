"""One measurement a scenario point and session, shared by all items and by all pytest-xdist workers."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from perfcheck.errors import CouldNotMeasure, PerfcheckError, Stopped
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Output
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import untrusted
from perfcheck.output.rows import signed_pct
from perfcheck.plugin.hooks import SessionRunner

if TYPE_CHECKING:
    from perfcheck.api.caller import MeasuredRun
    from perfcheck.runner.sides import Side

T = TypeVar("T")

JSON_LINES: Final = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A run that was made; `saved` says what became of it as a baseline, if one was asked for."""

    record: RunRecord
    saved: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A run of which there is no record: why."""

    reason: str


Outcome = Measured | NotMeasured


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How runs become baselines: as one more session, in place of all (`update`), or as the start of a known change.

    Of the metrics in `accept` earlier sessions no longer count, for this `reason`.
    """

    update: bool = False
    accept: tuple[str, ...] = ()
    reason: str = ""


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
    ) -> None:
        """Take the runner; `keep` says how runs become baselines, None that they do not.

        `shared` is a folder that all workers of the session see, `finished` clears the progress.
        """
        self._runner = runner
        self._keep = keep
        self._outputs = tuple(outputs)
        self._shared = shared
        self._finished = finished
        self._known: dict[str, Outcome] = {}
        self._stack = ExitStack()
        self._entered = False

    def of(self, scenario: Scenario) -> Outcome:
        """Give the outcome of a scenario point, measured now if no item of the session has asked for it before."""
        key = hashlib.sha256(f"{scenario.file}\0{scenario.label}".encode()).hexdigest()[:32]
        if key not in self._known:
            self._known[key] = self._measured_once(key, scenario)
        return self._known[key]

    def anew(self, scenario: Scenario) -> MeasuredRun:
        """Measure a scenario whatever was measured before; the caller keeps the record, once it is judged."""
        return self._told(lambda: self._runner.measure(scenario))

    def pairs(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        """Measure two settings in interleaved pairs."""
        return self._told(lambda: self._runner.ab(scenario, a, b))

    def keep(self, scenario: Scenario, record: RunRecord) -> str | None:
        """Write a record to all outputs, and as a baseline where that is asked for; says what became of the latter."""
        saved = self._saved(scenario, record, self._keep) if self._keep is not None else None
        for output in self._outputs:
            output.write(record)
        return saved

    def not_measured(self, scenario: Scenario, reason: str) -> None:
        """Tell the outputs of a scenario of which there is no record, as far as they could be opened."""
        if self._entered:
            for output in self._outputs:
                output.not_measured(scenario.label, scenario.file, reason)

    def keep_pair(self, before: RunRecord, after: RunRecord) -> None:
        """Write the records of A and B; runs of changed settings are no part of a history, and no baselines."""
        for output in self._outputs:
            if output.name == JSON_LINES:
                output.write(before)
                output.write(after)

    def close(self) -> None:
        """End the runner's session; safe to call twice."""
        self._stack.close()

    def _measured_once(self, key: str, scenario: Scenario) -> Outcome:
        if self._shared is None:
            return self._measure(scenario)
        with _locked(self._shared / f"{key}.lock"):
            path = self._shared / f"{key}.json"
            if path.exists():
                return _read(path)
            outcome = self._measure(scenario)
            _write(path, outcome)
            return outcome

    def _measure(self, scenario: Scenario) -> Outcome:
        try:
            self._enter()
            record = self._runner.run(scenario)
            saved = self.keep(scenario, record)
        except Stopped:
            raise
        except PerfcheckError as error:
            return NotMeasured(reason=str(error))
        except Exception as error:  # noqa: BLE001 - a defect; it must not be met again by every item of the scenario
            trace = "".join(traceback.format_exception(error))
            return NotMeasured(reason=f"internal error: {type(error).__name__}: {error}\n{trace}")
        finally:
            self._finished()
        return Measured(record=record, saved=saved)

    def _told(self, measure: Callable[[], T]) -> T:
        """Enter the session and measure; what goes wrong inside is a measurement that was not made, too."""
        try:
            self._enter()
            return measure()
        except PerfcheckError:
            raise
        except Exception as error:
            raise CouldNotMeasure(f"internal error: {type(error).__name__}: {error}") from error
        finally:
            self._finished()

    def _enter(self) -> None:
        """Begin the session; what cannot be written is told here, before anything is measured."""
        if self._entered:
            return
        for output in self._outputs:
            output.open()
            self._stack.callback(output.close)
        self._stack.enter_context(self._runner)
        self._entered = True

    def _saved(self, scenario: Scenario, record: RunRecord, keep: Keep) -> str:
        reason = untrusted(record)
        if reason is not None:
            return f"not written, the run is invalid: {reason}"
        accepted = tuple(metric for metric in keep.accept if metric in record.metrics)
        if keep.accept and not accepted:
            return f"not written, the run has no {' and no '.join(keep.accept)} to accept"
        moved = () if keep.update or accepted else self._runner.moved_since_saved(scenario, record)
        path = _shown(self._runner.save_baseline(record, update=keep.update, accept=accepted, reason=keep.reason))
        told = f"written to {path}"
        if keep.update:
            told += ", in place of all earlier sessions"
        if accepted:
            told += f", {', '.join(accepted)} accepted as of this run: {keep.reason}"
        failed = [part.metric for part in record.expectations if part.verdict is Verdict.FAIL]
        if failed:
            told += f", ALTHOUGH THE RUN FAILS its own expect: {', '.join(failed)}"
        if moved:
            listed = ", ".join(f"{each.metric} ({signed_pct(each.change_pct)})" for each in moved)
            told += (
                f", ALTHOUGH IT MOVED since the earlier sessions: {listed}. Sessions so far apart hide changes: "
                "--baseline-update starts anew, --baseline-accept METRIC --reason TEXT only for a metric"
            )
        return told


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


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


def _write(path: Path, outcome: Outcome) -> None:
    if isinstance(outcome, Measured):
        content = {"record": outcome.record.to_json(), "saved": outcome.saved}
    else:
        content = {"reason": outcome.reason}
    made = path.with_suffix(".part")
    made.write_text(json.dumps(content), encoding="utf-8")
    made.replace(path)


def _read(path: Path) -> Outcome:
    content = json.loads(path.read_text(encoding="utf-8"))
    if "reason" in content:
        return NotMeasured(reason=content["reason"])
    return Measured(record=RunRecord.model_validate_json(content["record"]), saved=content["saved"])
