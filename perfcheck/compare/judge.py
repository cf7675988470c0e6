"""A whole run against its baseline: which metrics are compared, with which sessions, and with which verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from perfcheck.compare.decided import decided_by
from perfcheck.compare.metric import compare_metric, with_confirmation
from perfcheck.compare.screen import CONFIRM, SCREEN, runs_for_level
from perfcheck.model.baseline import Baseline, BaselineLookup, differences
from perfcheck.model.catalogue import Catalogue
from perfcheck.model.catalogue.cost import is_cost
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.load_metrics import any_has
from perfcheck.model.metric import DecidedBy, Layer, MetricSpec
from perfcheck.model.record import PHASES, SUBJECTS, ComparisonRecord, RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import read_key
from perfcheck.model.traffic import GENERATORS
from perfcheck.model.verdict import Verdict


def wanted_metrics(scenario: Scenario) -> tuple[str, ...]:
    """Name the metrics that this scenario compares, in the catalogue's order.

    Those that are compared by default, those with a tolerance, and those that an `expect` line names.
    """
    wanted = _wanted(scenario.tolerance_pct.keys() | {line.metric for line in scenario.expect}, catalogue_of(scenario))
    return tuple(name for name in wanted if (scenario.measure.mode == "cost") is is_cost(read_key(name).metric))


def _wanted(named: AbstractSet[str], known: Catalogue) -> tuple[str, ...]:
    return (
        *(name for name, spec in known.items() if spec.compared or name in named),
        *sorted(name for name in named if name in known and not read_key(name).whole),
    )


def planned_metrics(scenario: Scenario, lookup: BaselineLookup) -> tuple[str, ...]:
    """Name the metrics that a run will compare, as far as that is known before it.

    With a baseline: what it holds, and what the scenario asks of subjects and phases, which an older file lacks.
    Without one: what the scenario's traffic can produce.
    """
    wanted = wanted_metrics(scenario)
    found = lookup.found
    if found is not None:
        held = found.metrics()
        return tuple(name for name in wanted if name in held or not read_key(name).whole)
    protocols: set[str] = {spec.protocol for spec in scenario.traffic}
    generators = {spec.generator for spec in scenario.traffic if not spec.background}
    loads: set[str] = {spec.load.kind for spec in scenario.traffic if spec.load is not None and not spec.background}
    known = catalogue_of(scenario)
    return tuple(name for name in wanted if _can_produce(known[name], protocols, generators, loads))


def _can_produce(spec: MetricSpec, protocols: set[str], generators: set[str], loads: set[str]) -> bool:
    if spec.layer in (Layer.TCP, Layer.UDP) and spec.layer.value not in protocols:
        return False
    metric = read_key(spec.name).metric
    if is_cost(metric) or generators & set(spec.needs) == {"load"}:
        return any_has(loads, metric)
    # What a generator reports needs one that does; everything else comes from collectors.
    reported = set(spec.needs) & set(GENERATORS)
    return not reported or bool(generators & reported)


def judge(
    scenario: Scenario, record: RunRecord, lookup: BaselineLookup, *, screened_runs: int | None = None
) -> tuple[ComparisonRecord, ...]:
    """Compare every wanted metric that the run or its baseline has.

    The first `screened_runs` valid runs are the screen; those after it were made because a metric
    tripped (see `more_runs`), and for such a metric they alone decide. None: all runs are the screen.
    """
    known = catalogue_of(scenario)
    terms = [
        _Terms(spec=known[name], tolerance_pct=scenario.tolerance_pct.get(name),
               decided_by=decided_by(known[name], scenario), screened_runs=screened_runs, confirmed=True)
        for name in wanted_metrics(scenario)
    ]  # fmt: skip
    return _judge(terms, record, lookup)


def judge_records(
    record: RunRecord, lookup: BaselineLookup, tolerance_pct: Mapping[str, float] | None = None
) -> tuple[ComparisonRecord, ...]:
    """Compare a stored record with another that stands for the baseline; the scenario's file is not needed.

    Compared are the metrics compared by default, those with a tolerance and those that the record's
    `expect` lines name. A subject or phase that one of the two is too old to tell of has no baseline, never a verdict.
    """
    tolerances = dict(tolerance_pct or {})
    known = catalogue_of(record)
    named: set[str] = {name for name in (*tolerances, *(line.metric for line in record.expectations)) if name in known}
    found = lookup.found
    unanswered: set[str] = set()
    if found is not None:
        # What the other one was asked would otherwise not even be mentioned.
        other = {name for name in found.metrics() if name in known}
        unanswered = {name for name in named | other if older_than(name, record, found) is not None}
        named |= unanswered
    terms = [
        _Terms(spec=known[name], tolerance_pct=tolerances.get(name), decided_by=_recorded_decider(record, name),
               screened_runs=None, confirmed=False)
        for name in _wanted(named, known)
    ]  # fmt: skip
    return _judge(terms, record, lookup, unanswered)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """On what terms one metric is compared; `confirmed`: what trips the screen fails only by fresh runs."""

    spec: MetricSpec
    tolerance_pct: float | None
    decided_by: DecidedBy
    screened_runs: int | None
    confirmed: bool


def _recorded_decider(record: RunRecord, metric: str) -> DecidedBy:
    measured = record.figures.get(metric)
    return DecidedBy(measured.decided_by) if measured is not None and measured.decided_by else DecidedBy.MACHINE


def _judge(
    every: Sequence[_Terms], record: RunRecord, lookup: BaselineLookup, unanswered: AbstractSet[str] = frozenset()
) -> tuple[ComparisonRecord, ...]:  # fmt: skip
    """Compare what the run or its baseline has; what an older record cannot answer is told as well."""
    found = lookup.found
    known = record.figures.keys() | (found.metrics() if found is not None else set())
    return tuple(
        _unjudged(terms.spec, Verdict.NO_BASELINE, str(found and older_than(terms.spec.name, record, found)), record)
        if terms.spec.name in unanswered
        else _judge_metric(terms, record, lookup)
        for terms in every
        if terms.spec.name in known | unanswered
    )


def older_than(key: str, record: RunRecord, baseline: Baseline) -> str | None:
    """Say which side is too old to tell of a key's subject or phase; None where neither is, or it has the figure."""
    for what, predates, has in (
        ("this run", record.predates, key in record.figures),
        (baseline.file or "the baseline", baseline.predates, key in baseline.metrics()),
    ):
        if not has and (reason := _too_old(what, key, predates)) is not None:
            return reason
    return None


