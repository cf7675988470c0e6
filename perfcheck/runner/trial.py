"""One trial: starts traffic and waits for it while the collectors measure, and returns the result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from resource import RUSAGE_SELF, getrusage
from typing import Final

from perfcheck.analyse import (
    Followed,
    bound_checks,
    cross_checks,
    detail_checks,
    follow,
    phase_metrics,
    stage_metrics,
    subject_metrics,
    timed,
    trial_metrics,
    unmatched_flows,
    why_not_counted,
)
from perfcheck.diagnose import Sightings
from perfcheck.errors import TrafficError
from perfcheck.model.budget import Spending
from perfcheck.model.metric import Metrics
from perfcheck.model.observation import LinkReport, Observation, Scope, TrafficReport
from perfcheck.model.record import CrossCheck, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import MeasuringCore, Testbed, TrafficSession
from perfcheck.model.topology import bottleneck, measured_paths
from perfcheck.runner.budget import detail_budget_pct
from perfcheck.runner.detailing import detail_record, packet_filter
from perfcheck.runner.phases import links_between, watch_links
from perfcheck.runner.series import KeepCurves, Sampled, keep_samples, samples_dropped, sampling_of
from perfcheck.runner.watch import traffic_ends_with
from perfcheck.system.clock import now_ns
from perfcheck.traffic import generators

GENERATOR_BOUND_PCT: Final = 95.0
"""From here on a generator's use of one CPU leaves nothing to send more with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial: what is recorded of it, and the raw reports that it was made of."""

    record: TrialRecord
    cross_checks: tuple[CrossCheck, ...]
    observations: tuple[Observation, ...]
    links: tuple[LinkReport, ...]
    warnings: tuple[str, ...]
    followed: Followed | None = None
    spending: Spending = field(default_factory=Spending)
    sampled: Sampled = field(default_factory=Sampled)
    sightings: Sightings = field(default_factory=Sightings)
    reports: tuple[TrafficReport, ...] = ()

    def without_detail(self) -> Trial:
        """Return the trial without its packets, of which there may be hundreds of megabytes, events and requests."""
        kept = tuple(replace(seen, detail=None, events=None) for seen in self.observations)
        return replace(self, followed=None, observations=kept, reports=())


def make_trial(
    scenario: Scenario, lab: Testbed, core: MeasuringCore, index: int, keep_curves: KeepCurves | None = None
) -> Trial:  # fmt: skip
    """Drive the scenario's traffic once; TrafficError and CollectError pass through, all processes ended.

    Time series are sampled where `keep_curves` takes them.
    """
    with samples_dropped(core):
        return _made(scenario, lab, core, index, keep_curves)


def _made(scenario: Scenario, lab: Testbed, core: MeasuringCore, index: int, keep_curves: KeepCurves | None) -> Trial:
    before_s = _own_cpu_s()
    sampling = sampling_of(scenario, lab) if keep_curves is not None else None
    watched = watch_links(scenario, lab.links) if scenario.phases_ns else None
    with _prepared(scenario, lab) as sessions, _let_go(core):
        lab.begin_trial(index)
        scope = _scope(scenario, lab)
        core.begin(scope, sampling, watched)
        reports = _driven(sessions, lab.carriers, lab)
        observations = core.end()
        links = lab.end_trial()
    measuring_s = _own_cpu_s() - before_s
    sampled = keep_samples(core, scenario, reports, observations, keep_curves) if keep_curves is not None else Sampled()
    unseen = unmatched_flows(reports, observations)
    followed = next((follow(seen.detail) for seen in observations if seen.detail is not None), None)
    metrics = trial_metrics(scenario, reports, observations, links)
    metrics |= stage_metrics(followed) if followed is not None else {}
    reason = why_invalid(
        links,
        unseen if any(seen.tcp_sockets for seen in observations) else (),
        metrics,
        (*generator_bound(scenario, reports), *(each.invalid_reason for each in reports if each.invalid_reason)),
    )
    return Trial(
        record=TrialRecord(
            index=index,
            metrics=metrics,
            subjects=subject_metrics(scenario, reports, observations, links, lab.directions),
            phases=phase_metrics(
                scenario,
                reports,
                observations,
                scope.phases_ns,
                core.by_phase,
                lab.directions,
                {name: links_between(*looks) for name, looks in core.queues_by_phase.items()},
            )
            if scope.phases_ns
            else {},
            traffic_s=_traffic_s(reports),
            began_ns=_began_ns(reports),
            valid=reason is None,
            invalid_reason=reason,
            detail=detail_record(followed) if followed is not None else None,
        ),
        cross_checks=(
            *cross_checks(index, reports, observations, links),
            *bound_checks(index, scenario, timed(reports, observations), metrics, links, cpus=os.cpu_count() or 1),
            *(detail_checks(index, followed.stream, observations) if followed is not None else ()),
        ),
        observations=_charged(observations, measuring_s),
        links=links,
        reports=reports,
        followed=followed,
        spending=core.spending,
        warnings=(
            *(text for report in reports for text in report.warnings),
            *(text for seen in observations for text in seen.warnings),
            *sampled.warnings,
        ),
        sampled=sampled,
    )


