"""Run records kept in the history as they are made."""

from __future__ import annotations

from pathlib import Path

from perfcheck.baseline import HistoryStore
from perfcheck.errors import UsageError
from perfcheck.model.record import RunRecord


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
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def write(self, record: RunRecord) -> None:
        """Append the record; one without a valid trial has nothing to keep."""
        if not any(trial.valid for trial in record.trials):
            return
        try:
            self._store.append(record)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def not_measured(self, label: str, file: str, reason: str) -> None:
        """Keep nothing: there is no value."""

    def close(self) -> None:
        """Nothing is open between two records."""


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"{folder}: cannot write the history: {error.strerror}; name another folder with --history")
