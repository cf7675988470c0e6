"""Turns trials into the run record, and judges its `expect` lines; pure functions."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from perfcheck.analyse import INFLIGHT_SHARE, aggregate, aggregate_subjects, phase_trials
from perfcheck.compare import decided_by
from perfcheck.diagnose import (
    Reading,
    RuleSet,
    Sightings,
    account,
    account_again,
    diagnose,
    together,
    with_chains,
    with_entries,
)
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.catalogue import Catalogue
from perfcheck.model.catalogue_of import catalogue_of, own_metrics
from perfcheck.model.record import (
    DiagnosisRecord,
    ExpectationRecord,
    MetricRecord,
    PhaseRecord,
    RunRecord,
    ScenarioRef,
    SubjectRecord,
    TrialRecord,
)
from perfcheck.model.scenario import Scenario, subjects_of
from perfcheck.model.subject import SubjectKind, read_key
from perfcheck.model.traffic import entry_names
from perfcheck.model.units import whole_pct
from perfcheck.model.verdict import Verdict
from perfcheck.runner import costs
from perfcheck.runner.budget import STOPPED, without_stopped
from perfcheck.runner.trial import Trial
from perfcheck.scenario import conditions


def summarise(
    *, scenario: Scenario, trials: Sequence[Trial], rules: RuleSet, run_id: str, started_at: str,
    environment: Mapping[str, Any], emulators: Mapping[str, Any], unavailable: Mapping[str, str],
) -> RunRecord:  # fmt: skip
    """Return the record of these trials, not yet judged: verdict PASS, or INVALID where too few trials count."""
    records = tuple(trial.record for trial in trials)
    valid = [record for record in records if record.valid]
    overhead = costs.costs(scenario, trials)
    known = catalogue_of(scenario)
    metrics = _kept(scenario, records, overhead[STOPPED], aggregate(records, known))
    seen = together([trial.sightings for trial in trials if trial.record.valid])
    subjects = _subjects(scenario, records, rules, metrics, overhead[STOPPED], seen)
    reading = Reading(metrics=_medians(metrics), trials=[record.metrics for record in valid])
    causes = with_chains(diagnose(rules, reading.metrics, reading.trials), rules.causality, reading, seen)
    reason = _why_invalid(scenario, records)
    warned = {warning for trial in trials for warning in trial.warnings} | set(costs.remarks(overhead, trials))
    return RunRecord(
        schema_version=1,
        run_id=run_id,
        scenario=reference_to(scenario),
        started_at=started_at,
        environment=environment,
        emulators=emulators,
        trials=records,
        metrics=metrics,
        subjects=subjects,
        phases=_phases(scenario, records, overhead[STOPPED]),
        diagnosis=with_entries(causes, subjects),
        account=account(rules, reading, seen),
        overhead=overhead,
        lost_events=sum(seen.lost_events for trial in trials for seen in trial.observations),
        cross_checks=tuple(check for trial in trials for check in trial.cross_checks),
        verdict=Verdict.PASS if reason is None else Verdict.INVALID,
        invalid_reason=reason,
        unavailable=unavailable,
        reproduce=reproduce(scenario),
        warnings=tuple(sorted(warned)),
    )


def aggregated(record: RunRecord, scenario: Scenario, trials: Sequence[TrialRecord]) -> RunRecord:
    """Return the record with these trials in place of its own: metrics of all of them, and whether enough count.

    Diagnoses are as they were: see `rediagnosis`.
    """
    known = catalogue_of(scenario)
    stopped = record.overhead.get(STOPPED, {})
    subjects = {
        name: record.subjects[name].model_copy(update={"metrics": _kept(scenario, trials, stopped, metrics)})
        for name, metrics in aggregate_subjects(trials, known).items()
        if name in record.subjects
    }
    reason = _why_invalid(scenario, trials)
    return record.model_copy(
        update={
            "trials": tuple(trials),
            "metrics": _kept(scenario, trials, stopped, aggregate(trials, known)),
            "subjects": subjects,
            "phases": _phases(scenario, trials, stopped),
            "verdict": Verdict.PASS if reason is None else Verdict.INVALID,
            "invalid_reason": reason,
        }
    )


def diagnosed_against(record: RunRecord, rules: RuleSet, lookup: BaselineLookup) -> RunRecord:
    """Diagnose a regressed run once more with the baseline's medians at hand, as far as they can be compared."""
    found = lookup.found
    if found is None or not any(each.verdict is Verdict.REGRESSED for each in record.comparisons):
        return record
    names = [name for name, metric in record.metrics.items() if lookup.like is not None or metric.decided_by == "path"]
    before = {name: median(chain.from_iterable(sessions)) for name in names if (sessions := found.sessions_of(name))}
    trials = [trial.metrics for trial in record.trials if trial.valid]
    reading = Reading(metrics=_medians(record.metrics), trials=trials, baseline=before)
    return rediagnosed(record, rules, reading, record.subjects)


