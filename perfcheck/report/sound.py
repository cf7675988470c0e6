"""What must hold of a document before it is rendered; what does not hold is a defect of what made it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from perfcheck.report.document import Block, Chart, Document, Fold, Section, Table

ROWS: Final = "rows"
"""The name of a chart's only source of data."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_LEADING_AWAY: Final = frozenset({"href", "url", "config", "datasets"})
"""Keys that a specification must not have: they lead out of the page, or are the renderer's."""


def require_sound(document: Document) -> None:
    """Raise ValueError unless names are unique, tables and columns are even, and links lead somewhere."""
    names = [section.anchor for section in sections(document)] + [chart.name for chart in document.charts()]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a section or chart: lower-case letters, digits and hyphens")
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise ValueError(f"duplicate names of sections or charts: {', '.join(sorted(twice))}")
    for chart in document.charts():
        _require_sound_chart(chart)
    for table in tables(document):
        _require_sound_table(table, frozenset(names))


def sections(document: Document) -> Iterator[Section]:
    """Yield all sections, each before those within."""
    waiting = list(reversed(document.sections))
    while waiting:
        section = waiting.pop()
        yield section
        waiting += reversed(section.sections)


def tables(document: Document) -> Iterator[Table]:
    """Yield all tables."""
    for blocks in (document.lead, *(section.blocks for section in sections(document))):
        yield from (block for block in _flat(blocks) if isinstance(block, Table))


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from _flat(block.blocks)


def _require_sound_table(table: Table, names: frozenset[str]) -> None:
    for row in table.rows:
        if len(row) != len(table.headings):
            raise ValueError(f"a row of {len(row)} cells below {len(table.headings)} headings: {table.headings}")
        for cell in row:
            if cell.anchor is not None and cell.anchor not in names:
                raise ValueError(f"a cell leads to {cell.anchor!r}, which the document does not have")


def _require_sound_chart(chart: Chart) -> None:
    if len({len(column) for column in chart.columns.values()}) > 1:
        raise ValueError(f"chart {chart.name}: columns of unequal length")
    for key, value in _pairs(chart.spec):
        if key in _LEADING_AWAY:
            raise ValueError(f"chart {chart.name}: a specification must not have {key!r}")
        if key == "data" and value != {"name": ROWS}:
            raise ValueError(f"chart {chart.name}: data must be the source {ROWS!r}")


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield key, each
            yield from _pairs(each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _pairs(each)
