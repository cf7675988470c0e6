"""Textual's driver, on a terminal that may go away."""

from __future__ import annotations

from typing import Any, Final, TextIO

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver


class _Forgiving:
    """A stream whose reader may be gone: what is written then is lost, and nobody is told.

    Textual writes in a thread of its own, behind a queue of a bounded length. Where an error ended that thread, the
    next to write would wait for room in the queue for ever.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream: Final = stream

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Bring it out, if that is possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ScreenDriver(LinuxDriver):
    """Draws on the terminal, and goes on where that is gone: who waits for the end of the screen ends it."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:  # fmt: skip
        """Take what Textual gives."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file: Any = _Forgiving(self._file)