def rediagnosed(
    record: RunRecord, rules: RuleSet, reading: Reading, subjects: Mapping[str, SubjectRecord]
) -> RunRecord:  # fmt: skip
    """Return the record with its diagnosis and account made anew of `reading`; its events and series are gone."""
    found = diagnose(rules, reading.metrics, reading.trials, reading.baseline)
    causes = with_chains(found, rules.causality, reading, Sightings(), record.diagnosis)
    again = account_again(rules, reading, record.account)
    return record.model_copy(
        update={"subjects": subjects, "diagnosis": with_entries(causes, subjects), "account": again}
    )  # fmt: skip


def _medians(metrics: Mapping[str, MetricRecord]) -> dict[str, float]:
    return {name: metric.value for name, metric in metrics.items()}


def _subjects(
    scenario: Scenario, trials: Sequence[TrialRecord], rules: RuleSet, whole: Mapping[str, MetricRecord],
    stopped: Mapping[str, str], sightings: Sightings,
) -> dict[str, SubjectRecord]:  # fmt: skip
    """Return each subject's metrics, and of each measured traffic entry what is the matter with it."""
    measured = {
        name for name, entry in zip(entry_names(scenario.traffic), scenario.traffic, strict=True)
        if not entry.background
    }  # fmt: skip
    found: dict[str, SubjectRecord] = {}
    known = catalogue_of(scenario)
    aggregated = aggregate_subjects(trials, known)
    for name, metrics in aggregated.items():
        kept = _kept(scenario, trials, stopped, metrics)
        causes = diagnosed_entry(name, rules, whole, kept, trials, known, sightings) if name in measured else ()
        causes = tuple(with_fillers(cause, name, aggregated) for cause in causes)
        found[name] = SubjectRecord(kind=subjects_of(scenario)[name], metrics=kept, diagnosis=causes)
    return found


def _phases(scenario: Scenario, trials: Sequence[TrialRecord], stopped: Mapping[str, str]) -> dict[str, PhaseRecord]:
    """Return each phase's metrics, of the whole lab and of each subject."""
    found: dict[str, PhaseRecord] = {}
    known = catalogue_of(scenario)
    for name, begin_ns in scenario.phases_ns.items():
        parts = phase_trials(trials, name)
        kept = partial(_kept, scenario, parts, stopped)
        subjects = {
            subject: SubjectRecord(kind=subjects_of(scenario)[subject], metrics=kept(metrics))
            for subject, metrics in aggregate_subjects(parts, known).items()
        }
        valid = [trial.phases[name] for trial in trials if trial.valid and name in trial.phases]
        unrecovered = dict.fromkeys(entry for part in valid for entry in part.unrecovered)
        found[name] = PhaseRecord(
            begin_ns=begin_ns, metrics=kept(aggregate(parts, known)), subjects=subjects, unrecovered=tuple(unrecovered)
        )
    return found


def with_fillers(
    cause: DiagnosisRecord, entry: str, subjects: Mapping[str, Mapping[str, MetricRecord]]
) -> DiagnosisRecord:  # fmt: skip
    """Add to other entries' traffic as a cause which of them has most in flight."""
    others = {name: found[INFLIGHT_SHARE].value for name, found in subjects.items() if INFLIGHT_SHARE in found}
    others.pop(entry, None)
    if cause.cause != "cross_traffic" or not others:
        return cause
    most = max(others, key=lambda name: others[name])
    text = f"{most} fills it: {whole_pct(others[most])} of all bytes in flight are its own"
    return cause.model_copy(update={"evidence_for": (*cause.evidence_for, text)})


