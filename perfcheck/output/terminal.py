"""A safe console of the rich library: it prints text only, never markup or an escape sequence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import IO, Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from perfcheck.model.printable import printable_lines

PIPE_WIDTH: Final = 200

_STYLE: Final = r"(?:\x1b\[[0-9;]*m)*"
_COMMAND_AT_START: Final = re.compile(rf"^((?:\x1b\[[0-9;]*m|[^\S\n])*+):({_STYLE}):", re.MULTILINE)
_COMMAND_ANYWHERE: Final = re.compile(rf"#({_STYLE})#(?={_STYLE}(?:\[|vso\[|teamcity\[))")


class SafeConsole(Console):
    """A console that shows every text as it is: no markup, no emoji names, no highlighting, nothing unprintable.

    Its own colours and movements of the cursor are not text, and stay. A reader that goes away is a
    BrokenPipeError of the caller's.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of rich's console, besides those that give texts a meaning."""
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, each text made printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)

    @property
    def file(self) -> IO[str]:
        """Return the stream, behind a guard for what only whole lines show."""
        return _Guarded(super().file)  # type: ignore[return-value]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def on_broken_pipe(self) -> None:
        """Let the caller see the error: rich would end the process with status 1, which means a regression."""
        raise BrokenPipeError


class _Guarded:
    """A stream on which no line begins with a command of a CI service, though its parts came from several texts."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write whole lines; what begins a line is looked for behind colours, too."""
        text = _COMMAND_AT_START.sub(r"\1\\:\2:", text)
        return self._stream.write(_COMMAND_ANYWHERE.sub(r"#\1\\#", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def console_for(*, stderr: bool = False) -> SafeConsole:
    """Return a console that does not wrap what a program reads: a pipe has no width."""
    console = SafeConsole(stderr=stderr)
    return console if console.is_terminal else SafeConsole(stderr=stderr, width=PIPE_WIDTH)
