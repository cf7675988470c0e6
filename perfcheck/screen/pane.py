"""A pane of lines: it draws those that changed, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from perfcheck.screen.lines import EMPTY, Line, fitted, text_of, width_of
from perfcheck.screen.look import Look, Tone

_COLOURS: Final[Mapping[Tone, str]] = {
    Tone.PLAIN: "", Tone.DIM: "bright_black", Tone.STRONG: "bold", Tone.TITLE: "bold cyan", Tone.LABEL: "bright_black",
    Tone.HEADING: "bold", Tone.SORTED: "bold cyan", Tone.GOOD: "green", Tone.NOTE: "cyan", Tone.WARN: "yellow",
    Tone.BAD: "red", Tone.ALARM: "bold red", Tone.GRAPH: "cyan", Tone.GRAPH_WARN: "yellow", Tone.GRAPH_BAD: "red",
    Tone.KEY: "bold cyan",
}  # fmt: skip
"""The terminal's own colours, which its user chose: light or dark."""
_ATTRIBUTES: Final[Mapping[Tone, str]] = {
    Tone.STRONG: "bold", Tone.TITLE: "bold", Tone.HEADING: "bold", Tone.SORTED: "bold underline", Tone.WARN: "bold",
    Tone.BAD: "bold", Tone.ALARM: "bold reverse", Tone.KEY: "bold",
}  # fmt: skip


def styles_of(look: Look) -> Mapping[Tone, Style]:
    """Return the style of each tone on a terminal."""
    if not look.attributes:
        return {tone: Style.null() for tone in Tone}
    table = _COLOURS if look.colours else _ATTRIBUTES
    return {tone: Style.parse(table.get(tone, "")) for tone in Tone}


class LinePane(Widget):
    """Lines that may be more than fit; `top` is the first one in sight, and `marked` is drawn as chosen."""

    def __init__(self, look: Look, name: str) -> None:
        """Show no line yet."""
        super().__init__(id=name)
        self._look = look
        self._styles_of = styles_of(look)
        self._chosen = Style(reverse=True, bold=True) if look.attributes else Style.null()
        self._lines: list[Line] = []
        self._drawn: list[tuple[Line, bool]] = []
        self._marked = -1
        self.top = 0

    @property
    def texts(self) -> list[str]:
        """The texts of all lines."""
        return [text_of(line) for line in self._lines]

    def set_lines(self, lines: Sequence[Line], marked: int = -1) -> None:
        """Show these lines; only the ones that differ are drawn again."""
        self._lines = list(lines)
        self._marked = marked
        self.scroll_lines(0)

    def scroll_lines(self, lines: int) -> None:
        """Move what is in sight."""
        self.top = max(min(self.top + lines, len(self._lines) - self.size.height), 0)
        now = [self._line(y) for y in range(self.size.height)]
        for y, line in enumerate(now):
            if y >= len(self._drawn) or self._drawn[y] != line:
                self.refresh(Region(0, y, self.size.width, 1))
        self._drawn = now

    @property
    def more(self) -> int:
        """How many lines are below what is in sight."""
        return max(len(self._lines) - self.top - self.size.height, 0)

    def _line(self, y: int) -> tuple[Line, bool]:
        place = self.top + y
        return (self._lines[place] if place < len(self._lines) else EMPTY), place == self._marked

    def render_line(self, y: int) -> Strip:
        """Return a line as Textual wants it, filled up to the width."""
        line, is_marked = self._line(y)
        width = self.size.width
        # One colour for all of a chosen row: patches of several would be hard to read.
        segments = [
            Segment(text, self._chosen if is_marked else self._styles_of[tone])
            for text, tone in fitted(line, width) if text
        ]  # fmt: skip
        used = sum(width_of(each.text) for each in segments)
        return Strip([*segments, Segment(" " * (width - used), self._chosen if is_marked else Style.null())], width)
