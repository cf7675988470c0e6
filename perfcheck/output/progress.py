"""Progress of a run: a bar on a terminal, lines elsewhere.

Nothing is drawn between stages: a refresh thread would take CPU time from the measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from perfcheck.model.printable import printable
from perfcheck.model.scenario import Scenario

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

MIN_LINE_GAP_S: Final = 2.0
"""Stages that follow one another faster are not worth a line each in a log."""


class LineProgress:
    """Says stages as plain lines: the first of a scenario always, later ones when time has passed."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Print with `say`; `clock` gives seconds."""
        self._say = say
        self._clock = clock
        self._label: str | None = None
        self._last_s = 0.0

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Say that `text` begins."""
        now = self._clock()
        if scenario.label == self._label and now - self._last_s < MIN_LINE_GAP_S:
            return
        self._label, self._last_s = scenario.label, now
        self._say(printable(f"perfcheck: {scenario.label} [{done}/{total}] {text}"))

    def clear(self) -> None:
        """Let the next stage begin anew."""
        self._label = None


class BarProgress:
    """Draws one line that is erased afterwards; it is redrawn at each stage only."""

    def __init__(self, console: Console) -> None:
        """Draw on this console, which is a terminal."""
        self._console = console
        self._live: Live | None = None

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Redraw."""
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(_bar(scenario.label, text, done, total), refresh=True)

    def clear(self) -> None:
        """Erase the line; the next stage draws it again."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _bar(label: str, text: str, done: int, total: int) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True, overflow="ellipsis", max_width=44)
    line.add_column(width=24)
    line.add_column(no_wrap=True)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_row(
        Text(label, style="bold"), ProgressBar(total=max(total, 1), completed=done), f"{done}/{total}", Text(text)
    )
    return line


class ConsoleProgress:
    """Progress of the command line: BarProgress on a terminal, LineProgress elsewhere; cleared at the end."""

    def __init__(self, console: Console) -> None:
        """Look at the console only once."""
        self._shown: BarProgress | LineProgress = (
            BarProgress(console) if console.is_terminal else LineProgress(_line_writer(console))
        )

    def __enter__(self) -> Self:
        """Draw nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Erase the bar."""
        self.clear()

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Show a stage."""
        self._shown.stage(scenario, text, done, total)

    def clear(self) -> None:
        """Make room for other output."""
        self._shown.clear()


def _line_writer(console: Console) -> Callable[[str], None]:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    return say
