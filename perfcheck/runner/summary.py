"""From trials to the run record, and the judgement of its `expect` lines; pure functions."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any

from perfcheck.analyse import aggregate
from perfcheck.compare import decided_by
from perfcheck.diagnose import RuleSet, diagnose
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import ExpectationRecord, MetricRecord, RunRecord, ScenarioRef
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner.detailing import budget_pct, over_budget
from perfcheck.runner.trial import Trial
from perfcheck.scenario import conditions


def summarise(
    *, scenario: Scenario, trials: Sequence[Trial], rules: RuleSet, run_id: str, started_at: str,
    environment: Mapping[str, Any], emulators: Mapping[str, Any], unavailable: Mapping[str, str],
) -> RunRecord:  # fmt: skip
    """Give the record of these trials, not yet judged: verdict PASS, or INVALID where too few trials count."""
    records = tuple(trial.record for trial in trials)
    valid = [record for record in records if record.valid]
    metrics = _with_decider(scenario, aggregate(records))
    medians = {name: metric.value for name, metric in metrics.items()}
    reason, overhead = _why_invalid(scenario, trials), _overhead(scenario, trials)
    warned = {warning for trial in trials for warning in trial.warnings} | set(over_budget(overhead))
    return RunRecord(
        schema_version=1,
        run_id=run_id,
        scenario=_reference(scenario),
        started_at=started_at,
        environment=environment,
        emulators=emulators,
        trials=records,
        metrics=metrics,
        diagnosis=diagnose(rules, medians, [record.metrics for record in valid]),
        overhead=overhead,
        lost_events=sum(seen.lost_events for trial in trials for seen in trial.observations),
        cross_checks=tuple(check for trial in trials for check in trial.cross_checks),
        verdict=Verdict.PASS if reason is None else Verdict.INVALID,
        invalid_reason=reason,
        unavailable=unavailable,
        reproduce=_reproduce(scenario),
        warnings=tuple(sorted(warned)),
    )


def diagnosed_against(record: RunRecord, rules: RuleSet, lookup: BaselineLookup) -> RunRecord:
    """Diagnose a regressed run once more with the baseline's medians at hand, as far as they can be compared."""
    found = lookup.found
    if found is None or not any(each.verdict is Verdict.REGRESSED for each in record.comparisons):
        return record
    names = [name for name, metric in record.metrics.items() if lookup.like is not None or metric.decided_by == "path"]
    before = {name: median(chain.from_iterable(sessions)) for name in names if (sessions := found.sessions_of(name))}
    medians = {name: metric.value for name, metric in record.metrics.items()}
    trials = [trial.metrics for trial in record.trials if trial.valid]
    return record.model_copy(update={"diagnosis": diagnose(rules, medians, trials, before)})


def expectation_records(scenario: Scenario, record: RunRecord) -> Iterator[ExpectationRecord]:
    """Judge each `expect` line on the record's medians; an unmeasured metric is INVALID with its reason."""
    for line in scenario.expect:
        metric = record.metrics.get(line.metric)
        if metric is None:
            reason = why_unmeasured(line.metric, record.unavailable)
            verdict = Verdict.INVALID
        else:
            reason = None
            verdict = Verdict.PASS if line.holds(metric.value) else Verdict.FAIL
        yield ExpectationRecord(
            metric=line.metric, expected=line.text, actual=None if metric is None else metric.value,
            verdict=verdict, reason=reason,
        )  # fmt: skip
    if scenario.expected_cause is not None:
        yield _diagnosis_record(scenario.expected_cause, record)


def _diagnosis_record(expected: str, record: RunRecord) -> ExpectationRecord:
    """Judge the most probable cause; with collectors missing, `unknown` only says that too little was measured."""
    found = record.diagnosis[0].cause
    verdict = Verdict.PASS if found == expected else Verdict.FAIL
    reason = None
    if found == "unknown" and verdict is Verdict.FAIL and record.unavailable:
        verdict, reason = Verdict.INVALID, next(iter(record.unavailable.values()))
    return ExpectationRecord(metric="diagnosis", expected=expected, actual=found, verdict=verdict, reason=reason)


