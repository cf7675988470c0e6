"""Where commands write: tables and lines for people, or one JSON object a line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol, TextIO

from rich.text import Text

from perfcheck.cli.perfctl.columns import Column, table_lines
from perfcheck.errors import UsageError
from perfcheck.model.event import Event
from perfcheck.model.printable import ascii_json, printable, printable_lines
from perfcheck.output.terminal import PIPE_WIDTH, SafeConsole, console_for
from perfcheck.system.printing import say_at_once, say_json

_AT_ONCE: Final = 500


class EventWriter(Protocol):
    """Takes events, and brings them out at once."""

    def __call__(self, events: Iterable[Event], *, epoch_ns: int) -> None:
        """Write each as one line."""


@contextmanager
def console_of(file: Path | None) -> Iterator[SafeConsole]:
    """Yield the console that results go to: the terminal or pipe, or a file; UsageError where it cannot be made."""
    if file is None:
        yield console_for()
        return
    with _opened(file) as stream:
        yield SafeConsole(file=stream, width=PIPE_WIDTH)


def text_lines_of(file: Path | None) -> AbstractContextManager[Callable[[str], None]]:
    """Return a context with what writes lines of text at once, to standard output or to a file."""
    return _lines_of(file, say_at_once, printable_lines)


def json_lines_of(file: Path | None) -> AbstractContextManager[Callable[[str], None]]:
    """Return a context with what writes JSON, one object a line, to standard output or to a file."""
    return _lines_of(file, say_json, ascii_json)


@contextmanager
def _lines_of(
    file: Path | None, say: Callable[[str], None], safe: Callable[[str], str]
) -> Iterator[Callable[[str], None]]:  # fmt: skip
    if file is None:
        yield say
        return
    with _opened(file) as stream:

        def write(text: str) -> None:
            stream.write(f"{safe(text)}\n")
            stream.flush()

        yield write


@contextmanager
def events_of(file: Path | None, tool: str) -> Iterator[EventWriter]:
    """Yield what writes events to standard output, or to a file."""
    if file is None:

        def say(events: Iterable[Event], *, epoch_ns: int) -> None:
            lines = [event.to_json(tool=tool, epoch_ns=epoch_ns) for event in events]
            for first in range(0, len(lines), _AT_ONCE):  # each call flushes
                say_json("\n".join(lines[first : first + _AT_ONCE]))

        yield say
        return
    with _opened(file) as stream:

        def write(events: Iterable[Event], *, epoch_ns: int) -> None:
            stream.writelines(f"{ascii_json(event.to_json(tool=tool, epoch_ns=epoch_ns))}\n" for event in events)
            stream.flush()

        yield write


def print_table(console: SafeConsole, columns: Iterable[Column]) -> None:
    """Print a table as wide as the terminal; what a program reads is never cut."""
    lines = table_lines(tuple(columns), console.width if console.is_terminal else None)
    text = Text(lines[0], style="bold")
    for line in lines[1:]:
        text.append(f"\n{line}", style="not bold")
    console.print(text, soft_wrap=True)


def print_lines(console: SafeConsole, lines: Iterable[str]) -> None:
    """Print lines of prose, wrapped in a terminal."""
    for line in lines:
        for part in wrapped(line, console.width if console.is_terminal else None):
            console.print(Text(part), soft_wrap=True)


def wrapped(line: str, width: int | None) -> list[str]:
    """Return a line in pieces of a terminal's width, all but the first further to the right; None: as it is."""
    text = printable(line)
    if width is None or len(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()) + 4)
    return textwrap.wrap(text, max(width, 40), subsequent_indent=indent, break_on_hyphens=False)


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    try:
        stream = file.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}; name another --output-file") from None
    with stream:
        yield stream