def _too_old(what: str, key: str, predates: Sequence[str]) -> str | None:
    asked = read_key(key)
    kinds = {SUBJECTS: asked.subject, PHASES: asked.phase}
    kind = next((kind for kind, name in kinds.items() if name is not None and kind in predates), None)
    return None if kind is None else f"{what} is an older record, made before {kind} had figures of their own"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreRuns:
    """Fresh runs that the comparison asks for: how many, and for which tripped metrics."""

    metrics: tuple[str, ...]
    runs: int


def more_runs(comparisons: Sequence[ComparisonRecord], record: RunRecord, lookup: BaselineLookup) -> MoreRuns | None:
    """Say how many fresh runs would confirm or clear the metrics that tripped the screen; None where none did."""
    tripped = tuple(each.metric for each in comparisons if each.verdict is Verdict.REGRESSED)
    found = lookup.found
    if not tripped or found is None:
        return None
    fewest = min(sum(map(len, found.sessions_of(metric))) for metric in tripped)
    valid = sum(trial.valid for trial in record.trials)
    return MoreRuns(metrics=tripped, runs=runs_for_level(fewest, CONFIRM, least=valid))


def changed_conditions(record: RunRecord, lookup: BaselineLookup) -> dict[str, tuple[str, str]]:
    """Return each setting that is not the baseline's as (the baseline's, this run's); empty: not set.

    Link and host settings of the scenario by their path, then the machine's (`environment.kernel.release`).
    """
    found = lookup.found
    if found is None:
        return {}
    changed = differences(found.conditions, record.scenario.conditions)
    return {each.field: (each.baseline or "", each.current or "") for each in changed} | {
        f"environment.{each.field}": (each.baseline or "", each.current or "") for each in lookup.environment
    }


