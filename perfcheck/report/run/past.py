"""A scenario's history: how the telling metrics were over all stored runs, with changes of level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.report.charts.history import Runs, history
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Block, Bullets, Chart, Figures, Fold, Paragraph
from perfcheck.report.history.story import Story
from perfcheck.report.run.against import slug
from perfcheck.report.run.source import Run

MOST: Final = 4
"""Histories of one scenario that are drawn."""


def history_blocks(run: Run) -> Iterator[Block]:
    """Yield the history of each metric that the report was given one of, changes of level first."""
    stories = sorted(run.stories, key=lambda story: not story.outlook.changes)
    single = [story for story in stories if len(story.series.values) == 1]
    stories = [story for story in stories if len(story.series.values) > 1]
    if single:
        names = ", ".join(story.series.metric for story in single[:MOST])
        more = f" and {len(single) - MOST} more" if len(single) > MOST else ""
        yield Paragraph(text=f"One run alone is stored, and is no history yet, of {names}{more}.")
    quiet: list[Chart] = []
    for number, story in enumerate(stories[:MOST]):
        findings = tuple(story.lines())
        chart = _chart(run, number, story, findings)
        if story.outlook.changes or story.outlook.excursions:
            yield from (Figures(charts=(chart,)), Bullets(items=findings))
        else:
            quiet.append(chart)
    if quiet:
        yield Figures(charts=tuple(quiet))
    if stories[MOST:]:
        yield Fold(
            summary=f"{len(stories) - MOST} more histories",
            blocks=(Bullets(items=tuple(f"{story.series.metric}: {story.trend}" for story in stories[MOST:])),),
            printed=False,
        )


def _chart(run: Run, number: int, story: Story, findings: tuple[str, ...]) -> Chart:
    series = story.series
    runs = Runs(
        when=[story.when(index) for index in range(len(series.values))], name=[one[:12] for one in series.run_ids]
    )  # fmt: skip
    return history(
        Labels(
            name=run.named(slug(f"history-{number}", series.metric)),
            title=f"{series.metric} over all stored runs, on machine {series.machine[:8]}: {story.trend}",
            quantity=series.metric, unit=series.unit, summary="; ".join(findings),
        ),
        story.outlook, runs,
    )  # fmt: skip
