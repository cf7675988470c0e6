"""Tables of rows: aligned plain text for logs, coloured for terminals, with the same cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import UNAVAILABLE, Row, headings_of, tally

if TYPE_CHECKING:
    from rich.text import Text

_RIGHT: Final = frozenset({"value", "against", "change", "interval", "detectable"})

NARROW: Final = 100

STYLES: Final = {
    Verdict.PASS.value: "green",
    Verdict.FAIL.value: "bold red",
    Verdict.REGRESSED.value: "bold red",
    Verdict.INVALID.value: "bold magenta",
    Verdict.IMPROVED.value: "bold cyan",
    Verdict.INCONCLUSIVE.value: "yellow",
    Verdict.NO_BASELINE.value: "yellow",
    UNAVAILABLE: "yellow",
}
"""Colours of verdicts; the words alone carry the meaning."""


def plain_table(rows: Sequence[Row]) -> str:
    """Return aligned lines, the scenario's name on each so that a log can be searched; no line is cut."""
    headings = headings_of(rows)
    lines = _aligned([headings, *(row.cells(headings) for row in rows)], headings)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def styled_table(rows: Sequence[Row], columns: int = NARROW) -> Text:
    """Return aligned lines in colours, with the scenarios' names as headings, which suits terminals of 80 columns.

    Where a terminal is no wider, intervals are left out.
    """
    headings = headings_of(rows)[1:]
    if columns <= NARROW:
        headings = tuple(heading for heading in headings if heading != "interval")
    lines = _aligned([headings, *((f"  {row.metric}", *row.cells(headings[1:])) for row in rows)], headings)
    table = _text("").append("  ".join(next(lines)).rstrip(), "bold")
    last = None
    for row, line in zip(rows, lines, strict=True):
        if row.scenario != last:
            table.append(f"\n{row.scenario}", "bold")
            last = row.scenario
        table.append(f"\n{'  '.join(line[:-1])}  ")
        table.append(row.verdict, STYLES.get(row.verdict, ""))
    return table


def _aligned(lines: Sequence[tuple[str, ...]], headings: Sequence[str]) -> Iterator[tuple[str, ...]]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        yield tuple(
            cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
            for cell, width, heading in zip(line, widths, headings, strict=True)
        )


def plain_tally(rows: Iterable[Row]) -> str:
    """Return `2 REGRESSED, 1 NO_BASELINE, 9 PASS`."""
    return ", ".join(f"{count} {word}" for word, count in tally(rows))


def styled_tally(rows: Iterable[Row]) -> Text:
    """Return the same in the verdicts' colours."""
    from rich.text import Text

    return Text(", ").join(_text(f"{count} {word}", STYLES.get(word, "")) for word, count in tally(rows))


def _text(text: str, style: str = "") -> Text:
    """Make a text in which `[...]` is no markup: matrix points are written so."""
    from rich.text import Text

    return Text(text, style=style)
