"""A file for node_exporter's textfile collector, replaced as a whole: a reader sees the old one or the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perfcheck.export.snapshot import Snapshot
from perfcheck.export.text import prometheus_text
from perfcheck.system.files import replace_file

SUFFIX: Final = ".prom"
"""The collector reads no other files; until one is complete it has no name, or another one."""
MODE: Final = 0o644


def textfile_path(text: str) -> Path:
    """Parse the name of a file; ValueError where the collector would not read it."""
    path = Path(text)
    if path.suffix != SUFFIX or not path.stem:
        raise ValueError(f"expected a name that ends with {SUFFIX}: node_exporter reads no other files")
    return path


class Textfile:
    """Writes each snapshot; a disk that is full does not end measuring."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is written yet."""
        self._path = path
        self._failed = 0
        self._written = 0
        self._problem: str | None = None
        self._news: list[str] = []

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file."""
        try:
            replace_file(self._path, prometheus_text(snapshot.series()).encode(), mode=MODE, durable=False)
        except OSError as problem:
            self._failed += 1
            if self._problem is None:
                self._problem = problem.strerror or str(problem)
                self._news.append(f"{self._path}: {self._problem}; it is tried again at each interval")
            return
        self._written += 1
        if self._problem is not None:
            self._news.append(f"{self._path}: is written again")
            self._problem = None

    def news(self) -> tuple[str, ...]:
        """Return what happened since the last call: it could not be written, or can be again."""
        found = tuple(self._news)
        self._news.clear()
        return found

    def told(self) -> str | None:
        """Return what is to be said at the end; None where all is well."""
        return (
            f"{self._path}: {self._failed} of {self._failed + self._written} times not written"
            if self._failed
            else None
        )
