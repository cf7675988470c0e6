"""Writes plain lines to standard output and standard error; besides the console, no other module does.

Everything passes `perfcheck.model.printable`, so no caller has to do that.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from perfcheck.model.printable import ascii_json, printable_lines

_WRITABLE: Final = "backslashreplace"


def say(text: str) -> None:
    """Write a line, or several, to standard output."""
    _write(sys.stdout, f"{printable_lines(text)}\n")


def say_at_once(text: str) -> None:
    """Write a line, or several, to standard output, and bring them out."""
    say(text)
    if sys.stdout is not None:
        sys.stdout.flush()


def complain(text: str) -> None:
    """Write a line, or several, to standard error; nothing where it is gone, since nobody is there to be told."""
    try:
        _write(sys.stderr, f"{printable_lines(text)}\n")
    except (OSError, ValueError):
        return


def say_json(text: str) -> None:
    """Write a line of JSON to standard output at once, in ASCII."""
    _write(sys.stdout, f"{ascii_json(text)}\n")
    if sys.stdout is not None:
        sys.stdout.flush()


def prepare_streams() -> None:
    """Let the standard streams take every character: what their encoding lacks is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_WRITABLE)


class CommandStream:
    """A stream for commands of the CI service, whose texts `perfcheck.output.github` has escaped."""

    def __init__(self, *, stderr: bool = False) -> None:
        """Take standard output, or standard error where a program reads standard output."""
        self._stderr = stderr

    def write(self, text: str, /) -> None:
        """Write as it is."""
        _write(self._stream, text)

    def flush(self) -> None:
        """Bring it out."""
        if self._stream is not None:
            self._stream.flush()

    @property
    def _stream(self) -> TextIO | None:
        return sys.stderr if self._stderr else sys.stdout


@contextmanager
def flushed_output() -> Iterator[None]:
    """Bring out what waits for standard output on every way out.

    Else an error of it (its reader is gone) would be met at the interpreter's end, and be status 120.
    """
    try:
        yield
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def drop_output() -> None:
    """Send what else is written to standard output nowhere: its reader is gone, or its disk is full."""
    try:
        descriptor = sys.stdout.fileno()
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    except (OSError, ValueError, AttributeError):
        return  # not a file of this process
    try:
        os.dup2(null, descriptor)
    finally:
        os.close(null)


def _write(stream: TextIO | None, text: str) -> None:
    # None: the process was started with the stream closed.
    if stream is None:
        return
    raw = stream.buffer if isinstance(stream, io.TextIOWrapper) else None
    if not isinstance(raw, io.RawIOBase):
        stream.write(text)
        return
    # Without buffers (PYTHONUNBUFFERED) Python drops the rest of a text whose writing a signal interrupts.
    stream.flush()
    rest = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
    while rest:
        rest = rest[raw.write(rest) or 0 :]
