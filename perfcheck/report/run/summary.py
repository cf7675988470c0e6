"""What a reader sees first: what failed, why, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from perfcheck.model.causes import HEALTHY
from perfcheck.model.record import DiagnosisRecord
from perfcheck.model.units import probability_text
from perfcheck.output.cases import MEASURED, Case, Status
from perfcheck.output.rows import remarks
from perfcheck.output.table import plain_tally
from perfcheck.report.causes import words_of
from perfcheck.report.document import Badge, Block, Bullets, Cell, Facts, Fold, Paragraph, Table, Tone
from perfcheck.report.run.bottleneck import conclusion
from perfcheck.report.run.circumstances import changed, machine_line
from perfcheck.report.run.source import Run

_MOST_FAILED: Final = 30
_MOST_NAMED: Final = 3
_DATE: Final = len("2026-01-02 ")


def badge(runs: Sequence[Run]) -> Badge:
    """Return the verdict of the whole report."""
    counts = _counts(runs)
    if counts[Status.FAILED]:
        return Badge(text=f"{_checks(counts[Status.FAILED])} failed", tone=Tone.BAD)
    if counts[Status.ERROR]:
        return Badge(text=f"{_checks(counts[Status.ERROR])} not measured", tone=Tone.BAD)
    return Badge(text="passed", tone=Tone.GOOD)


def lead(runs: Sequence[Run], notes: Sequence[str]) -> Iterator[Block]:
    """Yield the executive summary."""
    counts = _counts(runs)
    bad = counts[Status.FAILED] + counts[Status.ERROR]
    yield Paragraph(text=_sentence(runs, counts), tone=Tone.BAD if bad else Tone.GOOD)
    failed = [run for run in runs if run.failed]
    if failed:
        yield _failed(failed)
    doubtful = [run for run in runs if not run.failed and run.record.diagnosis[0].cause != HEALTHY]
    if len(runs) == 1 and not failed:
        yield Paragraph(text=f"{conclusion(runs[0].record)} {runs[0].record.diagnosis[0].advice}".strip())
    elif doubtful:
        of = "the others" if failed else f"{len(runs)} scenarios"
        yield Fold(
            summary=f"passed with a bottleneck: {len(doubtful)} of {of}",
            blocks=(_limited(doubtful),),
        )  # fmt: skip
    told = [f"{run.title}: {said}" for run in runs for said in remarks(run.record)[:1]]
    if told:
        more = f"; {len(told) - _MOST_NAMED} more scenarios have remarks" if len(told) > _MOST_NAMED else ""
        yield Bullets(
            items=(*told[: _MOST_NAMED - 1], *([told[_MOST_NAMED - 1] + more] if len(told) >= _MOST_NAMED else [])),
            tone=Tone.WARNING,
        )
    if notes:
        yield Bullets(items=tuple(notes), tone=Tone.INFO)
    yield Facts(pairs=tuple(_facts(runs)))


def counted(runs: Sequence[Run]) -> str:
    """Return how many scenarios there are, and how many runs of them where those are more: `6 runs of 3 scenarios`."""
    scenarios = len({run.label for run in runs})
    told = f"{scenarios} scenario{'s' if scenarios != 1 else ''}"
    return told if scenarios == len(runs) else f"{len(runs)} runs of {told}"


def _checks(number: int) -> str:
    return f"{number} check{'s' if number != 1 else ''}"


def _counts(runs: Sequence[Run]) -> Counter[Status]:
    return Counter(case.status for run in runs for case in run.cases)


def _sentence(runs: Sequence[Run], counts: Counter[Status]) -> str:
    scenarios = counted(runs)
    total = sum(counts.values())
    if not counts[Status.FAILED] and not counts[Status.ERROR]:
        skipped = f"; {counts[Status.SKIPPED]} could not be judged" if counts[Status.SKIPPED] else ""
        return f"Nothing failed: {counts[Status.PASSED]} of {total} checks of {scenarios} passed{skipped}."
    parts = []
    for status, word in ((Status.FAILED, "failed"), (Status.ERROR, "could not be measured")):
        if counts[status]:
            where = [run.title for run in runs if any(case.status is status for case in run.cases)]
            parts.append(
                f"{counts[status]} of {total} checks {word}" + (f", in {_named(where)}" if len(runs) > 1 else "")
            )
    return f"{'; '.join(parts)}." + (f" {scenarios} in all." if len(runs) > 1 else "")


def _named(labels: Sequence[str]) -> str:
    labels = list(dict.fromkeys(labels))
    if len(labels) <= _MOST_NAMED:
        return " and ".join(labels) if len(labels) < _MOST_NAMED else f"{labels[0]}, {labels[1]} and {labels[2]}"
    return f"{', '.join(labels[:_MOST_NAMED])} and {len(labels) - _MOST_NAMED} more"


def _failed(failed: Sequence[Run]) -> Table:
    differing = any(changed(run) for run in failed)
    rows = [_row(run, same, differing=differing) for run in failed for same in _alike(run)]
    rest = f" The first {_MOST_FAILED} of {len(rows)} are here." if len(rows) > _MOST_FAILED else ""
    return Table(
        headings=(
            "scenario",
            "what failed",
            "most probable cause",
            *(("what differs",) if differing else ()),
            "what to do",
        ),
        rows=tuple(rows[:_MOST_FAILED]),
        caption=f"What failed, and why. The name of a scenario leads to its evidence.{rest}",
        stacks=True,
    )


def _alike(run: Run) -> list[list[Case]]:
    """Return the failed cases, those together that have the same cause, and those that could not be measured."""
    found: dict[str, list[Case]] = {}
    for case in run.failed:
        found.setdefault(_reason(run, case), []).append(case)
    return list(found.values())


def _reason(run: Run, case: Case) -> str:
    if case.status is Status.ERROR:
        return f"{case.status}: {case.headline}"
    return f"{case.status}: {run.record.diagnosis_of(case.metric)[0].cause}"


def _row(run: Run, same: Sequence[Case], *, differing: bool) -> tuple[Cell, ...]:
    case = same[0]
    cause = run.record.diagnosis_of(case.metric)[0]
    unmeasured = case.status is Status.ERROR
    return (
        Cell(text=run.title, anchor=run.anchor), Cell(text=_what(same), tone=Tone.BAD),
        Cell(text="not judged, because it was not measured" if unmeasured else _cause(cause)),
        *([Cell(text=_differs(run))] if differing else []),
        Cell(text=_again(run) if unmeasured else _advice(run, cause)),
    )  # fmt: skip


def _what(same: Sequence[Case]) -> str:
    """Return what failed in one line, with the metrics where it does not name them."""
    first = same[0]
    if first.status is Status.ERROR:
        metrics = [case.metric for case in same if case.metric != MEASURED and case.metric not in first.headline]
        return f"{', '.join(metrics)}: {first.headline}" if metrics else first.headline
    told = [
        case.headline if case.metric in case.headline or case.metric == MEASURED else f"{case.metric}: {case.headline}"
        for case in same[:_MOST_NAMED]
    ]  # fmt: skip
    return "; ".join([*told, *([f"{len(same) - _MOST_NAMED} more"] if len(same) > _MOST_NAMED else [])])


def _cause(cause: DiagnosisRecord) -> str:
    if cause.confidence == 0:
        return "not diagnosed"
    return f"{words_of(cause.cause)} ({probability_text(cause.confidence)})"


def _advice(run: Run, cause: DiagnosisRecord) -> str:
    if cause.fix_first:
        return cause.fix_first
    if cause.advice:
        return cause.advice
    return _again(run)


def _again(run: Run) -> str:
    return f"measure again: {run.record.reproduce}" if run.record.reproduce else "look at the evidence"


def _differs(run: Run) -> str:
    found = [
        f"{name.removeprefix('environment.')}: {before or 'not set'} -> {now or 'not set'}"
        for name, (before, now) in changed(run).items()
    ]
    if not found:
        return "nothing known"
    return "; ".join(found[:_MOST_NAMED]) + (
        f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    )


def _limited(runs: Sequence[Run]) -> Table:
    return Table(
        headings=("scenario", "limited by", "what to do"),
        rows=tuple(
            (Cell(text=run.title, anchor=run.anchor), Cell(text=_cause(run.record.diagnosis[0])),
             Cell(text=_advice(run, run.record.diagnosis[0])))
            for run in runs[:_MOST_FAILED]
        ),
        caption="The most probable bottleneck of what did not fail; many scenarios have theirs on purpose.",
    )  # fmt: skip


def _facts(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    yield "verdicts", plain_tally([case.row for run in runs for case in run.cases]) or "none"
    machines = list(dict.fromkeys(machine_line(run.record) for run in runs))
    yield "machine", machines[0] if len(machines) == 1 else f"{len(machines)} different ones, told at each scenario"
    times = sorted(_second(run.record.started_at) for run in runs)
    last = times[-1].removeprefix(times[0][:_DATE])
    yield "measured (UTC)", times[0] if times[0] == times[-1] else f"{times[0]} to {last}"
    trials = sum(trial.valid for run in runs for trial in run.record.trials)
    yield "trials that count", f"{trials} of {sum(len(run.record.trials) for run in runs)}"


def _second(started_at: str) -> str:
    """Return a time to the second, in UTC where it is a time at all: `2026-01-02 03:04:05`."""
    try:
        found = datetime.fromisoformat(started_at)
    except ValueError:
        return started_at
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if found.tzinfo is not None else started_at
