"""One line on a terminal that is drawn anew, and erased when other lines come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from perfcheck.output.terminal import SafeConsole

if TYPE_CHECKING:
    from rich.live import Live


class ErasedLine:
    """Draws a line without a thread of its own, which would take CPU time from a measurement."""

    def __init__(self, console: SafeConsole) -> None:
        """Draw nothing yet."""
        self._console = console
        self._live: Live | None = None

    def draw(self, text: str) -> None:
        """Show a text in place of the one before."""
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def clear(self) -> None:
        """Make room for other lines."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()
