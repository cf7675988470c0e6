"""The job summary of GitHub: counts, a table with plots, the causes and diagrams of what failed; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final

from perfcheck.model.printable import printable_html
from perfcheck.output.cases import Case, Status, failures
from perfcheck.output.markdown_text import code, in_html, inline, prose
from perfcheck.output.mermaid import fenced
from perfcheck.output.rows import headings_of, notes
from perfcheck.output.sparks import LEGEND_OF_INTERVALS, LEGEND_OF_RUNS
from perfcheck.output.story import Story
from perfcheck.output.table import plain_tally

SUMMARY_LIMIT_BYTES: Final = 1024 * 1024
"""What a step's job summary may hold; a larger one is refused whole."""
_FIRST: Final = ("scenario", "metric", "verdict")
_LEGENDS: Final[Mapping[str, str]] = MappingProxyType({"value": LEGEND_OF_RUNS, "interval": LEGEND_OF_INTERVALS})
MOST_DRAWN: Final = 5
"""Scenarios with diagrams: GitHub draws each diagram in a frame of its own."""
MOST_PLOTTED: Final = 60
"""Rows that all have plots; in a longer table only those have that did not pass."""


def markdown(
    found: Sequence[Case], room_bytes: int = SUMMARY_LIMIT_BYTES, stories: Sequence[Story] = ()
) -> str:  # fmt: skip
    """Return the job summary: counts, a table of all cases, what failed and why; never beyond `room_bytes`."""
    rows = [case.row for case in found]
    head = f"## perfcheck: {plain_tally(rows) or 'nothing measured'}\n\n"
    cut = "\n(the rest is omitted: GitHub limits the size of a summary)\n"
    known = {story.scenario: story for story in stories}
    text = ""
    room = room_bytes - len(head.encode()) - len(cut.encode())
    for part in (*_table(found, known), *_failed(found, known), *_notes(found), *_causes(stories)):
        if len(part.encode()) > room:
            return head + text + cut
        text += part
        room -= len(part.encode())
    return head + text


def _table(found: Sequence[Case], known: Mapping[str, Story]) -> Iterator[str]:
    """Yield the table, the verdict before the figures: a page as narrow as GitHub's hides the last columns."""
    figures = [heading for heading in headings_of([case.row for case in found]) if heading not in _FIRST]
    headings = (*_FIRST, *figures)
    yield f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}\n"
    plotted: set[str] = set()
    for case in found:
        wanted = len(found) <= MOST_PLOTTED or case.status is not Status.PASSED
        plots = _plots(case, known.get(case.scenario)) if wanted else {}
        plotted.update(plots)
        cells = [inline(cell) for cell in case.row.cells(headings)]
        if plots:
            # Values are not broken, so that a row with plots has two lines.
            cells[len(_FIRST) :] = [
                _unbroken(cell) + plots.get(heading, "")
                for cell, heading in zip(cells[len(_FIRST) :], figures, strict=True)
            ]
        yield f"| {' | '.join(cells)} |\n"
    legend = " ".join(text for heading, text in _LEGENDS.items() if heading in plotted)
    if legend:
        yield f"\n<sub>{legend}</sub>\n"


def _unbroken(shown: str) -> str:
    return shown.replace(" ", "&nbsp;")


def _plots(case: Case, story: Story | None) -> Mapping[str, str]:
    """Return what stands below a cell's text, by heading; the plots' characters are perfcheck's own."""
    if story is None:
        return {}
    found = {}
    if case.row.value and case.metric in story.runs:
        line, extremes = story.runs[case.metric]
        found["value"] = f"<br>{_drawn(line)}&nbsp;<sub>{_unbroken(inline(extremes))}</sub>"
    if case.row.interval and case.metric in story.bars:
        found["interval"] = f"<br>{_drawn(story.bars[case.metric])}"
    return found


def _drawn(plot: str) -> str:
    """Return a plot; a letter of ASCII is none of its characters, and could be markup."""
    return f"<code>{''.join(each for each in plot if not each.isascii())}</code>"


def _failed(found: Sequence[Case], known: Mapping[str, Story]) -> Iterator[str]:
    """Yield for each scenario that failed its causes, diagrams, and the failures' texts."""
    drawn = 0
    for scenario, group in groupby(failures(found), key=lambda case: case.scenario):
        story = known.get(scenario)
        if story is not None and story.cause:
            yield f"\n### {prose(scenario)}\n\n- **Cause:** {prose(story.cause)}\n"
            yield from (f"- **{label}:** {prose(text)}\n" for label, text in story.told)
            if story.reproduce:
                yield f"- **Reproduce:** {code(story.reproduce)}\n"
            if story.diagrams and drawn < MOST_DRAWN:
                drawn += 1
                yield from (f"\n{fenced(diagram)}\n" for diagram in story.diagrams)
        yield from map(_failure, group)


def _failure(case: Case) -> str:
    """Return a failure's text as an HTML block, in which there is no Markdown."""
    return (
        f"\n<details><summary>{in_html(case.full_name)}: {in_html(case.headline)}</summary>\n\n"
        f"<pre>\n{printable_html(case.text)}\n</pre>\n\n</details>\n"
    )


def _notes(found: Sequence[Case]) -> Iterator[str]:
    lines = notes([case.row for case in found])
    if lines:
        yield "\n" + "\n".join(f"- {inline(line)}" for line in lines) + "\n"


def _causes(stories: Sequence[Story]) -> Iterator[str]:
    """Yield what limits each scenario, folded."""
    told = [story for story in stories if story.cause]
    if told:
        rows = "".join(f"| {prose(one.scenario)} | {prose(one.cause)} | {prose(one.advice)} |\n" for one in told)
        yield (
            "\n<details><summary>What limits each scenario</summary>\n\n"
            f"| scenario | cause | advice |\n|---|---|---|\n{rows}\n</details>\n"
        )
