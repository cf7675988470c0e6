"""Events as JSON lines: the stages of packets that detail mode follows, and alerts of every mode."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Final

from perfcheck.errors import OutputError, UsageError
from perfcheck.model.event import Event
from perfcheck.system.files import is_written_in_place

_AT_ONCE: Final = 10_000


class EventLines:
    """Writes a new file, one event a line; each run and trial adds its own. A file without an event is not left.

    What cannot be written keeps nothing from being measured: it is raised when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        """Touch nothing until `open`."""
        self._path = path
        self._file: TextIOWrapper | None = None
        self._problem: str | None = None
        self._written = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def open(self) -> None:
        """Begin the file anew; UsageError where it cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # What standard output leads to may hold something already.
            self._file = self._path.open("a" if is_written_in_place(self._path) else "w", encoding="utf-8")
            self._written = False
        except OSError as error:
            raise UsageError(f"{self._path}: cannot write events: {error.strerror}; name another file") from error

    def write(self, events: Iterable[Event], *, run_id: str, scenario: str, trial: int, epoch_ns: int) -> None:
        """Add a trial's events, their context with the run, the scenario's label and the trial's number.

        `epoch_ns` is what CLOCK_MONOTONIC lacks to the time of day.
        """
        if self._problem is not None:
            return
        if self._file is None:
            self.open()
        assert self._file is not None  # noqa: S101 - opened just now
        waiting = iter(events)
        try:
            while part := tuple(islice(waiting, _AT_ONCE)):
                lines = (
                    event.to_json(epoch_ns=epoch_ns, run=run_id, scenario=scenario, trial=trial) + "\n"
                    for event in part
                )
                self._file.write("".join(lines))
                self._written = True
            self._file.flush()
        except OSError as error:
            self._problem = f"{self._path}: cannot write events: {error.strerror}"

    def append(self, lines: bytes, *, run_id: str, first_trial: int) -> None:
        """Add events that another perfcheck has written of one run: as trials from this one on of the run of this id.

        What is no event is left out.
        """
        found = list(_renumbered(lines, run_id, first_trial))
        if self._problem is not None or not found:
            return
        if self._file is None:
            self.open()
        assert self._file is not None  # noqa: S101 - opened just now
        try:
            self._file.write("".join(found))
            self._written = True
            self._file.flush()
        except OSError as error:
            self._problem = f"{self._path}: cannot write events: {error.strerror}"

    def close(self) -> None:
        """End the file; OutputError where events are missing in it. Safe to call twice."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
                if not self._written and not is_written_in_place(self._path):
                    Path(os.path.realpath(self._path)).unlink(missing_ok=True)
        except OSError as error:
            self._problem = self._problem or f"{self._path}: cannot write events: {error.strerror}"
        problem, self._problem = self._problem, None
        if problem is not None:
            raise OutputError(problem)


def _renumbered(lines: bytes, run_id: str, first_trial: int) -> Iterator[str]:
    for line in lines.splitlines():
        try:
            event = json.loads(line)
            context = event["context"]
            context |= {"run": run_id, "trial": int(context["trial"]) + first_trial}
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        yield json.dumps(event, separators=(",", ":")) + "\n"