def _scope(scenario: Scenario, lab: Testbed) -> Scope:
    """Return what counts in a trial that begins now: the links have begun to count the times of their schedules."""
    began_ns = now_ns()
    return Scope(
        namespaces={name: host.netns_inode for name, host in lab.hosts.items()},
        netns_paths={name: host.netns_path for name, host in lab.hosts.items()},
        warmup_ns=scenario.warmup_ns,
        emulator_pids=lab.carriers,
        detail=packet_filter(scenario, lab.hosts),
        detail_budget_pct=detail_budget_pct(scenario),
        phases_ns={name: began_ns + begin_ns for name, begin_ns in scenario.phases_ns.items()},
    )


def _driven(sessions: Sequence[TrafficSession], carriers: Sequence[int], lab: Testbed) -> tuple[TrafficReport, ...]:
    """Start all traffic and wait for its end; LabError where a link broke meanwhile."""
    try:
        with traffic_ends_with(carriers, sessions):
            for session in sessions:
                session.start()
            return tuple(session.wait() for session in sessions)
    except TrafficError:
        lab.end_trial()  # raises where a link is gone: that, and not what the generator makes of it, is the reason
        raise


@contextmanager
def _let_go(core: MeasuringCore) -> Iterator[None]:
    """Have the core end a trial that fails, too: what it holds of the hosts would outlive them."""
    try:
        yield
    except BaseException:
        core.abandon()
        raise


@contextmanager
def _prepared(scenario: Scenario, lab: Testbed) -> Iterator[tuple[TrafficSession, ...]]:
    """Prepare every generator's session; all of them are stopped on every way out."""
    table = generators()
    with ExitStack() as stack:
        sessions = []
        for spec in scenario.traffic:
            generator = table[spec.generator]
            lab.check_generator(generator)
            session = generator.prepare(spec, lab.hosts, scenario.warmup_ns)
            stack.callback(session.stop)
            sessions.append(session)
        yield tuple(sessions)


def why_invalid(
    links: Sequence[LinkReport], unseen: Sequence[str], metrics: Metrics, of_generators: Sequence[str] = ()
) -> str | None:
    """Say why a trial does not count; no reason here can see the outcome that would be judged."""
    reasons = [f"link {link.link} {link.way}: {link.invalid_reason}" for link in links if link.invalid_reason]
    reasons += [f"the core did not see the flow {flow}" for flow in unseen]
    reasons += of_generators
    if (busy := why_not_counted(metrics)) is not None:
        reasons.append(busy)
    return "; ".join(reasons) or None


def generator_bound(scenario: Scenario, reports: Sequence[TrafficReport]) -> tuple[str, ...]:
    """Name the generators that had no CPU left where the path has a rate: it is not the path that was measured.

    Where no rate is set the machine is what a scenario measures, and a warning says the same.
    """
    paths = measured_paths(scenario)
    if not paths or any(bottleneck(scenario, path) is None for path in paths):
        return ()
    return tuple(
        f"{report.generator} used {report.cpu_pct:.0f} % of a CPU: it limited the throughput, not the path; lower "
        "the link's rate, or pin each host to its own CPUs"
        for report in reports
        if not report.background and report.cpu_pct is not None and report.cpu_pct > GENERATOR_BOUND_PCT
    )


def _traffic_s(reports: Sequence[TrafficReport]) -> float:
    return (max(report.end_ns for report in reports) - _began_ns(reports)) / 1e9


def _began_ns(reports: Sequence[TrafficReport]) -> int:
    """Return when the first generator started: time series count from there."""
    return min(report.start_ns for report in reports)


def _own_cpu_s() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _charged(observations: tuple[Observation, ...], cpu_s: float) -> tuple[Observation, ...]:
    """Charge this process's CPU time, which includes what each collector used, to the first observation alone."""
    return tuple(
        replace(seen, overhead=replace(seen.overhead, user_cpu_s=0.0 if index else cpu_s))
        for index, seen in enumerate(observations)
    )
