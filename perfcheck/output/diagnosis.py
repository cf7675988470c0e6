"""What a diagnosis and the tests of its causes say, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.text import Text

from perfcheck.model.confirmation import Answer, ConfirmationRecord, EffectRecord
from perfcheck.model.record import DiagnosisRecord, RunRecord
from perfcheck.model.units import format_value
from perfcheck.output.rows import cause_text, scenario_label, signed_pct

_INDENT = 15
_LEAST_WIDTH = 40
_TOLD = 3
"""Causes of which all is told; of the others only the name and the confidence."""
_LAYERS = ("socket", "ip", "qdisc", "nic", "cpu")
"""Layers that every run has figures of, whatever its traffic is."""
_STYLES = {Answer.CONFIRMED: "bold green", Answer.REFUTED: "bold red", Answer.UNTESTED: "bold yellow"}


def diagnosis_lines(record: RunRecord, width: int) -> Iterator[Text]:
    """Yield the lines that tell a record's causes, wrapped to the width in characters."""
    title = f": {record.scenario.title}" if record.scenario.title else ""
    yield Text.assemble((scenario_label(record), "bold"), title)
    if record.invalid_reason is not None:
        yield from block("not valid", record.invalid_reason, width)
    for cause in record.diagnosis[:_TOLD]:
        yield from cause_lines(cause, width)
    rest = record.diagnosis[_TOLD:]
    if rest:
        yield from block("also", ", ".join(cause_text(cause) for cause in rest), width)
    entries = {name: found.diagnosis[0] for name, found in record.subjects.items() if found.diagnosis}
    if len(entries) > 1:
        yield from block("entries", "\n".join(f"{name}: {cause_text(cause)}" for name, cause in entries.items()), width)
    lacking = [f"{name}: {why}" for name, why in record.unavailable.items()]
    missing = [layer for layer in _LAYERS if not any(name.startswith(f"{layer}.") for name in record.metrics)]
    if record.metrics and missing:
        lacking.append(
            f"nothing of the layer{'s' * (len(missing) > 1)} {', '.join(missing)}: causes there cannot be seen"
        )
    if lacking:
        yield from block("not measured", "\n".join(lacking), width)


def confirmation_lines(tested: ConfirmationRecord, width: int) -> Iterator[Text]:
    """Yield the lines that tell how a cause was tested and what came of it."""
    of = f" of {tested.entry}" if tested.entry is not None else ""
    yield Text.assemble("  test of ", (f"{tested.cause}{of}", "bold"), ": ", (tested.outcome, _STYLES[tested.outcome]))
    if tested.reason:
        yield from block("because", tested.reason, width)
    if tested.changes:
        yield from block("relieved", tested.relief, width)
    changes = [f"{change.where}: {change.before} -> {change.after}" for change in tested.changes]
    if changes:
        yield from block("changed", "\n".join(changes), width)
    for effect in _telling(tested.effects, tested.outcome):
        yield from block("effect", _effect(effect), width)
    if tested.runs:
        yield from block("runs", f"{tested.runs} unchanged and {tested.runs} relieved, interleaved", width)


def _telling(effects: Sequence[EffectRecord], outcome: Answer) -> Sequence[EffectRecord]:
    """Return the effects that the answer rests on: those that moved where one did, else all."""
    moved = [effect for effect in effects if effect.outcome is Answer.CONFIRMED]
    return moved if outcome is Answer.CONFIRMED else effects


def _effect(effect: EffectRecord) -> str:
    before, after = (format_value(value, effect.unit) for value in (effect.unchanged, effect.relieved))
    change = ""
    if effect.change_pct is not None:
        change = f" ({signed_pct(effect.change_pct)}"
        if effect.interval_pct is not None:
            low, high = effect.interval_pct
            change += f", 90 % interval {signed_pct(low)} to {signed_pct(high)}"
        change += ")"
    return f"{effect.metric}  {before} -> {after}{change}; at least {signed_pct(effect.wanted_pct)} is needed"


def cause_lines(cause: DiagnosisRecord, width: int) -> Iterator[Text]:
    """Yield the lines that tell a cause: its evidence, its chain, and what to do."""
    yield Text.assemble("  ", (cause_text(cause), "bold"))
    for label, text in (
        ("because", "\n".join(cause.evidence_for)), ("against it", "\n".join(cause.evidence_against)),
        ("chain", " -> ".join(cause.chain)), ("rests on", cause.chain_rests_on), ("first", cause.fix_first),
        ("advice", cause.advice),
    ):  # fmt: skip
        if text:
            yield from block(label, text, width)


def block(label: str, text: str, width: int) -> Iterator[Text]:
    """Yield `label  text`, wrapped; a percentage and its sign stay together."""
    wide = max(width - _INDENT - 2, _LEAST_WIDTH)
    whole = [part.replace(" %", "\N{NO-BREAK SPACE}%") for part in text.split("\n")]
    pieces = [piece for part in whole for piece in textwrap.wrap(part, wide, break_long_words=False) or [""]]
    for number, piece in enumerate(pieces):
        shown = piece.replace("\N{NO-BREAK SPACE}%", " %")
        yield Text.assemble("    ", (f"{label if number == 0 else '':<{_INDENT - 2}}", "dim"), shown)
