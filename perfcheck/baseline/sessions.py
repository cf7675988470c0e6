"""From run records to a baseline's sessions; pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from perfcheck.baseline.document import rounded
from perfcheck.baseline.naming import flat
from perfcheck.model.baseline import AcceptedChange, Baseline, BaselineSession
from perfcheck.model.record import MetricRecord, PhaseRecord, RunRecord
from perfcheck.model.subject import MetricKey

EMULATORS: Final = "emulators"
"""Field of the environment that holds the kinds of link emulators; baselines are never compared across them."""


def baseline_of(record: RunRecord, file: str = "") -> Baseline:
    """Return a run record, stored in `file`, as a baseline of one session, so that two records can be compared."""
    return replace(with_session(record, None), file=file, predates=record.predates)


def environment_of(record: RunRecord) -> dict[str, str]:
    """Return the record's fingerprint as a flat map; emulators' kinds come from its own list where it lacks them."""
    found = flat(record.environment)
    if EMULATORS not in found:
        kinds = {_kind(each) for each in record.emulators.values()}
        found[EMULATORS] = ",".join(sorted(kinds))
    return found


def with_session(record: RunRecord, old: Baseline | None) -> Baseline:
    """Add the record to a baseline; one with the same run_id is replaced.

    Sessions of another workload or matrix point are dropped: nothing can be compared with them.
    """
    if old is not None and not _continues(old, record):
        old = None
    kept = {name: metric for name, metric in record.figures.items() if _is_kept(name, record)}
    runs = {name: tuple(map(rounded, metric.per_trial)) for name, metric in kept.items() if metric.per_trial}
    session = BaselineSession(run_id=record.run_id, started_at=record.started_at, runs=runs)
    earlier = () if old is None else tuple(each for each in old.sessions if each.run_id != session.run_id)
    return Baseline(
        file="" if old is None else old.file,
        scenario=record.scenario.name,
        point=dict(record.scenario.point),
        workload=record.scenario.workload,
        environment=environment_of(record),
        conditions=dict(record.scenario.conditions),
        sessions=tuple(sorted((*earlier, session), key=lambda each: (each.started_at, each.run_id))),
        accepted=() if old is None else old.accepted,
    )


def with_accepted(record: RunRecord, metrics: Iterable[str], reason: str, old: Baseline | None) -> Baseline:
    """Add the record's values of these metrics, whose earlier sessions no longer count.

    Its other metrics are left out where there are earlier sessions: a change of theirs that nobody
    accepted would hide itself by making sessions look far apart.
    """
    named = sorted(set(metrics))
    if old is not None and _continues(old, record):
        record = _only(record, named)
    new = with_session(record, old)
    kept = [change for change in new.accepted if change.metric not in named]
    changes = [AcceptedChange(metric=metric, since=record.run_id, reason=reason) for metric in named]
    return replace(new, accepted=(*kept, *changes))


def _is_kept(name: str, record: RunRecord) -> bool:
    """Whether a baseline keeps a figure: all of the whole run, of subjects and phases what the scenario asks for."""
    return name in record.metrics or name in record.scenario.asked


def _only(record: RunRecord, named: Collection[str]) -> RunRecord:
    """Return the record with these figures alone."""

    def of(part: RunRecord | PhaseRecord, phase: str | None = None) -> dict[str, object]:
        subjects = {
            name: found.model_copy(update={"metrics": chosen(found.metrics, name, phase)})
            for name, found in part.subjects.items()
        }
        return {"metrics": chosen(part.metrics, None, phase), "subjects": subjects}

    def chosen(
        metrics: Mapping[str, MetricRecord], subject: str | None, phase: str | None
    ) -> dict[str, MetricRecord]:  # fmt: skip
        keys = {name: str(MetricKey(metric=name, subject=subject, phase=phase)) for name in metrics}
        return {name: metric for name, metric in metrics.items() if keys[name] in named}

    phases = {name: found.model_copy(update=of(found, name)) for name, found in record.phases.items()}
    return record.model_copy(update={**of(record), "phases": phases})


def _continues(old: Baseline, record: RunRecord) -> bool:
    return old.workload == record.scenario.workload and dict(old.point) == dict(record.scenario.point)


def _kind(emulator: object) -> str:
    return str(emulator.get("emulator", emulator)) if isinstance(emulator, Mapping) else str(emulator)
