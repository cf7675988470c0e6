"""The console that commands print on."""

from __future__ import annotations

from typing import Final

from rich.console import Console

PIPE_WIDTH: Final = 200


def console_for(*, stderr: bool = False) -> Console:
    """Give a console that does not wrap what a program reads: a pipe has no width."""
    console = _Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else _Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


class _Console(Console):
    """A console whose reader may go away (head, less) without that being a failure of the run."""

    def on_broken_pipe(self) -> None:
        """Let the caller see the error: rich would end the process with status 1, which means a regression."""
        raise BrokenPipeError
