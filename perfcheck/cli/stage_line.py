"""One line on standard error that tells what takes its time."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.text import Text

from perfcheck.output.terminal import console_for
from perfcheck.system.printing import complain

if TYPE_CHECKING:
    from rich.live import Live


class StageLine:
    """Progress on standard error: one line that is erased on a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        """Look at the terminal only once."""
        self._console = console_for(stderr=True)
        self._live: Live | None = None
        self._text = ""

    def __enter__(self) -> Self:
        """Draw nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Erase the line."""
        self.clear()

    def stage(self, text: str) -> None:
        """Show what begins."""
        self._text = text
        if self._console.is_terminal:
            self._draw(text)
        else:
            complain(f"perfcheck: {text}")

    def share(self, done: float) -> None:
        """Show how far the stage is, on a terminal."""
        if self._console.is_terminal:
            self._draw(f"{self._text}: {done:.0%}")

    def clear(self) -> None:
        """Make room for other output."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, text: str) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
