"""Where the bottleneck is: the causes with their chains and evidence, what to do, and what tests said of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.model.causes import HEALTHY
from perfcheck.model.confirmation import Answer, ConfirmationRecord, EffectRecord
from perfcheck.model.record import DiagnosisRecord, RunRecord
from perfcheck.model.units import format_value, probability_text
from perfcheck.output.profile import profile_lines
from perfcheck.output.rows import signed_pct
from perfcheck.report.causes import cause_blocks, named, other_causes, tone_of, words_of
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.shares import bars
from perfcheck.report.document import (
    Block,
    Cell,
    Code,
    Facts,
    Figures,
    Fold,
    Paragraph,
    Table,
    Tone,
)
from perfcheck.report.run.cells import cells
from perfcheck.report.run.courses import STATES
from perfcheck.report.run.source import Run

_TONES: Final = {Answer.CONFIRMED: Tone.GOOD, Answer.REFUTED: Tone.BAD, Answer.UNTESTED: Tone.WARNING}


def conclusion(record: RunRecord) -> str:
    """Return the diagnosis as one sentence."""
    first = record.diagnosis[0]
    if first.confidence == 0:
        return "The bottleneck could not be diagnosed."
    if first.cause == HEALTHY:
        return f"Nothing limits this run that perfcheck knows of: the diagnosis is healthy ({_pct(first)})."
    return f"The most probable cause is {words_of(first.cause)} ({_pct(first)})."


def bottleneck_blocks(run: Run) -> Iterator[Block]:
    """Yield all that is known of the bottleneck, the most probable cause first."""
    record = run.record
    yield Paragraph(text=conclusion(record), tone=tone_of(record.diagnosis[0]))
    yield from cause_blocks(record.diagnosis[0])
    yield from _limits(run)
    yield from other_causes(record.diagnosis)
    yield from _entries(record)
    yield from _confirmations(record)
    if record.profiles:
        lines = Code(text="\n".join(profile_lines(record)))
        yield Fold(summary="where the instructions go", blocks=(lines,), printed=False)
    if record.account:
        yield Fold(
            summary=f"the decision tree, in the order in which it asked; answers: {len(record.account)}",
            blocks=(
                Paragraph(
                    text="Each line is a question with its answer and the figures that decided it; a question below "
                    "another was asked because of its answer. An arrow leads to the causes that a branch suspects."
                ),
                Code(text="\n".join(line for line in record.account)),
            ),
            printed=False,
        )  # fmt: skip


def _pct(cause: DiagnosisRecord) -> str:
    return f"{probability_text(cause.confidence)} probable"


def _limits(run: Run) -> Iterator[Block]:
    """Yield what limits the senders, as bars of their connections' time."""
    shares = {
        name: {word: found.metrics[metric].value for metric, word in STATES.items() if metric in found.metrics}
        for name, found in run.record.subjects.items()
    }
    shares = {name: parts for name, parts in shares.items() if sum(parts.values()) > 0}
    if shares:
        most = dict(sorted(shares.items(), key=lambda one: -max(one[1].values()))[:12])
        yield Figures(
            charts=(
                bars(
                    Labels(
                        name=run.named("limiting"),
                        title="What limits each sender: share of its connections' time, median of the trials",
                        quantity="share of the time", unit="pct",
                    ),
                    most,
                ),
            )
        )  # fmt: skip


def _entries(record: RunRecord) -> Iterator[Block]:
    entries = {name: found.diagnosis[0] for name, found in record.subjects.items() if found.diagnosis}
    if len(entries) > 1:
        yield Table(
            headings=("traffic", "its own bottleneck", "what to do"),
            rows=tuple(
                (Cell(text=name), Cell(text=named(cause), tone=tone_of(cause)), Cell(text=cause.advice))
                for name, cause in entries.items()
            ),
            caption="The diagnosis of each traffic entry alone.", stacks=True,
        )  # fmt: skip


def _confirmations(record: RunRecord) -> Iterator[Block]:
    """Yield what came of tests that relieved a suspected limit, and nothing else."""
    for tested in record.confirmations:
        of = f" of {tested.entry}" if tested.entry is not None else ""
        yield Paragraph(
            text=f"Test of {words_of(tested.cause)}{of}: {tested.outcome.value}"
            + (f"; {tested.reason}" if tested.reason else ""),
            tone=_TONES[tested.outcome],
        )
        yield from _test(tested)


def _test(tested: ConfirmationRecord) -> Iterator[Block]:
    pairs = [("relieved", tested.relief)] if tested.relief else []
    pairs += [
        (change.where, f"{change.before} -> {change.after}")
        for change in tested.changes
    ]  # fmt: skip
    if tested.runs:
        pairs.append(("runs", f"{tested.runs} unchanged and {tested.runs} relieved, interleaved"))
    if pairs:
        yield Facts(pairs=tuple(pairs))
    if tested.effects:
        yield Table(
            headings=("metric", "unchanged", "relieved", "change", "90 % interval", "needed"),
            rows=tuple(cells(*_effect(effect)) for effect in tested.effects),
            numeric=frozenset({1, 2, 3, 4, 5}),
            caption="Medians without and with the relief; a change counts from `needed` on.",
        )


def _effect(effect: EffectRecord) -> tuple[str, ...]:
    before, after = (format_value(value, effect.unit) for value in (effect.unchanged, effect.relieved))
    interval = ""
    if effect.interval_pct is not None:
        low, high = effect.interval_pct
        interval = f"{signed_pct(low)} to {signed_pct(high)}"
    return (
        effect.metric, before, after, signed_pct(effect.change_pct), interval, signed_pct(effect.wanted_pct),
    )  # fmt: skip
