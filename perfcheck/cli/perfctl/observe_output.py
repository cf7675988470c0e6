"""Where `perfctl observe` writes: lines for people, or one event a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.text import Text

from perfcheck.cli.perfctl.export_run import EXPORTED
from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.cli.perfctl.writing import EventWriter, console_of, events_of, wrapped
from perfcheck.live import observe_text
from perfcheck.live.observation import Figures
from perfcheck.model.event import Event
from perfcheck.model.interval import Interval
from perfcheck.output.terminal import SafeConsole
from perfcheck.system.printing import complain

_STYLES: Final = {observe_text.RAISED: "bold red", observe_text.CLEARED: "green"}
"""The words alone carry the meaning."""


class Told(Protocol):
    """One form of the results."""

    def interval(self, interval: Interval, figures: Figures, details: Iterable[str], events: Sequence[Event]) -> None:
        """Tell an interval: its figures, what needs words, and the same as events."""

    def end(self, lines: Iterable[str], events: Sequence[Event], epoch_ns: int) -> None:
        """Tell the summary."""

    def note(self, lines: Iterable[str]) -> None:
        """Tell what is not of the network: a target of alerts is down or back."""


@contextmanager
def told_to(out: OutputChoice) -> Iterator[Told]:
    """Yield what tells the results as the options say; UsageError where a file cannot be made."""
    if out.format in EXPORTED:
        yield _Apart(out.prog)
    elif out.format == "json":
        with events_of(out.file, out.prog) as write:
            yield _Json(write, out.prog)
    else:
        with console_of(out.file) as console:
            yield _Lines(console)


class _Lines:
    """Lines in columns; a header before the first and again after some, so that one is always in sight."""

    def __init__(self, console: SafeConsole) -> None:
        self._console = console
        self._since_header = observe_text.REPEATED

    def interval(self, interval: Interval, figures: Figures, details: Iterable[str], events: Sequence[Event]) -> None:  # noqa: ARG002
        """Print the line, and details below it."""
        below = list(observe_text.laid_out(details, self._width))
        if self._since_header + 1 + len(below) > observe_text.REPEATED:
            self._print(observe_text.HEADER, "bold")
            self._since_header = 0
        self._print(observe_text.interval_line(interval, figures))
        self._since_header += 1 + len(below)
        for line in below:
            self._print(line, next((style for word, style in _STYLES.items() if line.strip().startswith(word)), ""))

    def end(self, lines: Iterable[str], events: Sequence[Event], epoch_ns: int) -> None:  # noqa: ARG002
        """Print the summary below an empty line."""
        self._print("")
        for line in lines:
            for part in wrapped(line, self._width):
                self._print(part)

    def note(self, lines: Iterable[str]) -> None:
        """Print notes as details are."""
        for line in observe_text.laid_out(lines, self._width):
            self._print(line, "yellow")
            self._since_header += 1

    @property
    def _width(self) -> int | None:
        return self._console.width if self._console.is_terminal else None

    def _print(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)


class _Apart:
    """Figures go elsewhere: what needs words goes to standard error."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def interval(self, interval: Interval, figures: Figures, details: Iterable[str], events: Sequence[Event]) -> None:
        """Tell nothing."""

    def end(self, lines: Iterable[str], events: Sequence[Event], epoch_ns: int) -> None:  # noqa: ARG002
        """Write the summary."""
        for line in lines:
            complain(line)

    def note(self, lines: Iterable[str]) -> None:
        """Write what is not of the network."""
        for line in lines:
            complain(f"{self._tool}: {line}")


class _Json:
    """One event a line, brought out at once."""

    def __init__(self, write: EventWriter, tool: str) -> None:
        self._events = write
        self._tool = tool

    def interval(self, interval: Interval, figures: Figures, details: Iterable[str], events: Sequence[Event]) -> None:  # noqa: ARG002
        """Write the events."""
        self._events(events, epoch_ns=interval.epoch_ns)

    def end(self, lines: Iterable[str], events: Sequence[Event], epoch_ns: int) -> None:  # noqa: ARG002
        """Write the events of the summary."""
        self._events(events, epoch_ns=epoch_ns)

    def note(self, lines: Iterable[str]) -> None:
        """Write to standard error: it is no event."""
        for line in lines:
            complain(f"{self._tool}: {line}")
