"""The report of runs as a whole: the summary, all verdicts, and a part for each scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from perfcheck.report.document import Block, Code, Document, Paragraph, Section
from perfcheck.report.run.against import spread_blocks, trial_blocks
from perfcheck.report.run.bottleneck import bottleneck_blocks
from perfcheck.report.run.budget import Budget, budgets
from perfcheck.report.run.circumstances import changed_blocks, environment_block, trust_blocks
from perfcheck.report.run.courses import course_blocks
from perfcheck.report.run.network import network_blocks
from perfcheck.report.run.past import history_blocks
from perfcheck.report.run.raw import raw_block
from perfcheck.report.run.source import Given, Run, runs_of
from perfcheck.report.run.summary import badge, counted, lead
from perfcheck.report.run.tables import metric_blocks
from perfcheck.report.run.verdicts import all_cases, badge_of, own_cases
from perfcheck.version import VERSION

Step = Callable[[str, int, int], None]
"""Is told of each scenario before its part is made: its label, how many are done, and of how many."""


def run_document(given: Given, *, step: Step | None = None) -> Document:
    """Return the report of these records."""
    runs = runs_of(given)
    sections: list[Section] = []
    for number, (run, budget) in enumerate(zip(runs, budgets(runs), strict=True)):
        if step is not None:
            step(run.label, number, len(runs))
        sections.append(_section(run, budget))
    # What failed is read first.
    order = sorted(range(len(runs)), key=lambda place: not runs[place].failed)
    return Document(
        title=_title(runs), subtitle=_subtitle(runs), badge=badge(runs), lead=tuple(lead(runs, given.notes)),
        sections=(
            *_verdicts(runs), *(sections[place] for place in order),
        ),
        footer=f"Made by perfcheck {VERSION}. Numbers are medians of the trials that count, unless said otherwise.",
    )  # fmt: skip


def _verdicts(runs: Sequence[Run]) -> Iterator[Section]:
    """Yield the table of all cases; a single scenario's stand in its own part."""
    if len(runs) > 1:
        yield Section(anchor="verdicts", title="All verdicts", blocks=tuple(all_cases(runs)))


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].label
    return f"Network performance of {counted(runs)}"


def _subtitle(runs: Sequence[Run]) -> str:
    return runs[0].record.scenario.title if len(runs) == 1 else ""


def _section(run: Run, budget: Budget) -> Section:
    record = run.record
    intro = [Paragraph(text=record.scenario.title)] if record.scenario.title else []
    return Section(
        anchor=run.anchor, title=run.title, badge=badge_of(run), blocks=(*intro, *own_cases(run)),
        sections=tuple(_parts(run, budget)),
    )  # fmt: skip


def _parts(run: Run, budget: Budget) -> Iterator[Section]:
    parts: Iterable[tuple[str, str, Iterable[Block]]] = (
        ("bottleneck", "Bottleneck", bottleneck_blocks(run)),
        ("courses", "Over time", course_blocks(run, budget.values)),
        ("trials", "From trial to trial", trial_blocks(run)),
        ("spread", "Distributions", spread_blocks(run) if budget.values else ()),
        ("network", "Network", network_blocks(run)),
        ("changed", "What differs", (*changed_blocks(run), environment_block(run.record))),
        ("history", "History", history_blocks(run)),
        ("metrics", "Metrics", metric_blocks(run, budget.rows)),
        ("trust", "How far to trust it", trust_blocks(run)),
        ("raw", "Again, and raw", _raw(run, budget)),
    )
    for name, title, blocks in parts:
        made = tuple(blocks)
        if made:
            yield Section(anchor=f"{run.anchor}-{name}", title=title, blocks=made)


def _raw(run: Run, budget: Budget) -> Iterator[Block]:
    commands = [command for command in (run.record.reproduce, run.record.virtme) if command]
    for command in commands:
        yield Code(text=command, copied=True)
    yield raw_block(run, budget.raw)
