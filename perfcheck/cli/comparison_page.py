"""The pages that `perfcheck compare` and `perfcheck ab` write: both sides of all scenarios that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from perfcheck.cli.formats import STDOUT
from perfcheck.errors import PerfcheckError
from perfcheck.model.record import RunRecord
from perfcheck.system.printing import complain, say

if TYPE_CHECKING:
    from perfcheck.report.compare.sides import Compared
    from perfcheck.report.write import Form

Target = tuple[Path, "Form | None"]


class ComparisonPage:
    """Collects what is compared while the `with` block lasts, and writes it when that ends, however it does.

    Entering raises UsageError for a file that cannot be written. `problems` are what could not be written after all.
    """

    def __init__(self, targets: Sequence[Target], *, names: tuple[str, str] = ("", "")) -> None:
        """Take the files with their forms (None: by the name), and what A and B are where the records do not say it."""
        self._targets = targets
        self._names = names
        self._compared: list[Compared] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        """Check that all files can be written: minutes of measuring may follow."""
        if self._targets:
            from perfcheck.report.write import require_possible

            for path, form in self._targets:
                if path != STDOUT:
                    require_possible(path, form)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the files."""
        if self._compared:
            self._write()

    def add(self, before: RunRecord, after: RunRecord, folders: tuple[Path, Path] = (Path(), Path())) -> None:
        """Add a scenario; `folders` are where the records are kept, since a record may name its series from there."""
        if self._targets:
            from perfcheck.report.compare.sides import Compared

            self._compared.append(Compared(before=before, after=after, names=self._names, folders=folders))

    def _write(self) -> None:
        from perfcheck.report.compare.page import document
        from perfcheck.report.write import Form, content_of, write_report

        page = document(self._compared)
        for path, form in self._targets:
            if path == STDOUT:
                say(content_of(page, form or Form.MARKDOWN).decode())
                continue
            try:
                write_report(page, path, form)
            except PerfcheckError as problem:
                self.problems.append(str(problem))
                complain(f"perfcheck: {problem}")
            else:
                complain(f"report written to {path}")
