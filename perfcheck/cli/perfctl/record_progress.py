"""The progress of a recording: one line that is redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from rich.text import Text

from perfcheck.model.interval import Interval
from perfcheck.model.units import format_value
from perfcheck.output.erased_line import ErasedLine
from perfcheck.output.terminal import console_for

_LINE_GAP_NS: Final = 60 * 10**9
_NS: Final = 10**9


class RecordProgress:
    """Says how long it has recorded, how many bytes are kept, and how many connections there are."""

    def __init__(self, prog: str, duration_ns: int | None) -> None:
        """Draw nothing yet."""
        self._prog = prog
        self._duration_ns = duration_ns
        self._console = console_for(stderr=True)
        self._line = ErasedLine(self._console)
        self._begin_ns: int | None = None
        self._said_ns = 0
        self._intervals = 0

    def __enter__(self) -> Self:
        """Draw nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Erase the line."""
        self.clear()

    def show(self, interval: Interval, size_bytes: int) -> None:
        """Say what is kept after an interval."""
        if self._begin_ns is None:
            self._begin_ns = self._said_ns = interval.begin_ns
        self._intervals += 1
        whole = "" if self._duration_ns is None else f" of {length_text(self._duration_ns)}"
        text = (
            f"{self._prog}: {length_text(interval.end_ns - self._begin_ns)}{whole}, {self._intervals:,} intervals, "
            f"{format_value(size_bytes, 'bytes')}, {len(interval.flows):,} connections"
        )
        if self._console.is_terminal:
            self._line.draw(text)
        elif interval.end_ns - self._said_ns >= _LINE_GAP_NS:
            self._said_ns = interval.end_ns
            self._console.print(Text(text), soft_wrap=True)

    def clear(self) -> None:
        """Make room for other lines."""
        self._line.clear()


def length_text(length_ns: int) -> str:
    """Return a length of time as `5min`, `1min 30s`, `90ms`."""
    if length_ns < _NS:
        return f"{length_ns / 1e6:.4g}ms"
    minutes, seconds = divmod(round(length_ns / _NS), 60)
    parts = [f"{minutes}min"] if minutes else []
    return " ".join([*parts, f"{seconds}s"] if seconds or not minutes else parts)
