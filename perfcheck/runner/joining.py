"""Joins two records of one scenario to one, as if all their trials had been made in one run; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfcheck.diagnose import RuleSet
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bench import judged
from perfcheck.runner.rediagnosis import diagnosed_again
from perfcheck.runner.summary import aggregated, expectation_records

_SUMMED: tuple[str, ...] = ("bpf_cpu_s", "user_cpu_s", "series_cpu_s")
_LARGEST: tuple[str, ...] = ("bpf_map_bytes", "rss_bytes")


def joined(scenario: Scenario, first: RunRecord, second: RunRecord, rules: RuleSet) -> RunRecord:
    """Return the first record with the second's trials after its own, diagnosed and judged anew.

    Chains rest on the events of the first record's trials: a record keeps no events.
    """
    shift = len(first.trials)
    later = [trial.model_copy(update={"index": trial.index + shift}) for trial in second.trials]
    checks = [check.model_copy(update={"trial": check.trial + shift}) for check in second.cross_checks]
    together = first.model_copy(
        update={
            "overhead": _overheads(first, second),
            "lost_events": first.lost_events + second.lost_events,
            "cross_checks": (*first.cross_checks, *checks),
            "warnings": tuple(sorted({*first.warnings, *second.warnings})),
            "unavailable": {**second.unavailable, **first.unavailable},
        }
    )
    record = diagnosed_again(aggregated(together, scenario, (*first.trials, *later)), rules)
    if record.verdict is Verdict.INVALID:
        return record
    return judged(record, expectations=tuple(expectation_records(scenario, record)))


def _overheads(first: RunRecord, second: RunRecord) -> dict[str, Any]:
    """Return what measuring cost in both."""
    one, other = first.overhead, second.overhead
    found: dict[str, Any] = {**other, **one}
    found |= {key: one.get(key, 0) + other.get(key, 0) for key in _SUMMED if key in one or key in other}
    found |= {key: max(one.get(key, 0), other.get(key, 0)) for key in _LARGEST}
    found["programs"] = _programs(one.get("programs", {}), other.get("programs", {}))
    found["shed"] = [*one.get("shed", ()), *other.get("shed", ())]
    found["stopped"] = {**other.get("stopped", {}), **one.get("stopped", {})}
    found["lost_events"] = {
        name: one.get("lost_events", {}).get(name, 0) + other.get("lost_events", {}).get(name, 0)
        for name in sorted({*one.get("lost_events", {}), *other.get("lost_events", {})})
    }
    traffic_s = sum(trial.traffic_s for record in (first, second) for trial in record.trials)
    used_s = found.get("bpf_cpu_s", 0.0) + found.get("user_cpu_s", 0.0)
    found["cpu_pct"] = 100 * used_s / traffic_s if traffic_s else 0.0
    return found


def _programs(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name in sorted({*one, *other}):
        summed = {key: one.get(name, {}).get(key, 0) + other.get(name, {}).get(key, 0) for key in ("calls", "run_ns")}
        found[name] = summed | ({"ns_per_call": summed["run_ns"] / summed["calls"]} if summed["calls"] else {})
    return found