def why_unmeasured(metric: str, unavailable: Mapping[str, str]) -> str:
    """Say why a metric has no value: what its source lacks, or that the traffic does not produce it."""
    for needed in CATALOGUE[metric].needs:
        if needed in unavailable:
            return unavailable[needed]
    return f"{metric} was not measured: this scenario's traffic does not produce it ({CATALOGUE[metric].source})"


def _why_invalid(scenario: Scenario, trials: Sequence[Trial]) -> str | None:
    reasons = [trial.record.invalid_reason for trial in trials if trial.record.invalid_reason is not None]
    valid = len(trials) - len(reasons)
    if valid >= scenario.repeat:
        return None
    return (
        f"only {valid} of {len(trials)} runs count and {scenario.repeat} are needed; "
        f"the last that did not: {reasons[-1]}"
    )


def _with_decider(scenario: Scenario, metrics: Mapping[str, MetricRecord]) -> dict[str, MetricRecord]:
    return {
        name: metric.model_copy(update={"decided_by": decided_by(CATALOGUE[name], scenario).value})
        for name, metric in metrics.items()
    }


def _reference(scenario: Scenario) -> ScenarioRef:
    return ScenarioRef(
        name=scenario.name, digest=scenario.digest, file=scenario.file, point=dict(scenario.point),
        workload=scenario.workload_digest, title=scenario.title, conditions=conditions(scenario),
    )  # fmt: skip


def _reproduce(scenario: Scenario) -> str:
    words = ["perfcheck", "run", scenario.file, "--repeat", str(scenario.repeat)]
    if scenario.point:
        words += ["--select", scenario.label]
    return shlex.join(words)


def _overhead(scenario: Scenario, trials: Sequence[Trial]) -> dict[str, object]:
    """Sum what measuring cost over all trials: ns a call and calls of each program, CPU seconds, memory, losses.

    `cpu_pct` is all of it as a share of one CPU while the traffic ran.
    """
    costs = [cost for trial in trials for seen in trial.observations for cost in seen.overhead.programs]
    observed = [seen.overhead for trial in trials for seen in trial.observations]
    programs: dict[str, dict[str, float]] = {}
    for name in sorted({cost.program for cost in costs}):
        calls = sum(cost.calls for cost in costs if cost.program == name)
        run_ns = sum(cost.run_ns for cost in costs if cost.program == name)
        programs[name] = {"calls": calls, "run_ns": run_ns} | ({"ns_per_call": run_ns / calls} if calls else {})
    bpf_cpu_s, user_cpu_s = sum(cost.run_ns for cost in costs) / 1e9, sum(one.user_cpu_s for one in observed)
    traffic_s = sum(trial.record.traffic_s for trial in trials)
    maps = [sum(seen.overhead.map_bytes for seen in trial.observations) for trial in trials]
    return {
        "programs": programs,
        "bpf_cpu_s": bpf_cpu_s,
        "user_cpu_s": user_cpu_s,
        "cpu_pct": 100 * (bpf_cpu_s + user_cpu_s) / traffic_s if traffic_s else 0.0,
        "budget_pct": scenario.measure.budget_pct if scenario.measure.mode == "summary" else budget_pct(scenario),
        "bpf_map_bytes": max(maps, default=0),
        "lost_events": {
            name: sum(seen.lost_events for trial in trials for seen in trial.observations if seen.collector == name)
            for name in sorted({seen.collector for trial in trials for seen in trial.observations})
        },
        "rss_bytes": max((overhead.rss_bytes for overhead in observed), default=0)
        or getrusage(RUSAGE_SELF).ru_maxrss * 1024,
        "cpus": os.cpu_count(),
    }
