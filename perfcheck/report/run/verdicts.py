"""The verdicts: a table of all cases, those of one scenario, and the texts of what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import MEASURED, Case, Status
from perfcheck.output.rows import UNAVAILABLE, Row, headings_of
from perfcheck.report.document import Badge, Block, Cell, Code, Fold, Paragraph, Table, Tone
from perfcheck.report.run.source import Run

TONES: Final = {
    Verdict.PASS.value: Tone.GOOD, Verdict.IMPROVED.value: Tone.GOOD, Verdict.FAIL.value: Tone.BAD,
    Verdict.REGRESSED.value: Tone.BAD, Verdict.INVALID.value: Tone.BAD, Verdict.INCONCLUSIVE.value: Tone.WARNING,
    Verdict.NO_BASELINE.value: Tone.NEUTRAL, UNAVAILABLE: Tone.NEUTRAL,
}  # fmt: skip
MOST_ROWS: Final = 400
"""Rows of the table of all cases; what failed comes first."""
_SHOWN_PASSES: Final = 12
"""So many checks that passed stand in the table of all; more of them would hide the others."""
_FIRST: Final = ("scenario", "metric", "verdict")
"""Headings that a narrow window shows."""
_NUMERIC: Final = frozenset({"value", "against", "change", "interval", "detectable"})
_ORDER: Final = (Status.FAILED, Status.ERROR, Status.SKIPPED, Status.PASSED)
_MEANING: Final = (
    "Value: the median of the trials that count. Against: the expectation, or the baseline's value. Change: relative "
    "to the baseline. Interval: where the change lies with the confidence of the comparison. Detectable: the smallest "
    "change that these trials could have seen; `at`: the value itself, where the baseline has 0."
)


def badge_of(run: Run) -> Badge:
    """Return the verdict of a scenario."""
    if run.status is Status.ERROR:
        return Badge(text=Verdict.INVALID.value, tone=Tone.BAD)
    verdict = run.record.verdict.value if run.status is not Status.FAILED else Verdict.FAIL.value
    if run.status is Status.FAILED and run.record.verdict.fails_a_build:
        verdict = run.record.verdict.value
    return Badge(text=verdict, tone=TONES.get(verdict, Tone.NEUTRAL))


def all_cases(runs: Sequence[Run]) -> Iterator[Block]:
    """Yield the table of all cases, what failed first; of many, those that passed are behind a line that opens them."""
    pairs = [(run, case) for run in runs for case in run.cases]
    pairs.sort(key=lambda pair: _ORDER.index(pair[1].status))
    shown = pairs[:MOST_ROWS]
    headings = _ordered(headings_of([case.row for _, case in pairs]))
    rest = f" The first {MOST_ROWS} of {len(pairs):,} are here." if len(pairs) > MOST_ROWS else ""
    passed = [(case.row, run) for run, case in shown if case.status is Status.PASSED]
    others = [(case.row, run) for run, case in shown if case.status is not Status.PASSED]
    if len(passed) <= _SHOWN_PASSES:
        yield _table(headings, [*others, *passed], _MEANING + rest)
        return
    if others:
        yield _table(headings, others, _MEANING + rest)
    yield Fold(
        summary=f"checks that passed: {len(passed)}",
        blocks=(_table(headings, passed, "" if others else _MEANING + rest),), printed=False,
    )  # fmt: skip


def own_cases(run: Run) -> Iterator[Block]:
    """Yield what failed of a scenario, each with its text, and the table of its cases."""
    alike: dict[str, list[Case]] = {}
    for case in run.failed:
        alike.setdefault(case.headline, []).append(case)
    for headline, found in alike.items():
        missing = [case.metric for case in found if case.metric not in headline and case.metric != MEASURED]
        yield Paragraph(text=f"{', '.join(missing)}: {headline}" if missing else headline, tone=Tone.BAD)
        details = "\n\n".join(case.details for case in found if case.details)
        if details:
            yield Fold(summary="values, bounds and layer", blocks=(Code(text=details),))
    yield from _not_judged(run.cases)
    headings = [heading for heading in _ordered(headings_of([case.row for case in run.cases])) if heading != "scenario"]
    ordered = sorted(run.cases, key=lambda case: _ORDER.index(case.status))
    yield _table(headings, [(case.row, None) for case in ordered], _MEANING)


def _not_judged(cases: Sequence[Case]) -> Iterator[Block]:
    """Yield why cases have no verdict, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for case in cases:
        if case.row.note and case.status in (Status.SKIPPED, Status.PASSED) and case.row.verdict != Verdict.PASS.value:
            reasons.setdefault(f"{case.row.verdict}: {case.row.note}", []).append(case.metric)
    for reason, metrics in reasons.items():
        yield Paragraph(text=f"{reason} ({', '.join(metrics)})")


def _ordered(headings: Sequence[str]) -> list[str]:
    return [*(one for one in _FIRST if one in headings), *(one for one in headings if one not in _FIRST)]


def _table(headings: Sequence[str], rows: Sequence[tuple[Row, Run | None]], caption: str) -> Table:
    return Table(
        headings=tuple(headings),
        rows=tuple(tuple(_cell(heading, text, row, run) for heading, text in zip(
            headings, row.cells(headings), strict=True
        )) for row, run in rows),
        numeric=frozenset(place for place, heading in enumerate(headings) if heading in _NUMERIC),
        caption=caption,
    )  # fmt: skip


def _cell(heading: str, text: str, row: Row, run: Run | None) -> Cell:
    if heading == "verdict":
        return Cell(text=text, tone=TONES.get(row.verdict, Tone.NEUTRAL))
    return Cell(text=text) if heading != "scenario" or run is None else Cell(text=run.title, anchor=run.anchor)
