"""Keeps the records of a session on the disk while it measures, and writes their report when all is over."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from perfcheck.errors import PerfcheckError
from perfcheck.model.record import RunRecord
from perfcheck.output.jsonl import JsonLinesOutput, read_records
from perfcheck.report.write import require_possible, write_report
from perfcheck.system.printing import complain

RECORDS: Final = "records.jsonl"
"""The file of records in a folder that processes share."""


class ReportWhenOver:
    """A context within which a session measures; what its series and events are in is closed before it ends.

    `write` is an output like the others. Without a path nothing is kept and nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        """Touch nothing yet."""
        self._path = path
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._records: JsonLinesOutput | None = None
        self.problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the format."""
        return "report"

    def __enter__(self) -> Self:
        """Check that the report can be written; UsageError where it cannot."""
        if self._path is not None:
            require_possible(self._path)
            self._folder = tempfile.TemporaryDirectory(prefix="perfcheck-report-")
            self._records = JsonLinesOutput(Path(self._folder.name) / RECORDS)
        return self

    def open(self) -> None:
        """Open the file of records."""
        if self._records is not None:
            self._records.open()

    def write(self, record: RunRecord) -> None:
        """Keep a record."""
        if self._records is not None:
            self._records.write(record)

    def close(self) -> None:
        """Close the file of records; the report is written later."""
        if self._records is not None:
            self._records.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        """Write the report of what there is, also after an interruption; `problems` say what went wrong."""
        if self._path is None or self._folder is None:
            return
        try:
            write_kept(Path(self._folder.name) / RECORDS, self._path)
        except PerfcheckError as problem:
            self.problems = (str(problem),)
            complain(f"perfcheck: {problem}")
        finally:
            self._folder.cleanup()


def write_kept(records: Path, path: Path, *, strict: bool = False) -> bool:
    """Write the report of a file of records that a session wrote; return whether there was any record."""
    if not records.is_file() or not records.stat().st_size:
        return False
    from perfcheck.report.run import Given, Source, run_document

    sources = [Source(record=record) for record in read_records(records)]
    write_report(run_document(Given(sources=sources, strict=strict)), path)
    return True
