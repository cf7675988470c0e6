"""What a report says, apart from how it looks: blocks of text, tables and charts, which every form renders alike.

Texts are plain: they may be of any characters, and each renderer escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Tone(StrEnum):
    """What a thing means to the reader; a form may give it a colour, and always has a word for it beside."""

    NEUTRAL = "neutral"
    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A word such as a verdict."""

    text: str
    tone: Tone = Tone.NEUTRAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Running text."""

    text: str
    tone: Tone = Tone.NEUTRAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """A list of short texts."""

    items: tuple[str, ...]
    tone: Tone = Tone.NEUTRAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and what they are: `machine`, `6.12, 2 CPUs`."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A field of a table. `anchor` is the section or figure of this document that it leads to."""

    text: str
    tone: Tone = Tone.NEUTRAL
    anchor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; columns in `numeric` are aligned as numbers are. A row has as many cells as headings.

    `stacks`: where there is no room for all columns, each row becomes a card with its headings beside the texts.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    caption: str = ""
    stacks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chart:
    """A chart as a Vega-Lite specification over columns of values.

    `name` is unique in the document, of lower-case letters, digits and hyphens. `spec` has no `config` (the theme is
    the renderer's), no data but the named source `rows`, and only field names that are keys of `columns`, which
    perfcheck chose: nothing of a record is a field name or an expression. `columns` are of equal length; a number
    that is not known is None. `summary` says in words what is to be seen, for who cannot see it.
    """

    name: str
    title: str
    summary: str
    spec: Mapping[str, Any]
    columns: Mapping[str, Sequence[float | int | str | None]]

    @property
    def values(self) -> int:
        """How many values it has, which its size in a page goes by."""
        return sum(len(column) for column in self.columns.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Charts that belong together; a wide page may have them side by side."""

    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A causal chain, from the first state to the symptom; `lags[i]` is what passed before `states[i + 1]`, or ""."""

    states: tuple[str, ...]
    lags: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for something, and what against it."""

    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Text as it is, in lines: a command to copy, or raw data."""

    text: str
    copied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Blocks behind a line that opens them. On paper they are open, or the line alone is there, as `printed` says."""

    summary: str
    blocks: tuple[Block, ...]
    opened: bool = False
    printed: bool = True


Block = Paragraph | Bullets | Facts | Table | Figures | Chain | Evidence | Code | Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with what stands under it; `anchor` is unique in the document, named as charts are."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    badge: Badge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole report. `lead` is what a reader sees first; `sections` are its table of contents, two levels deep."""

    title: str
    subtitle: str = ""
    badge: Badge | None = None
    lead: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    footer: str = ""

    def charts(self) -> Iterator[Chart]:
        """Yield all charts in their order."""
        yield from _charts(self.lead)
        for section in self.sections:
            yield from _charts_of(section)


def _charts_of(section: Section) -> Iterator[Chart]:
    yield from _charts(section.blocks)
    for inner in section.sections:
        yield from _charts_of(inner)


def _charts(blocks: Sequence[Block]) -> Iterator[Chart]:
    for block in blocks:
        if isinstance(block, Figures):
            yield from block.charts
        elif isinstance(block, Fold):
            yield from _charts(block.blocks)