def diagnosed_entry(
    name: str, rules: RuleSet, whole: Mapping[str, MetricRecord], own: Mapping[str, MetricRecord],
    trials: Sequence[TrialRecord], known: Catalogue, sightings: Sightings, former: Sequence[DiagnosisRecord] = (),
) -> tuple[DiagnosisRecord, ...]:  # fmt: skip
    """Diagnose one traffic entry: its own figures, and of all that no entry has, such as a host's CPU, the run's.

    `former` is its earlier diagnosis, where this one is made of a stored record.
    """

    def seen(all_of: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
        shared = {key: value for key, value in all_of.items() if SubjectKind.TRAFFIC not in known[key].subjects}
        return {**shared, **entry}

    each = [seen(trial.metrics, trial.subjects.get(name, {})) for trial in trials if trial.valid]
    reading = Reading(metrics=_medians(seen(whole, own)), trials=each)
    return with_chains(diagnose(rules, reading.metrics, each), rules.causality, reading, sightings, former)


def expectation_records(scenario: Scenario, record: RunRecord) -> Iterator[ExpectationRecord]:
    """Judge each `expect` line on the record's medians; an unmeasured metric is INVALID with its reason.

    Traffic that does not recover has no time to be judged, and fails.
    """
    for line in scenario.expect:
        metric = record.figures.get(line.metric)
        if metric is None:
            stuck = record.why_unrecovered(line.metric)
            reason = stuck or why_unmeasured(line.metric, record)
            verdict = Verdict.INVALID if stuck is None else Verdict.FAIL
        else:
            reason = None
            verdict = Verdict.PASS if line.holds(metric.value) else Verdict.FAIL
        yield ExpectationRecord(
            metric=line.metric, expected=line.text, actual=None if metric is None else metric.value,
            verdict=verdict, reason=reason,
        )  # fmt: skip
    if scenario.expected_cause is not None:
        yield _diagnosis_record("diagnosis", scenario.expected_cause, record.diagnosis, record)
    for entry, cause in scenario.expected_causes.items():
        subject = record.subjects.get(entry)
        if subject is None or not subject.diagnosis:
            reason = f"nothing of {entry} was measured: it is background traffic, or ended within the warm-up"
            yield ExpectationRecord(
                metric=f"diagnosis@{entry}", expected=cause, actual=None, verdict=Verdict.INVALID, reason=reason
            )
        else:
            yield _diagnosis_record(f"diagnosis@{entry}", cause, subject.diagnosis, record)


def _diagnosis_record(
    key: str, expected: str, diagnosis: Sequence[DiagnosisRecord], record: RunRecord
) -> ExpectationRecord:
    """Judge the most probable cause; with collectors missing, `unknown` only says that too little was measured."""
    found = diagnosis[0].cause
    verdict = Verdict.PASS if found == expected else Verdict.FAIL
    reason = None
    lacking, shed = record.unavailable, record.overhead.get(STOPPED, {})
    if found == "unknown" and verdict is Verdict.FAIL and (lacking or shed):
        verdict = Verdict.INVALID if lacking else Verdict.INCONCLUSIVE
        reason = next(iter((lacking or shed).values()))
    return ExpectationRecord(metric=key, expected=expected, actual=found, verdict=verdict, reason=reason)


def why_unmeasured(metric: str, record: RunRecord) -> str:
    """Say why a record has no value of a metric: what its source lacks, or that the traffic does not produce it."""
    spec = catalogue_of(record)[metric]
    for needed in spec.needs:
        if needed in record.unavailable:
            return record.unavailable[needed]
    return f"{metric} was not measured: this scenario's traffic does not produce it ({spec.source})"


def _why_invalid(scenario: Scenario, trials: Sequence[TrialRecord]) -> str | None:
    reasons = [trial.invalid_reason for trial in trials if trial.invalid_reason is not None]
    valid = len(trials) - len(reasons)
    if valid >= scenario.repeat:
        return None
    return (
        f"only {valid} of {len(trials)} runs count and {scenario.repeat} are needed; "
        f"the last that did not: {reasons[-1]}"
    )


def _kept(
    scenario: Scenario, trials: Sequence[TrialRecord], stopped: Mapping[str, str], metrics: Mapping[str, MetricRecord]
) -> dict[str, MetricRecord]:  # fmt: skip
    """Return the metrics as a record has them: without those of stopped collectors, and each with what decides it."""
    return without_stopped(_with_decider(scenario, metrics), trials, stopped, catalogue_of(scenario))


def _with_decider(scenario: Scenario, metrics: Mapping[str, MetricRecord]) -> dict[str, MetricRecord]:
    known = catalogue_of(scenario)
    return {
        name: metric.model_copy(update={"decided_by": decided_by(known[name], scenario).value})
        for name, metric in metrics.items()
    }


def reference_to(scenario: Scenario) -> ScenarioRef:
    """Return what a record says of its scenario."""
    return ScenarioRef(
        name=scenario.name, digest=scenario.digest, file=scenario.file, point=dict(scenario.point),
        workload=scenario.workload_digest, title=scenario.title, asked=asked(scenario), conditions=conditions(scenario),
        own_metrics=own_metrics(scenario),
    )  # fmt: skip


def asked(scenario: Scenario) -> tuple[str, ...]:
    """Return the keys with a subject or a phase that the scenario expects something of or compares."""
    named = {line.metric for line in scenario.expect} | scenario.tolerance_pct.keys()
    return tuple(sorted(name for name in named if not read_key(name).whole))


def reproduce(scenario: Scenario) -> str:
    """Return the command that runs the scenario again."""
    return shlex.join(["perfcheck", "run", scenario.file, "--repeat", str(scenario.repeat), *_chosen(scenario)])


def reproduce_pairs(scenario: Scenario, a: str, b: str) -> str:
    """Return the command that measures the two sides again."""
    return shlex.join(["perfcheck", "ab", scenario.file, "--a", a, "--b", b, *_chosen(scenario)])


def with_kernel(command: str, kernel: str | None) -> str:
    """Return a command with the kernel of the store that its guests boot; without one, as it is."""
    return command if kernel is None else f"{command} --kernel {shlex.quote(kernel)}"


def _chosen(scenario: Scenario) -> Iterator[str]:
    """Yield the options without which the file does not give this scenario."""
    if scenario.point:
        yield from ("--select", scenario.label)
    folder = os.path.realpath(Path(scenario.file).parent)
    given = [each.trace for link in scenario.links for each in (link, link.forward, link.reverse) if each is not None]
    traces = [trace for trace in given if trace is not None and trace.path]
    if any(Path(trace.name).is_absolute() or not Path(trace.path).is_relative_to(folder) for trace in traces):
        yield "--trace-outside"
