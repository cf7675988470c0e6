"""What a diagnosis says, as blocks: each likely cause with its chain, evidence and advice; the others by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from perfcheck.model.record import DiagnosisRecord
from perfcheck.output.diagnosis import named_cause
from perfcheck.report.document import Block, Bullets, Chain, Evidence, Fold, Paragraph, Tone

TOLD: Final = 3
"""Causes of which all is told."""
_TONES: Final = {"info": Tone.GOOD, "warning": Tone.WARNING, "critical": Tone.BAD}
_LAG: Final = re.compile(r"^(?P<state>.*) \((?P<lag>(?:\+|about \+|within )[^()]*)\)$", re.DOTALL)


def cause_blocks(causes: Sequence[DiagnosisRecord], *, told: int = TOLD) -> tuple[Block, ...]:
    """Return the blocks on causes, most probable first: the first is open, the next are folded."""
    first, *others = causes
    blocks = list(cause_block(first))
    blocks += [Fold(summary=named_cause(each), blocks=cause_block(each, named=False)) for each in others[: told - 1]]
    rest = others[told - 1 :]
    if rest:
        blocks.append(Paragraph(text=f"Less likely: {', '.join(map(named_cause, rest))}."))
    return tuple(blocks)


def cause_block(cause: DiagnosisRecord, *, named: bool = True) -> tuple[Block, ...]:
    """Return what is told of one cause."""
    blocks: list[Block] = [Paragraph(text=named_cause(cause), tone=_TONES[cause.severity])] if named else []
    if cause.chain:
        blocks.append(chain_of(cause))
    if cause.evidence_for or cause.evidence_against:
        blocks.append(Evidence(speaks_for=cause.evidence_for, speaks_against=cause.evidence_against))
    advice = tuple(filter(None, (cause.fix_first, cause.advice)))
    if advice:
        blocks.append(Bullets(items=advice, tone=Tone.INFO))
    return tuple(blocks)


def chain_of(cause: DiagnosisRecord) -> Chain:
    """Return a cause's chain, its lags apart from its states."""
    matches = [_LAG.match(state) for state in cause.chain]
    states = tuple(
        state if match is None else match["state"] for state, match in zip(cause.chain, matches, strict=True)
    )
    lags = tuple("" if match is None else match["lag"] for match in matches[1:])
    caption = f"rests on {cause.chain_rests_on}" if cause.chain_rests_on else ""
    return Chain(states=states, lags=lags, caption=caption)
