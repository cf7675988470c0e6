"""In what a run was made: what differs from the baseline, the machine, the cost of measuring, and what to mind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perfcheck.model.baseline import differences
from perfcheck.model.record import CrossCheck, RunRecord
from perfcheck.model.units import readable_pct
from perfcheck.output.rows import needs, remarks
from perfcheck.report.document import Block, Bullets, Cell, Facts, Fold, Paragraph, Table, Tone
from perfcheck.report.run.cells import cells
from perfcheck.report.run.source import Run

_ENVIRONMENT = "environment."
_NOT_SET = "not set"


def changed(run: Run) -> dict[str, tuple[str, str]]:
    """Return what differs, by setting, as (before, now): from the baseline that the run was judged by, if known.

    Else from the record that the report was given to compare with.
    """
    return dict(run.record.changed_conditions) or _beside(run)


def _beside(run: Run) -> dict[str, tuple[str, str]]:
    """Return what differs from the record beside this one: the scenario's settings, then the machine's."""
    if run.baseline is None:
        return {}
    before, now = run.baseline.record, run.record
    settings = differences(before.scenario.conditions, now.scenario.conditions)
    machine = differences(_flat(before.environment), _flat(now.environment))
    return {
        f"{prefix}{one.field}": (one.baseline or "", one.current or "")
        for prefix, found in (("", settings), (_ENVIRONMENT, machine))
        for one in found
    }


def changed_blocks(run: Run) -> Iterator[Block]:
    """Yield what is not as it was when the baseline was measured, and what is not as in the record beside this one."""
    against = "A" if run.record.sides is not None else "the baseline that judged it"
    judged, beside = dict(run.record.changed_conditions), _beside(run)
    if judged:
        yield _changes(judged, against)
    elif any(each.baseline is not None for each in run.record.comparisons):
        yield Paragraph(text=f"Nothing that perfcheck records differs from {against}.")
    if beside and beside != judged:
        yield _changes(beside, "the baseline record")
    elif run.baseline is not None and not beside:
        yield Paragraph(text="Nothing that perfcheck records differs from the baseline record.")
    if not judged and run.baseline is None and all(each.baseline is None for each in run.record.comparisons):
        yield Paragraph(text="There is no baseline to differ from.")


def _changes(found: Mapping[str, tuple[str, str]], against: str) -> Table:
    order = sorted(found.items(), key=lambda one: (one[0].startswith(_ENVIRONMENT), one[0]))
    return Table(
        headings=("setting", against, "this run"),
        rows=tuple(cells(name, before or _NOT_SET, now or _NOT_SET) for name, (before, now) in order),
        caption="What differs may be why a value does: settings of the scenario first, then those of the machine.",
        stacks=True,
    )


def machine_line(record: RunRecord) -> str:
    """Return the machine in one line: kernel, CPUs, memory."""
    facts = {key: str(value) for key, value in record.environment.items()}
    parts = [
        f"Linux {facts['kernel.release']}" if "kernel.release" in facts else "",
        f"{facts['cpu.count']} x {facts.get('cpu.model', 'CPU')}" if "cpu.count" in facts else "",
        facts.get("memory.class", ""), facts.get("virtualisation", ""),
    ]  # fmt: skip
    return ", ".join(part for part in parts if part) or "not recorded"


def environment_block(record: RunRecord) -> Fold:
    """Return all that was recorded of the machine, folded."""
    facts = sorted(_flat(record.environment).items())
    return Fold(
        summary=f"environment: {machine_line(record)}",
        blocks=(Facts(pairs=tuple(facts)),),
        printed=False,
    )


def trust_blocks(run: Run) -> Iterator[Block]:
    """Yield how far the figures can be trusted: what was lost or disagreed, and what measuring cost."""
    record = run.record
    told = (*remarks(record), *needs(record))
    if told:
        yield Bullets(items=told, tone=Tone.WARNING)
    checks = record.cross_checks
    if checks:
        agreeing = sum(check.agrees for check in checks)
        yield Fold(
            summary=f"cross-checks: {agreeing} of {len(checks)} agree with an independent source",
            blocks=(_checks(checks),), opened=agreeing < len(checks), printed=agreeing < len(checks),
        )  # fmt: skip
    if record.unavailable:
        yield Table(
            headings=("not measured", "why"),
            rows=tuple(cells(*each) for each in record.unavailable.items()),
            caption="What this machine could not measure.",
        )  # fmt: skip
    cost = tuple(_cost(record.overhead))
    if cost:
        yield Facts(pairs=(("events lost", f"{record.lost_events:,}"), *cost))
    if not told:
        yield Paragraph(text="Nothing was lost, left out or in disagreement.", tone=Tone.GOOD)


def _checks(checks: Sequence[CrossCheck]) -> Table:
    """Return a row for each figure and source, those that disagree first, with the largest difference of all trials."""
    found: dict[tuple[str, str], list[CrossCheck]] = {}
    for check in checks:
        found.setdefault((check.name, check.source), []).append(check)
    order = sorted(found.items(), key=lambda one: all(check.agrees for check in one[1]))
    return Table(
        headings=("figure", "perfcheck", "other source", "source", "tolerance", "agree"),
        rows=tuple(_check_row(name, source, of) for (name, source), of in order),
        numeric=frozenset({1, 2, 4}),
        caption="The same figure from two sources, in the metric's own unit: of all trials the one with the largest "
        "difference.",
    )


def _check_row(name: str, source: str, of: Sequence[CrossCheck]) -> tuple[Cell, ...]:
    worst = max(of, key=lambda check: (not check.agrees, abs(check.ours - check.theirs)))
    agreeing = sum(check.agrees for check in of)
    return (
        *cells(name, f"{worst.ours:,.10g}", f"{worst.theirs:,.10g}", source, f"{worst.tolerance_pct:g} %"),
        Cell(text=f"{agreeing} of {len(of)} trials", tone=Tone.GOOD if agreeing == len(of) else Tone.BAD),
    )


def _cost(overhead: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what measuring itself took."""
    if isinstance(cpu := overhead.get("cpu_pct"), (int, float)):
        budget = overhead.get("budget_pct")
        of = (
            f" (the budget is {budget:g} %, {overhead.get('budget_holds', '')})"
            if isinstance(budget, (int, float))
            else ""
        )
        yield "CPU time of measuring", f"{readable_pct(cpu, 3)} of one CPU while traffic ran{of}"
    at_rest = overhead.get("at_rest")
    if isinstance(at_rest, Mapping) and isinstance(rest := at_rest.get("cpu_pct"), (int, float)):
        yield "at rest", f"{readable_pct(rest, 3)} of one CPU without traffic"
    for key, name, digits in (("bpf_cpu_s", "in BPF programs", ".3g"), ("user_cpu_s", "in user space", ".3g"),
                              ("series_cpu_s", "for time series", ".3g")):  # fmt: skip
        if isinstance(value := overhead.get(key), (int, float)):
            yield name, f"{value:{digits}} s of CPU time"
    for key, name in (("rss_bytes", "memory of perfcheck"), ("bpf_map_bytes", "memory of BPF maps")):
        if isinstance(value := overhead.get(key), (int, float)):
            yield name, f"{value / 1e6:,.0f} MB"
    shed = overhead.get("shed")
    if isinstance(shed, (list, tuple)) and shed:
        yield "left out to keep the budget", ", ".join(map(str, shed))


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.items()}
