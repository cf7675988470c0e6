"""A run of several traffic entries: what is the matter with one of them is the matter with the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.diagnose.rule import SEVERITIES
from perfcheck.diagnose.verdicts import MAX_CONFIDENCE, MIN_CONFIDENCE
from perfcheck.model.causes import CAUSES
from perfcheck.model.record import DiagnosisRecord, SubjectRecord
from perfcheck.model.units import probability_text

_NO_HARM: Final = SEVERITIES[0]


def with_entries(
    diagnosis: Sequence[DiagnosisRecord], subjects: Mapping[str, SubjectRecord]
) -> tuple[DiagnosisRecord, ...]:  # fmt: skip
    """Return the run's causes with those of its traffic entries, most probable first.

    A run is healthy only as far as each of its entries is. One of a single entry has its causes already.
    """
    entries = {name: found.diagnosis for name, found in subjects.items() if found.diagnosis}
    ill = {name: causes[0] for name, causes in entries.items() if len(entries) > 1 and _is_ill(causes[0])}
    if not ill:
        return tuple(diagnosis)
    found = {each.cause: each for each in diagnosis}
    for name, cause in ill.items():
        found[cause.cause] = _joined(found.get(cause.cause), cause, name)
    worst = max(cause.confidence for cause in ill.values())
    against = tuple(f"{name}: {cause.cause} ({probability_text(cause.confidence)})" for name, cause in ill.items())
    # What is the matter with an entry leaves the run less healthy, and less of it unexplained.
    for other in {"healthy", "unknown"} & found.keys() - {cause.cause for cause in ill.values()}:
        found[other] = found[other].model_copy(
            update={
                "confidence": round(found[other].confidence * (1 - worst), 3),
                "evidence_against": (*against, *found[other].evidence_against),
            }
        )
    ordered = sorted(found.values(), key=lambda each: (-each.confidence, CAUSES.index(each.cause)))
    return tuple(each for each in ordered if each.confidence >= MIN_CONFIDENCE)


def _is_ill(cause: DiagnosisRecord) -> bool:
    if cause.cause == "unknown":
        # At full confidence it only says that too little of this entry was measured.
        return cause.confidence < MAX_CONFIDENCE
    return cause.cause != "healthy" and cause.severity != _NO_HARM


def _joined(whole: DiagnosisRecord | None, cause: DiagnosisRecord, entry: str) -> DiagnosisRecord:
    own = tuple(f"{entry}: {text}" for text in cause.evidence_for)
    if whole is None:
        return cause.model_copy(update={"evidence_for": own})
    return whole.model_copy(
        update={
            "confidence": max(whole.confidence, cause.confidence),
            "evidence_for": (*whole.evidence_for, *own),
            "severity": max(whole.severity, cause.severity, key=SEVERITIES.index),
        }
    )
