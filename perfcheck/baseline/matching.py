"""Which of several baselines is nearest to a run's environment; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfcheck.baseline.sessions import EMULATORS, environment_of
from perfcheck.model.baseline import Baseline, BaselineLookup, Difference, differences
from perfcheck.model.record import RunRecord
from perfcheck.system.environment import machine_digest


def nearest(candidates: Sequence[Baseline], environment: Mapping[str, str]) -> BaselineLookup:
    """Choose among baselines of the same workload.

    First the very same environment, then a like machine with other software, then any machine; of
    several the one with the fewest differing fields, then the newest. Another kind of emulator is
    another experiment and never chosen.
    """
    emulators = environment.get(EMULATORS, "")
    usable = [each for each in candidates if each.environment.get(EMULATORS, "") == emulators]
    if not usable:
        kinds = sorted({each.environment.get(EMULATORS, "") or "none" for each in candidates})
        return BaselineLookup(
            missing=f"the baseline was measured through {', '.join(kinds)}, this run through {emulators or 'none'}"
        )
    machine = machine_digest(environment)
    ranked = sorted(usable, key=last_saved, reverse=True)
    best = min(
        ranked,
        key=lambda each: (machine_digest(each.environment) != machine, _distance(each, environment)),
    )
    found = _differences(best, environment)
    if machine_digest(best.environment) == machine:
        return BaselineLookup(like=best, environment=found)
    return BaselineLookup(other=best, environment=found)


def lookup_of(baseline: Baseline, record: RunRecord) -> BaselineLookup:
    """Say how one baseline stands to a run record; none where their workloads or emulators differ."""
    if baseline.workload != record.scenario.workload:
        return BaselineLookup(missing="the two runs have different workloads (traffic, hosts or links)")
    return nearest([baseline], environment_of(record))


def last_saved(baseline: Baseline) -> str:
    """Return when its newest session was started."""
    return max(session.started_at for session in baseline.sessions)


def _distance(baseline: Baseline, environment: Mapping[str, str]) -> int:
    return len(_differences(baseline, environment))


def _differences(baseline: Baseline, environment: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return the fields that differ, of the groups (`kernel`, `nic`) that both know.

    A baseline of before a group was looked at says nothing of it.
    """
    both = {_group(name) for name in baseline.environment} & {_group(name) for name in environment}
    return tuple(each for each in differences(baseline.environment, environment) if _group(each.field) in both)


def _group(field: str) -> str:
    return field.partition(".")[0]
