"""Where the bottleneck is: the causes with their chains and evidence, what to do, and what tests said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from perfcheck.model.causes import HEALTHY
from perfcheck.model.confirmation import Answer, ConfirmationRecord, EffectRecord
from perfcheck.model.record import DiagnosisRecord, RunRecord
from perfcheck.model.units import format_value
from perfcheck.output.diagnosis import named_cause
from perfcheck.output.profile import profile_lines
from perfcheck.output.rows import signed_pct
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.shares import bars
from perfcheck.report.document import (
    Block,
    Cell,
    Chain,
    Code,
    Evidence,
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

_TOLD: Final = 3
"""Causes of which all is told; the others are named."""
_LAG: Final = re.compile(r"(?P<state>.*) \((?P<lag>(?:within |about |\+)[^()]*)\)")
_TONES: Final = {Answer.CONFIRMED: Tone.GOOD, Answer.REFUTED: Tone.BAD, Answer.UNTESTED: Tone.WARNING}


def words_of(cause: str) -> str:
    """Return a cause as words: `queue overflow`."""
    return cause.replace("_", " ")


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
    yield Paragraph(text=conclusion(record), tone=_tone(record.diagnosis[0]))
    yield from _cause(record.diagnosis[0])
    yield from _limits(run)
    rest = [cause for cause in record.diagnosis[1:] if cause.confidence > 0]
    for cause in rest[: _TOLD - 1]:
        yield Fold(summary=f"less probable: {_named(cause)}", blocks=tuple(_cause(cause)))
    if rest[_TOLD - 1 :]:
        yield Paragraph(text=f"Also possible: {', '.join(map(_named, rest[_TOLD - 1 :]))}.")
    yield from _entries(record)
    yield from _confirmations(record)
    if record.profiles:
        yield Fold(summary="where the instructions go", blocks=(Code(text="\n".join(profile_lines(record))),))
    if record.account:
        yield Fold(
            summary=f"the decision tree: {len(record.account)} answers, in the order in which they were asked",
            blocks=(
                Paragraph(
                    text="Each line is a question with its answer and the figures that decided it; a question below "
                    "another was asked because of its answer. An arrow leads to the causes that a branch suspects."
                ),
                Code(text="\n".join(line for line in record.account)),
            ),
        )  # fmt: skip


def _tone(cause: DiagnosisRecord) -> Tone:
    return Tone.GOOD if cause.cause == HEALTHY else Tone.WARNING


def _pct(cause: DiagnosisRecord) -> str:
    return f"{100 * cause.confidence:.0f} % probable"


def _named(cause: DiagnosisRecord) -> str:
    return named_cause(cause).replace("_", " ")


def _cause(cause: DiagnosisRecord) -> Iterator[Block]:
    if len(cause.chain) > 1:
        states, lags = zip(*(_state(each) for each in cause.chain), strict=True)
        caption = "From the first state that was seen to the symptom."
        yield Chain(
            states=states, lags=lags[1:],
            caption=f"{caption} It rests on {cause.chain_rests_on}." if cause.chain_rests_on else caption,
        )  # fmt: skip
    if cause.fix_first:
        yield Paragraph(text=f"Fix first: {cause.fix_first}", tone=Tone.INFO)
    if cause.advice:
        yield Paragraph(text=f"What to do: {cause.advice}", tone=Tone.INFO)
    if cause.evidence_for or cause.evidence_against:
        yield Evidence(speaks_for=cause.evidence_for, speaks_against=cause.evidence_against)


def _state(text: str) -> tuple[str, str]:
    """Return a state of a chain and the lag that was seen before it: `loss (within 100 ms)`."""
    found = _LAG.fullmatch(text)
    return (words_of(text), "") if found is None else (words_of(found["state"]), found["lag"])


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
                (Cell(text=name), Cell(text=_named(cause), tone=_tone(cause)), Cell(text=cause.advice))
                for name, cause in entries.items()
            ),
            caption="The diagnosis of each traffic entry alone.",
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
