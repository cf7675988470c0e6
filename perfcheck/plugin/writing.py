"""Writes to pytest's terminal; no other module of the plugin does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from perfcheck.model.printable import printable_lines


class Terminal:
    """Pytest's terminal reporter, for text that is shown as it is.

    It is a sink of GitHub's commands, too; those are made by `perfcheck.output.github` alone.
    """

    def __init__(self, reporter: Any) -> None:
        """Write through the reporter, which knows where its line ends."""
        self._reporter = reporter

    @property
    def hasmarkup(self) -> bool:
        """Whether colours are shown."""
        return bool(self._reporter.hasmarkup)

    def section(self, title: str) -> None:
        """Write a title across the terminal."""
        self.ensure_newline()
        self._reporter.section(printable_lines(title))

    def ensure_newline(self) -> None:
        """Begin a line where pytest left one unfinished."""
        self._reporter.ensure_newline()

    def line(self, text: str, **markup: bool) -> None:
        """Write a line, or several."""
        self._reporter.write_line(printable_lines(text), **markup)

    def rendered(self, text: str) -> None:
        """Write what a SafeConsole rendered, colours and all."""
        self._reporter.write_line(text)

    def write(self, text: str, /) -> None:
        """Write commands for the CI service, whose texts `perfcheck.output.github` has escaped."""
        self._reporter.write(text)

    def flush(self) -> None:
        """Bring them out."""
        self._reporter.flush()


@contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Return the real standard output for a moment; what is measured stays captured."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is None:
        yield
        return
    with capture.global_and_fixture_disabled():
        yield


def move_cursor(sequence: str) -> None:
    """Write an escape sequence of ours to the real standard output."""
    sys.stdout.write(sequence)
    sys.stdout.flush()
