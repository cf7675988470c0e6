"""One line on standard error that tells what takes its time."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from perfcheck.output.erased_line import ErasedLine
from perfcheck.output.terminal import console_for
from perfcheck.system.printing import complain


class StageLine:
    """Progress on standard error: one line that is erased on a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        """Look at the terminal only once."""
        self._console = console_for(stderr=True)
        self._line = ErasedLine(self._console)
        self._text = ""

    def __enter__(self) -> Self:
        """Draw nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Erase the line."""
        self.clear()

    @property
    def is_terminal(self) -> bool:
        """Whether the line is erased."""
        return self._console.is_terminal

    def stage(self, text: str) -> None:
        """Show what begins."""
        self._text = text
        if self.is_terminal:
            self._line.draw(text)
        else:
            complain(f"perfcheck: {text}")

    def share(self, done: float) -> None:
        """Show how far the stage is, on a terminal."""
        if self.is_terminal:
            self._line.draw(f"{self._text}: {done:.0%}")

    def clear(self) -> None:
        """Make room for other output."""
        self._line.clear()
