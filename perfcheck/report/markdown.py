"""A document as Markdown of GitHub and GitLab: the same texts and tables, and charts as a line of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from types import MappingProxyType
from typing import Final

from perfcheck.model.units import plain_number
from perfcheck.output.markdown_text import fenced, prose
from perfcheck.report.document import (
    Badge,
    Block,
    Bullets,
    Cell,
    Chain,
    Chart,
    Code,
    Document,
    Evidence,
    Facts,
    Figures,
    Fold,
    Paragraph,
    Section,
    Table,
    Tone,
)
from perfcheck.report.sound import require_sound
from perfcheck.report.spark import spark

_ALERTS: Final[Mapping[Tone, str]] = MappingProxyType(
    {Tone.BAD: "CAUTION", Tone.WARNING: "WARNING", Tone.GOOD: "TIP", Tone.INFO: "NOTE"}
)
_DRAWN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,%/-]*")
"""States that a diagram can name without more ado."""
_DEEPEST: Final = 6
_Part = Iterator[str]


def render_markdown(document: Document) -> str:
    """Return the text; ValueError for a document that is not sound."""
    require_sound(document)
    return "\n".join(_parts(document))


def _parts(document: Document) -> _Part:
    yield f"# {prose(document.title)}{_badge(document.badge)}\n"
    if document.subtitle:
        yield f"{prose(document.subtitle)}\n"
    yield from _blocks(document.lead)
    for section in document.sections:
        yield from _section(section, 2)
    if document.footer:
        yield f"<sub>{prose(document.footer)}</sub>\n"


def _section(section: Section, level: int) -> _Part:
    marks = "#" * min(level, _DEEPEST)
    yield f'{marks} <a id="{section.anchor}"></a>{prose(section.title)}{_badge(section.badge)}\n'
    yield from _blocks(section.blocks)
    for inner in section.sections:
        yield from _section(inner, level + 1)


def _badge(badge: Badge | None) -> str:
    return f" (<b>{prose(badge.text)}</b>)" if badge else ""


def _blocks(blocks: Sequence[Block]) -> _Part:
    for block in blocks:
        yield from _shown(block)


@singledispatch
def _shown(block: object) -> _Part:
    raise TypeError(f"no block of a document: {block!r}")


@_shown.register
def _(block: Paragraph) -> _Part:
    alert = _ALERTS.get(block.tone)
    yield f"> [!{alert}]\n> {prose(block.text)}\n" if alert else f"{prose(block.text)}\n"


@_shown.register
def _(block: Bullets) -> _Part:
    yield _list(block.items)


@_shown.register
def _(block: Facts) -> _Part:
    yield "".join(f"- <b>{prose(name)}</b>: {prose(value)}\n" for name, value in block.pairs)


@_shown.register
def _(block: Table) -> _Part:
    if block.caption:
        yield f"{prose(block.caption)}\n"
    yield "".join(f"| {' | '.join(line)} |\n" for line in _lines(block))


def _lines(table: Table) -> Iterator[Sequence[str]]:
    yield [prose(heading) for heading in table.headings]
    yield ["---:" if at in table.numeric else "---" for at in range(len(table.headings))]
    for row in table.rows:
        yield [_cell(cell) for cell in row]


def _cell(cell: Cell) -> str:
    text = prose(cell.text)
    if cell.anchor is not None:
        text = f'<a href="#{cell.anchor}">{text}</a>'
    return text if cell.tone is Tone.NEUTRAL else f"<b>{text}</b>"


@_shown.register
def _(block: Figures) -> _Part:
    for chart in block.charts:
        yield _chart(chart)


def _chart(chart: Chart) -> str:
    text = f'<a id="{chart.name}"></a><b>{prose(chart.title)}</b><br>\n{prose(chart.summary)}\n'
    course = spark(chart)
    if course is None:
        return text
    of = ", ".join(course.series)
    named = f" {prose(of)}" if of else ""
    return f"{text}<br><code>{course.line}</code> {plain_number(course.low)} to {plain_number(course.high)}{named}\n"


@_shown.register
def _(block: Chain) -> _Part:
    if block.caption:
        yield f"{prose(block.caption)}\n"
    lags = (*block.lags, *("",) * len(block.states))
    steps = "".join(
        f" &#8594; {f'({prose(lag)}) ' if lag else ''}<b>{prose(state)}</b>"
        for lag, state in zip(lags, block.states[1:], strict=False)
    )
    if block.states:
        yield f"<b>{prose(block.states[0])}</b>{steps}\n"
    if len(block.states) > 1 and all(_DRAWN.fullmatch(text) for text in (*block.states, *filter(None, block.lags))):
        yield fenced(_diagram(block.states, lags), "mermaid")


def _diagram(states: Sequence[str], lags: Sequence[str]) -> str:
    nodes = [f'  s{number}["{state}"]' for number, state in enumerate(states)]
    labels = [f'|"{lag}"|' if lag else "" for lag in lags]
    arrows = [f"  s{number} -->{labels[number]} s{number + 1}" for number in range(len(states) - 1)]
    return "\n".join(("flowchart LR", *nodes, *arrows))


@_shown.register
def _(block: Evidence) -> _Part:
    for title, items in (("Speaks for it", block.speaks_for), ("Speaks against it", block.speaks_against)):
        yield f"{title}:\n\n{_list(items or ('nothing',))}"


@_shown.register
def _(block: Code) -> _Part:
    yield fenced(block.text)


@_shown.register
def _(block: Fold) -> _Part:
    yield f"<details{' open' if block.opened else ''}><summary>{prose(block.summary)}</summary>\n"
    yield from _blocks(block.blocks)
    yield "</details>\n"


def _list(items: Sequence[str]) -> str:
    return "".join(f"- {prose(item)}\n" for item in items)