def _judge_metric(terms: _Terms, record: RunRecord, lookup: BaselineLookup) -> ComparisonRecord:
    spec, tolerance = terms.spec, terms.tolerance_pct
    found = lookup.found
    if found is None or (missing := _why_not_comparable(terms, found, lookup)) is not None:
        return _unjudged(spec, Verdict.NO_BASELINE, lookup.missing if found is None else str(missing), record)
    sessions = found.sessions_of(spec.name)
    valid = [trial for trial in record.trials if trial.valid]
    screen, again = valid[: terms.screened_runs], valid[len(valid[: terms.screened_runs]) :]
    first, fresh = _values(screen, spec.name), _values(again, spec.name)
    if _unrecovered(screen, spec.name) and (not again or _unrecovered(again, spec.name)):
        return _unjudged(spec, Verdict.REGRESSED, str(record.why_unrecovered(spec.name)), record, baseline=sessions)
    if not first:
        return _unjudged(spec, Verdict.INVALID, _why_gone(spec, record, found), record, baseline=sessions)
    screened = compare_metric(spec, sessions, first, tolerance, SCREEN)
    if terms.confirmed:
        screened = with_confirmation(screened, spec, sessions, first, tolerance)
    if screened.verdict is not Verdict.REGRESSED or terms.screened_runs is None:
        return screened
    if not fresh:
        reason = f"{len(first)} runs showed a change, but no new run is valid to confirm it"
        return screened.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})
    confirmed = compare_metric(spec, sessions, fresh, tolerance, CONFIRM)
    if confirmed.verdict is Verdict.REGRESSED:
        return confirmed
    reason = f"{len(first)} runs showed a change, {len(fresh)} new runs did not confirm it"
    verdict = Verdict.PASS if confirmed.verdict is Verdict.IMPROVED else confirmed.verdict
    return confirmed.model_copy(update={"verdict": verdict, "reason": reason})


def _why_not_comparable(terms: _Terms, found: Baseline, lookup: BaselineLookup) -> str | None:
    if lookup.like is None and terms.decided_by is DecidedBy.MACHINE:
        return _unlike(lookup)
    if found.sessions_of(terms.spec.name):
        return None
    where, name = found.file or "the baseline", terms.spec.name
    if (older := _too_old(where, name, found.predates)) is not None:
        return older
    # Names of a file are any text: whether one is a key of a subject or phase is seen without reading it.
    if read_key(name).whole or any({"@", "/"} & set(each) for each in found.metrics()):
        return f"new: {where} does not have it yet"
    # The file does not say which: it has no mark of the perfcheck that wrote it.
    why = "the scenario asked for no others then, or the file is older than these"
    return f"new: {where} has figures of the whole run only: {why}"


def _unrecovered(trials: Sequence[TrialRecord], metric: str) -> bool:
    """Whether in one of the trials the metric is absent because traffic did not recover, which is worse than late."""
    return any(trial.unrecovered(metric) for trial in trials)


def _values(trials: Sequence[TrialRecord], metric: str) -> tuple[float, ...]:
    """Values of these trials, in order; what is not a finite number does not count."""
    values = (trial.figures.get(metric, math.nan) for trial in trials)
    return tuple(value for value in values if math.isfinite(value))


def _unjudged(
    spec: MetricSpec, verdict: Verdict, reason: str, record: RunRecord,
    baseline: Sequence[Sequence[float]] = (),
) -> ComparisonRecord:  # fmt: skip
    measured = record.figures.get(spec.name)
    before = sorted(value for session in baseline for value in session)
    return ComparisonRecord(
        metric=spec.name, unit=spec.unit, baseline=before[len(before) // 2] if before else None,
        current=measured.value if measured is not None else None, change_pct=None, detectable_pct=None,
        verdict=verdict, reason=reason,
    )  # fmt: skip


def _unlike(lookup: BaselineLookup) -> str:
    shown = "; ".join(str(each) for each in lookup.environment[:4])
    more = len(lookup.environment) - 4
    rest = f" and {more} more" if more > 0 else ""
    return f"this metric depends on the machine, and the baseline is from another machine: {shown}{rest}"


def _why_gone(spec: MetricSpec, record: RunRecord, baseline: Baseline) -> str:
    for needed in spec.needs:
        if needed in record.unavailable:
            return record.unavailable[needed]
    return f"{baseline.file or 'the baseline'} has it, but this run did not measure it"
