"""What a diagnosis says, as blocks: each likely cause with its chain, advice and evidence; the others by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.model.causes import HEALTHY
from perfcheck.model.record import DiagnosisRecord
from perfcheck.output.rows import cause_text
from perfcheck.report.document import Block, Bullets, Chain, Evidence, Fold, Paragraph, Tone

TOLD: Final = 3
"""Causes of which all is told; the others are named."""
_CONDITION: Final = re.compile(r"[<>=]|was not measured")
"""What the conditions at the end of evidence have, and its words have not."""
_LAG: Final = re.compile(r"(?P<state>.*) \((?P<lag>(?:within |about |\+)[^()]*)\)", re.DOTALL)


def words_of(cause: str) -> str:
    """Return a cause as words: `queue overflow`."""
    return cause.replace("_", " ")


def named(cause: DiagnosisRecord) -> str:
    """Return a cause as words, with its confidence: `queue overflow (93 %)`."""
    return words_of(cause_text(cause))


def tone_of(cause: DiagnosisRecord) -> Tone:
    """Return what a cause means to the reader."""
    return Tone.GOOD if cause.cause == HEALTHY else Tone.WARNING


def cause_blocks(cause: DiagnosisRecord) -> Iterator[Block]:
    """Yield what is told of one cause: its chain, what to do, and its evidence."""
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
        yield Evidence(
            speaks_for=_sentences(cause.evidence_for), speaks_against=_sentences(cause.evidence_against)
        )  # fmt: skip
        yield Fold(
            summary="the figures behind this evidence",
            blocks=(Bullets(items=(*cause.evidence_for, *cause.evidence_against)),),
            printed=False,
        )


def _sentences(evidence: Sequence[str]) -> tuple[str, ...]:
    """Return what evidence says, without the conditions that were asked of figures."""
    found = (text.rpartition(": ") for text in evidence)
    return tuple(said if said and _CONDITION.search(asked) else said + colon + asked for said, colon, asked in found)


def other_causes(causes: Sequence[DiagnosisRecord]) -> Iterator[Block]:
    """Yield the causes but for the first: the next ones folded, the others by name."""
    rest = [cause for cause in causes[1:] if cause.confidence > 0]
    for cause in rest[: TOLD - 1]:
        yield Fold(summary=f"less probable: {named(cause)}", blocks=tuple(cause_blocks(cause)), printed=False)
    if rest[TOLD - 1 :]:
        yield Paragraph(text=f"Also possible: {', '.join(map(named, rest[TOLD - 1 :]))}.")


def all_causes(causes: Sequence[DiagnosisRecord]) -> tuple[Block, ...]:
    """Return all causes, the most probable first."""
    first = causes[0]
    headline = Paragraph(text=f"{named(first)[:1].upper()}{named(first)[1:]}", tone=tone_of(first))
    return (headline, *cause_blocks(first), *other_causes(causes))


def _state(text: str) -> tuple[str, str]:
    """Return a state of a chain and the lag that was seen before it: `loss (within 100 ms)`."""
    found = _LAG.fullmatch(text)
    return (words_of(text), "") if found is None else (words_of(found["state"]), found["lag"])
