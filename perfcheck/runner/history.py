"""Keeps run records in the history as they are made."""

from __future__ import annotations

from pathlib import Path

from perfcheck.baseline import HistoryStore
from perfcheck.errors import OutputError, RecordError, UsageError
from perfcheck.model.record import RunRecord
from perfcheck.system.files import require_writable


class HistoryOutput:
    """An Output that appends each record's valid trials to the history in a folder."""

    def __init__(self, folder: Path) -> None:
        """Touch nothing until `open`."""
        self._folder = folder
        self._store = HistoryStore(folder)

    @property
    def name(self) -> str:
        """Name of the format."""
        return "history"

    def open(self) -> None:
        """Make the folder; UsageError where that cannot be done, before anything is measured."""
        try:
            require_writable(self._folder)
        except OSError as error:
            raise UsageError(f"{self._unwritable(error.strerror)}; name another folder with --history") from error

    def write(self, record: RunRecord) -> None:
        """Append the record; one without a valid trial has nothing to keep."""
        if not any(trial.valid for trial in record.trials):
            return
        try:
            self._store.append(record)
        except OSError as error:
            raise OutputError(self._unwritable(error.strerror)) from error
        except RecordError as error:
            raise OutputError(self._unwritable(str(error))) from error

    def close(self) -> None:
        """Nothing is open between two records."""

    def _unwritable(self, reason: str | None) -> str:
        return f"{self._folder}: cannot write the history: {reason}"
