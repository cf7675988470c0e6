"""Keeps a run as a baseline, and reports what was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import untrusted
from perfcheck.output.rows import signed_pct


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How runs become baselines: as one more session, in place of all (`update`), or as the start of a known change.

    Of the metrics in `accept` earlier sessions no longer count, for this `reason`.
    """

    update: bool = False
    accept: tuple[str, ...] = ()
    reason: str = ""


class Keeper(Protocol):
    """What is needed of a runner."""

    def save_baseline(
        self, record: RunRecord, *, update: bool = False, accept: Sequence[str] = (), reason: str = ""
    ) -> Path:
        """Store a record as a baseline and return the file."""

    def moved_since_saved(self, scenario: Scenario, record: RunRecord) -> Sequence[ComparisonRecord]:
        """Return the metrics that are certainly not what the earlier sessions say."""


def kept(keeper: Keeper, scenario: Scenario, record: RunRecord, keep: Keep) -> str:
    """Store the record as a baseline and return what came of it; nothing is stored of a run that cannot be trusted."""
    reason = untrusted(record)
    if reason is not None:
        return f"not written, the run is invalid: {reason}"
    accepted = tuple(metric for metric in keep.accept if metric in record.figures)
    if keep.accept and not accepted:
        return f"not written, the run has no {' and no '.join(keep.accept)} to accept"
    moved = () if keep.update or accepted else keeper.moved_since_saved(scenario, record)
    path = _shown(keeper.save_baseline(record, update=keep.update, accept=accepted, reason=keep.reason))
    told = f"written to {path}"
    if keep.update:
        told += ", replacing all earlier sessions"
    if accepted:
        told += f", {', '.join(accepted)} accepted as of this run: {keep.reason}"
    failed = [part.metric for part in record.expectations if part.verdict is Verdict.FAIL]
    if failed:
        told += f", ALTHOUGH THE RUN FAILS its own expect: {', '.join(failed)}"
    if moved:
        listed = ", ".join(f"{each.metric} ({signed_pct(each.change_pct)})" for each in moved)
        told += (
            f", ALTHOUGH IT MOVED since the earlier sessions: {listed}. Sessions that differ so much hide changes: "
            "replace them all with --baseline-update, or accept the change of one metric with --baseline-accept "
            "METRIC --reason TEXT"
        )
    return told


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
