"""Metrics of one trial by phase: what was measured between the begin of a phase and that of the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfcheck.analyse.cut import cut
from perfcheck.analyse.recovery import recovered_ns
from perfcheck.analyse.spans import Span
from perfcheck.analyse.subjects import subject_metrics
from perfcheck.analyse.trial import timed, trial_metrics
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Metrics, Phased
from perfcheck.model.observation import LinkReport, Observation, TrafficReport
from perfcheck.model.record import RECOVERY, TrialPhase
from perfcheck.model.scenario import Scenario
from perfcheck.model.traffic import entry_names


def phase_metrics(
    scenario: Scenario,
    reports: Sequence[TrafficReport],
    observations: Sequence[Observation],
    begins_ns: Mapping[str, int],
    by_phase: Mapping[str, Sequence[Observation]],
    directions: Mapping[tuple[str, str], str] | None = None,
    links: Mapping[str, Sequence[LinkReport]] | None = None,
) -> dict[str, TrialPhase]:
    """Return what was measured in each phase that began before all traffic had ended.

    `begins_ns` are in the order of time. `observations` cover the whole trial, those of `by_phase` one phase each;
    a collector that cannot tell phases apart has none there. `links` are what links did in each phase, of those that
    can tell.
    """
    began_ns = min(report.start_ns for report in reports)
    reports = timed(reports, observations)
    spans = phase_spans(begins_ns, max(report.end_ns for report in reports))
    found: dict[str, TrialPhase] = {}
    for name, span in spans.items():
        parts = [cut(report, span) for report in reports]
        seen = by_phase.get(name, ())
        carried = (links or {}).get(name, ())
        subjects = subject_metrics(scenario, parts, seen, carried, directions)
        found[name] = TrialPhase(
            metrics=_told(trial_metrics(scenario, parts, seen, carried)),
            subjects={subject: told for subject, metrics in subjects.items() if (told := _told(metrics))},
            begin_ns=span[0] - began_ns,
        )
    return _with_recovery(scenario, reports, spans, found)


def phase_spans(begins_ns: Mapping[str, int], end_ns: int) -> dict[str, Span]:
    """Return begin and end of each phase: it lasts until the next begins, the last until the traffic ends."""
    ends = [*list(begins_ns.values())[1:], end_ns]
    spans = {name: (begin, min(end, end_ns)) for (name, begin), end in zip(begins_ns.items(), ends, strict=True)}
    return {name: (begin, end) for name, (begin, end) in spans.items() if begin < end}


def _told(metrics: Metrics) -> dict[str, float]:
    """Leave out what is the same in all phases, because its source does not say when."""
    return {name: value for name, value in metrics.items() if CATALOGUE[name].phased is not Phased.NEVER}


def _with_recovery(
    scenario: Scenario, reports: Sequence[TrafficReport], spans: Mapping[str, Span], phases: Mapping[str, TrialPhase]
) -> dict[str, TrialPhase]:
    """Add how long each entry took to be as it was in the first phase, to every later phase."""
    entries = list(zip(entry_names(scenario.traffic), reports, strict=True))
    found = dict(phases)
    for name in list(spans)[1:]:
        times_ms, unrecovered = _recoveries(entries, next(iter(spans.values())), spans[name][0])
        subjects = {key: dict(metrics) for key, metrics in found[name].subjects.items()}
        for entry, time_ms in times_ms.items():
            subjects.setdefault(entry, {})[RECOVERY] = time_ms
        measured = [entry for entry, report in entries if not report.background]
        times = [times_ms[entry] for entry in measured if entry in times_ms]
        whole = {RECOVERY: max(times)} if times and not unrecovered else {}
        found[name] = found[name].model_copy(
            update={
                "metrics": {**found[name].metrics, **whole}, "subjects": subjects, "unrecovered": tuple(unrecovered),
            }
        )  # fmt: skip
    return found


def _recoveries(
    entries: Sequence[tuple[str, TrafficReport]], reference: Span, begin_ns: int
) -> tuple[dict[str, float], list[str]]:
    """Return each entry's time in ms, and the measured entries that do not recover; of others nobody can say."""
    times_ms: dict[str, float] = {}
    unrecovered: list[str] = []
    for name, report in entries:
        try:
            time_ns = recovered_ns(report, reference, begin_ns)
        except ValueError:
            continue
        if time_ns is not None:
            times_ms[name] = time_ns / 1e6
        elif not report.background:
            unrecovered.append(name)
    return times_ms, unrecovered
