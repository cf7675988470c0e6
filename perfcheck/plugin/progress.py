"""Progress within pytest's own output: a temporary bar, or plain lines in a log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from perfcheck.model.scenario import Scenario
from perfcheck.output.progress import BarProgress, LineProgress
from perfcheck.plugin.writing import Terminal, move_cursor, uncaptured

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClearableProgress(Protocol):
    """A Progress whose display can be taken away."""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Show a stage."""

    def clear(self) -> None:
        """Take the display away."""


def progress_for(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> ClearableProgress | None:
    """Choose: a bar on a terminal (none with -qq), lines elsewhere and in CI (none with -q), nothing in a worker."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return None
    in_ci = bool(environ.get("CI") or environ.get("BUILD_NUMBER"))
    if reporter.isatty and not in_ci and environ.get("TERM") != "dumb":
        return TerminalBar(config) if config.get_verbosity() > -2 else None
    return LogLines(config, reporter) if config.get_verbosity() >= 0 else None


class LogLines:
    """Plain lines, each on a line of its own."""

    def __init__(self, config: pytest.Config, reporter: Any) -> None:
        """Write through pytest's terminal reporter, which knows where its line ends."""
        self._config = config
        self._terminal = Terminal(reporter)
        self._lines = LineProgress(self._say)

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Say that a stage begins."""
        self._lines.stage(scenario, text, done, total)

    def clear(self) -> None:
        """Let the next scenario begin anew."""
        self._lines.clear()

    def _say(self, text: str) -> None:
        with uncaptured(self._config):
            self._terminal.ensure_newline()
            self._terminal.line(text)


class TerminalBar:
    """One line below pytest's own, erased when the measurement ends; the cursor goes back to where pytest left it."""

    def __init__(self, config: pytest.Config) -> None:
        """Draw nothing yet."""
        self._config = config
        self._bar: BarProgress | None = None

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Redraw."""
        from perfcheck.output.terminal import SafeConsole

        with uncaptured(self._config):
            if self._bar is None:
                move_cursor("\n")
                self._bar = BarProgress(SafeConsole(force_terminal=True))
            self._bar.stage(scenario, text, done, total)

    def clear(self) -> None:
        """Erase the line."""
        if self._bar is None:
            return
        with uncaptured(self._config):
            self._bar.clear()
            self._bar = None
            writer = self._config.get_terminal_writer()
            column = writer.width_of_current_line % writer.fullwidth
            # ECMA-48: CUU goes up a line, CHA to a column counted from 1.
            move_cursor(f"\x1b[1A\x1b[{column + 1}G")
