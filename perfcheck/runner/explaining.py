"""From a trial's events and series to what they show of causes and effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from perfcheck.analyse import events_of
from perfcheck.analyse.anomalies import anomaly_events
from perfcheck.diagnose import RuleSet, sightings
from perfcheck.model.event import Event, EventType
from perfcheck.model.scenario import Scenario, subjects_of
from perfcheck.runner.trial import Trial

WriteEvents = Callable[[Iterable[Event]], None]


def explained(made: Trial, scenario: Scenario, rules: RuleSet, write: WriteEvents | None) -> Trial:
    """Return the trial with what its events and series show, and without its packets and events.

    `write` gets all events; None: no event was recorded. Only alerts are kept meanwhile, which a trial has few of.
    """
    alerts: list[Event] = []
    events = _noted(_all_of(made, scenario, recorded=write is not None), alerts)
    if write is not None:
        write(events)
    for _ in events:
        pass  # A file that cannot be written takes none.
    told = {"events"} if write is not None and any(seen.events is not None for seen in made.observations) else set()
    told |= {"series"} if made.sampled.zero_ns is not None else set()
    seen = sightings(rules.causality, alerts, told, scenario.measure.interval_ns)
    return replace(made.without_detail(), sightings=seen)


def _all_of(made: Trial, scenario: Scenario, *, recorded: bool) -> Iterator[Event]:
    last = -1
    for event in events_of(made.observations, made.followed) if recorded else ():
        last = max(last, event.number)
        yield event
    if made.sampled.zero_ns is not None:
        kinds = subjects_of(scenario)
        yield from anomaly_events(made.sampled.anomalies, made.sampled.zero_ns, last + 1, kinds)


def _noted(events: Iterable[Event], alerts: list[Event]) -> Iterator[Event]:
    for event in events:
        if event.type is EventType.ALERT:
            alerts.append(event)
        yield event
