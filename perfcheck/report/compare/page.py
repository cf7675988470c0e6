"""The page of a comparison, which a kernel developer links in a patch: the result first, all that it rests on below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from perfcheck.model.unavailable import verdict_of
from perfcheck.model.verdict import overall
from perfcheck.report.causes import all_causes
from perfcheck.report.compare.environment import environment_blocks
from perfcheck.report.compare.method import method_blocks
from perfcheck.report.compare.metrics import MOST_SHOWN, forest_of, run_figures, verdict_table
from perfcheck.report.compare.profiles import profile_sections
from perfcheck.report.compare.series import MOST_CHARTS, course_figures
from perfcheck.report.compare.sides import VERDICT_TONES, A, B, Compared, badge_of
from perfcheck.report.compare.words import result
from perfcheck.report.document import Block, Cell, Document, Facts, Figures, Paragraph, Section, Table
from perfcheck.version import VERSION

MOST_RUN_CHARTS: Final = 60
MOST_COURSES: Final = 40
"""Charts of all scenarios together: each has fewer of them where there are many scenarios."""


def document(compared: Sequence[Compared]) -> Document:
    """Return the page of one scenario, or of several; ValueError for none."""
    if not compared:
        raise ValueError("nothing is compared")
    first = compared[0]
    verdict = overall(
        each for one in compared for each in (one.after.verdict, verdict_of(one.after, one.after.comparisons))
    )
    title = first.label if len(compared) == 1 else f"{len(compared)} scenarios"
    return Document(
        title=f"{title}: B against A", subtitle=" against ".join(reversed(first.side_texts)),
        badge=badge_of(verdict), lead=tuple(_lead(compared)), sections=tuple(_sections(compared)),
        footer=f"perfcheck {VERSION}, A of {first.before.started_at}, B of {first.after.started_at}",
    )  # fmt: skip


def _lead(compared: Sequence[Compared]) -> list[Block]:
    first = compared[0]
    blocks: list[Block] = [Facts(pairs=tuple(zip((A, B), first.side_texts, strict=True)))]
    if len(compared) == 1:
        blocks.insert(0, Paragraph(text=result(first), tone=VERDICT_TONES[first.after.verdict]))
        if first.after.comparisons:
            blocks.append(Figures(charts=(forest_of(first, 1),)))
        return blocks
    return [*blocks, _overview(compared)]


def _overview(compared: Sequence[Compared]) -> Table:
    rows = []
    for number, one in enumerate(compared, 1):
        verdict = one.after.verdict
        words = ", ".join(f"{count} {word}" for word, count in _counts(one))
        rows.append((
            Cell(text=one.label, anchor=f"scenario-{number}"),
            Cell(text=verdict.value, tone=VERDICT_TONES[verdict]), Cell(text=words), Cell(text=result(one)),
        ))  # fmt: skip
    return Table(headings=("scenario", "verdict", "metrics", "result"), rows=tuple(rows), stacks=True)


def _counts(one: Compared) -> list[tuple[str, int]]:
    words = [each.verdict.value for each in one.after.comparisons]
    return [(word, words.count(word)) for word in dict.fromkeys(words)]


def _sections(compared: Sequence[Compared]) -> list[Section]:
    if len(compared) == 1:
        return _parts(compared[0], 1, 1)
    return [
        Section(
            anchor=f"scenario-{number}", title=one.label, badge=badge_of(one.after.verdict),
            blocks=(Paragraph(text=result(one), tone=VERDICT_TONES[one.after.verdict]),
                    *([Figures(charts=(forest_of(one, number),))] if one.after.comparisons else [])),
            sections=tuple(_flat(_parts(one, number, len(compared)))),
        )
        for number, one in enumerate(compared, 1)
    ]  # fmt: skip


def _flat(parts: Sequence[Section]) -> list[Section]:
    """Return sections without any below them, as these stand two levels deep already."""
    return [each for part in parts for each in (replace(part, sections=()), *part.sections) if each.blocks]


def _parts(one: Compared, number: int, of: int) -> list[Section]:
    shown, drawn = min(MOST_SHOWN, MOST_RUN_CHARTS // of), min(MOST_CHARTS, MOST_COURSES // of)
    parts = [Section(anchor=f"differs-{number}", title="What differs", blocks=environment_blocks(one))]
    if one.after.comparisons:
        table = verdict_table(one, number, shown)
        parts.append(Section(anchor=f"verdicts-{number}", title="Verdicts", blocks=(table,)))
    runs = run_figures(one, number, shown)
    if runs:
        parts.append(Section(anchor=f"each-run-{number}", title="Each run", blocks=runs))
    courses = course_figures(one, number, drawn)
    if courses:
        parts.append(Section(anchor=f"courses-{number}", title="Over time", blocks=courses))
    profiles = profile_sections(one, number)
    if profiles:
        parts.append(Section(anchor=f"profiles-{number}", title="Instructions in the kernel", sections=profiles))
    causes = tuple(
        Section(anchor=f"causes-{letter.lower()}-{number}", title=f"Diagnosis of {letter}",
                blocks=all_causes(record.diagnosis))
        for letter, record in ((A, one.before), (B, one.after))
    )  # fmt: skip
    parts.append(Section(anchor=f"causes-{number}", title="Diagnosis", sections=causes))
    parts.append(Section(anchor=f"method-{number}", title="How it was measured", blocks=method_blocks(one)))
    return parts
