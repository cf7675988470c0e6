"""What a machine cannot measure, as against what went wrong: the first leaves a check open, the second is an error."""

from __future__ import annotations

from collections.abc import Iterable

from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict, overall


def is_unavailable(record: RunRecord, metric: str) -> bool:
    """Whether a metric is missing because of this machine, as against traffic that does not produce it."""
    if metric in record.unavailable:
        return True
    spec = catalogue_of(record).get(metric)
    return spec is not None and any(needed in record.unavailable for needed in spec.needs)


def verdict_of(record: RunRecord, parts: Iterable[ExpectationRecord | ComparisonRecord]) -> Verdict:
    """Return the verdict of a record with these parts: what this machine cannot measure fails nothing."""
    return overall(
        part.verdict for part in parts if not (part.verdict is Verdict.INVALID and is_unavailable(record, part.metric))
    )
