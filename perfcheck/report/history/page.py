"""What the page of a metric's history says: an overview of all series, and each with its charts and findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perfcheck.compare.trends import CUSUM_LIMIT
from perfcheck.model.printable import printable
from perfcheck.report.charts.history import Runs, history, sums
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Block, Bullets, Cell, Document, Facts, Figures, Paragraph, Section, Table, Tone
from perfcheck.report.history.story import Story

_HEADINGS: Final = ("scenario", "last", "runs", "trend", "levels", "beyond 3 sigma", "machine", "links")
_NUMERIC: Final = frozenset({1, 2, 4})
MACHINE_DIGITS: Final = 8
_WITHIN: Final = f"neither sum is beyond its limit of {CUSUM_LIMIT:g} sigma"


def document(metric: str, meaning: str, stories: Sequence[Story]) -> Document:
    """Return the page of all series of one metric."""
    sections = tuple(_section(story, number) for number, story in enumerate(stories, 1))
    overview = Table(
        headings=_HEADINGS, numeric=_NUMERIC,
        rows=tuple(_row(story, section.anchor) for story, section in zip(stories, sections, strict=True)),
    )  # fmt: skip
    return Document(
        title=f"{metric}: history", subtitle=meaning,
        lead=(*map(_news, filter(_is_news, stories)), Paragraph(text=_how(stories)), overview), sections=sections,
    )  # fmt: skip


def _how(stories: Sequence[Story]) -> str:
    series = "1 series" if len(stories) == 1 else f"{len(stories)} series"
    runs = sum(len(story.series.values) for story in stories)
    return (
        f"{runs:,} runs in {series}: one for each scenario, machine and emulator of links. Each dot is the median of "
        "one run. What is told here is advice: it fails no build."
    )


def _is_news(story: Story) -> bool:
    return bool(story.outlook.changes) or any(each.lasting for each in story.outlook.excursions)


def _news(story: Story) -> Paragraph:
    """Say what changed last in one sentence."""
    if not story.outlook.changes:
        return Paragraph(text=f"{story.title}: beyond 3 sigma, {story.beyond}.", tone=Tone.WARNING)
    change = story.outlook.changes[-1]
    step = change.after - change.before
    judged = story.judged(step)
    tone = {"worse": Tone.BAD, "better": Tone.GOOD}.get(judged, Tone.INFO)
    worth = ", ".join(filter(None, (story.difference(change.before, step), judged)))
    return Paragraph(
        text=f"{story.title}: the last change of level was from {story.shown(change.before)} to "
        f"{story.shown(change.after)} ({worth}), as of {story.run(change.index)}.",
        tone=tone,
    )  # fmt: skip


def _row(story: Story, anchor: str) -> tuple[Cell, ...]:
    series = story.series
    texts = (
        story.label, story.value(-1), f"{len(series.values):,}", story.trend, str(len(story.outlook.levels)),
        story.beyond, printable(series.machine[:MACHINE_DIGITS]), printable(series.emulators),
    )  # fmt: skip
    first, *rest = texts
    return (Cell(text=first, anchor=anchor), *(Cell(text=text) for text in rest))


def _section(story: Story, number: int) -> Section:
    series, count = story.series, len(story.series.values)
    runs = Runs(
        when=[story.when(index) for index in range(count)],
        name=[printable(run[:12]) for run in series.run_ids],
    )  # fmt: skip
    findings = tuple(_finding(line) for line in story.lines())
    # One run alone is no course: its value is among the facts.
    charts = [] if count == 1 else [
        history(
            Labels(name=f"history-{number}", title="Each run", quantity=series.metric, unit=series.unit,
                   summary=_range(story)),
            story.outlook, runs,
        ),
        sums(
            Labels(name=f"sums-{number}", title="Cumulative sums of what is above and below the last level",
                   quantity="sum", unit="", summary=_drift(story)),
            story.outlook, runs,
        ),
    ]  # fmt: skip
    blocks: tuple[Block, ...] = (
        Bullets(items=findings),
        *(Figures(charts=(chart,)) for chart in charts if chart is not None),
        Facts(pairs=(
            ("workload", series.workload), ("machine", series.machine), ("links emulated by", series.emulators or "-"),
            *([("first run", f"{story.run(0)}, {story.value(0)}")] if count > 1 else []),
            ("last run" if count > 1 else "the only run", f"{story.run(-1)}, {story.value(-1)}"),
        )),
    )  # fmt: skip
    return Section(anchor=f"series-{number}", title=story.title, blocks=blocks)


def _range(story: Story) -> str:
    values, levels = story.outlook.values, len(story.outlook.levels)
    ends = dict.fromkeys(story.shown(float(value)) for value in (values.min(), values.max()))
    return f"{len(values):,} runs, {' to '.join(ends)}, on {levels} level{'s' if levels > 1 else ''}"


def _finding(line: str) -> str:
    kind, _, text = line.partition(" ")
    return f"{kind}: {text.strip()}"


def _drift(story: Story) -> str:
    found = "; ".join(map(_finding, story.drift_lines()))
    return f"{found} (the limit is {CUSUM_LIMIT:g} sigma)" if found else _WITHIN
