"""Where results of perfctl go: lines for people, or one event a line; to standard output or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.text import Text

from perfcheck.cli.perfctl.output_choice import OutputChoice
from perfcheck.errors import UsageError
from perfcheck.model.event import Event
from perfcheck.model.printable import ascii_json
from perfcheck.output.terminal import PIPE_WIDTH, SafeConsole, console_for
from perfcheck.system.printing import say_json

WriteLines = Callable[[Iterable[str]], None]
WriteEvents = Callable[[Iterable[Event], int], None]
"""Takes events, and what CLOCK_MONOTONIC lacks to the time of day."""


@contextmanager
def lines_to(out: OutputChoice) -> Iterator[WriteLines]:
    """Yield what writes lines for people; they are wrapped in a terminal alone."""
    if out.file is None:
        yield _lines(console_for())
        return
    with _opened(out) as stream:
        yield _lines(SafeConsole(file=stream, width=PIPE_WIDTH))


@contextmanager
def events_to(out: OutputChoice) -> Iterator[WriteEvents]:
    """Yield what writes events as lines of JSON, each at once."""
    if out.file is None:

        def say(events: Iterable[Event], epoch_ns: int) -> None:
            for event in events:
                say_json(event.to_json(tool=out.prog, epoch_ns=epoch_ns))

        yield say
        return
    with _opened(out) as stream:

        def write(events: Iterable[Event], epoch_ns: int) -> None:
            stream.writelines(f"{ascii_json(event.to_json(tool=out.prog, epoch_ns=epoch_ns))}\n" for event in events)
            stream.flush()

        yield write


def _lines(console: SafeConsole) -> WriteLines:
    def write(lines: Iterable[str]) -> None:
        for line in lines:
            console.print(Text(line), soft_wrap=not console.is_terminal)

    return write


@contextmanager
def _opened(out: OutputChoice) -> Iterator[TextIO]:
    assert out.file is not None  # noqa: S101 - the callers' own mistake
    try:
        stream = out.file.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output-file: {out.file}: cannot be written: {error.strerror}; name another file") from None
    with stream:
        yield stream
