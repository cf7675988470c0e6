"""What the events and the series of a trial show of the states of the causality graph, and the lags between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.diagnose.causality import Causality, State
from perfcheck.diagnose.correlation import (
    EventTable,
    Incident,
    Numbers,
    Windows,
    described,
    incidents,
    lags_ns,
    table_of,
)
from perfcheck.model.event import Event

MOST_INCIDENTS: Final = 3
"""Incidents that are kept of each trial."""
LEAST_TO_CONTRADICT: Final = 3
"""Events of each of two states, below which that few follow another says nothing."""
LEAST_SHARE: Final = 0.1
"""Of a state's events, so many must follow another state's: else what led to nearly all of them was something else."""
_ANOMALY: Final = "anomaly "

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What was seen of the states in one trial, or in several.

    `counts` are the events of each state; of a state that no event shows, the changes of series that do. `lags_ns` are
    typical lags from one state to another by events. `coarse_lags_ns` are those of pairs of which a series shows at
    least one state: known to an interval of the series only, `interval_ns`. `contradicted` are pairs of which both were
    seen, but the second hardly ever within the time that the first may take to lead to it.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    lags_ns: Mapping[Pair, float] = field(default_factory=dict)
    coarse_lags_ns: Mapping[Pair, float] = field(default_factory=dict)
    interval_ns: int = 0
    contradicted: frozenset[Pair] = frozenset()
    events: int = 0
    anomalies: int = 0
    incident_count: int = 0
    incidents: tuple[Incident, ...] = ()
    told: frozenset[str] = frozenset()
    """What was recorded: `events`, `series`."""

    @property
    def basis(self) -> str:
        """Say on what lags rest, in one sentence."""
        if not self.told:
            return "metrics alone: neither events nor series were recorded, so the order is that of the graph, not seen"
        seen = []
        if "events" in self.told:
            seen.append(f"{self.events:,} events in {self.incident_count:,} incidents")
        if "series" in self.told:
            seen.append(f"{self.anomalies:,} changes of series")
        return f"metrics, {' and '.join(seen)}"


def sightings(
    causality: Causality, events: Iterable[Event], told: Iterable[str], interval_ns: int = 0
) -> Sightings:  # fmt: skip
    """Return what the alerts of one trial show; `told` says what was recorded, `interval_ns` is the series'."""
    table = table_of(events)
    is_change = table.matching(lambda name: name.startswith(_ANOMALY))
    labels = incidents(table, Windows())
    masks = {name: table.matching(state.is_told_by) & ~is_change for name, state in causality.states.items()}
    changes = {name: table.ns[table.matching(state.is_told_by) & is_change]
               for name, state in causality.states.items()}  # fmt: skip
    seen_ns = {name: np.sort(np.concatenate((table.ns[mask], changes[name]))) for name, mask in masks.items()}
    lags: dict[Pair, float] = {}
    coarse: dict[Pair, float] = {}
    contradicted: set[Pair] = set()
    rtt_ns = np.where(table.flow_rtt_ns > 0, table.flow_rtt_ns, Windows().usual_rtt_ns)
    usual_ns = float(np.median(rtt_ns)) if len(rtt_ns) else 0.0
    for edge in causality.timed_pairs:
        pair = (edge.first, edge.then)
        if masks[edge.first].any() and masks[edge.then].any():
            bound_ns = (edge.within_ns + edge.within_rtts * rtt_ns).astype(np.int64)
            found = lags_ns(table, labels, masks[edge.first], masks[edge.then], bound_ns)
            if _refuted(table, masks[edge.first], masks[edge.then], len(found)):
                contradicted.add(pair)
            elif len(found):
                lags[pair] = float(np.median(found))
        elif _begins_later(seen_ns[edge.first], seen_ns[edge.then], interval_ns):
            contradicted.add(pair)
    onsets = {name: changes[name] if len(changes[name]) else _first_of_incidents(table, labels, mask)
              for name, mask in masks.items()}  # fmt: skip
    for edge in causality.edges:
        pair = (edge.first, edge.then)
        if not (masks[edge.first].any() and masks[edge.then].any()):
            lag_ns = _coarse_lag_ns(onsets[edge.first], onsets[edge.then], edge.bound_ns(usual_ns) + interval_ns)
            coarse |= {} if lag_ns is None else {pair: lag_ns}
    counts = {name: int(mask.sum()) or len(changes[name]) for name, mask in masks.items()}
    return Sightings(
        counts={name: count for name, count in counts.items() if count}, lags_ns=lags, coarse_lags_ns=coarse,
        interval_ns=interval_ns, contradicted=frozenset(contradicted),
        events=int((~is_change).sum()), anomalies=int(is_change.sum()),
        incident_count=len(np.unique(labels[~is_change])), told=frozenset(told),
        incidents=described(table, np.where(is_change, -1, labels), MOST_INCIDENTS),
    )  # fmt: skip


def _refuted(
    table: EventTable, first: npt.NDArray[np.bool_], then: npt.NDArray[np.bool_], following: int
) -> bool:  # fmt: skip
    """Whether events refute that one state led to the other; `following` of `then` came soon after one of `first`.

    They do where hardly any followed, or where all of them were there before the first one of the other state: such as
    the losses at the end of slow start, before a fault that begins later.
    """
    if first.sum() < LEAST_TO_CONTRADICT:
        return False
    if table.ns[then].max() < table.begin_ns[first].min():
        return True
    return bool(then.sum() >= LEAST_TO_CONTRADICT and following < LEAST_SHARE * then.sum())


def _first_of_incidents(table: EventTable, labels: Numbers, shown: npt.NDArray[np.bool_]) -> Numbers:
    """Return when a state began in each incident in which events show it, in the order of time."""
    places = np.flatnonzero(shown)
    _, first = np.unique(labels[places], return_index=True)
    found: Numbers = np.sort(table.ns[places[first]])
    return found


def _coarse_lag_ns(first: Numbers, then: Numbers, most_ns: float) -> float | None:
    """Return how long after the latest moment of `first` those of `then` came, None where none did within the bound.

    A change is known to an interval only, so one that comes a little earlier says nothing.
    """
    places = np.searchsorted(first, then, side="right") - 1
    there = places >= 0
    lasted = then[there] - first[places[there]]
    near = lasted[lasted <= most_ns]
    return float(np.median(near)) if len(near) else None


def _begins_later(first: Numbers, then: Numbers, by_ns: int) -> bool:
    """Whether `first` began only when all of `then` had been there for so long: no cause follows its effect."""
    return bool(len(first) and len(then) and then[-1] + by_ns < first[0])


def together(trials: Sequence[Sightings]) -> Sightings:
    """Return what several trials show: counts added up, the median of each lag; what one trial shows is possible."""
    lags = _medians([trial.lags_ns for trial in trials])
    names = dict.fromkeys(name for trial in trials for name in trial.counts)
    largest = sorted(
        (one for trial in trials for one in trial.incidents), key=lambda one: -len(one.numbers)
    )  # fmt: skip
    return Sightings(
        counts={name: sum(trial.counts.get(name, 0) for trial in trials) for name in names},
        lags_ns=lags, coarse_lags_ns=_medians([trial.coarse_lags_ns for trial in trials]),
        interval_ns=max((trial.interval_ns for trial in trials), default=0),
        contradicted=frozenset(pair for trial in trials for pair in trial.contradicted) - lags.keys(),
        events=sum(trial.events for trial in trials), anomalies=sum(trial.anomalies for trial in trials),
        incident_count=sum(trial.incident_count for trial in trials), incidents=tuple(largest[:MOST_INCIDENTS]),
        told=frozenset(kind for trial in trials for kind in trial.told),
    )  # fmt: skip


def _medians(lags: Sequence[Mapping[Pair, float]]) -> dict[Pair, float]:
    pairs = dict.fromkeys(pair for each in lags for pair in each)
    return {pair: median(each[pair] for each in lags if pair in each) for pair in pairs}


def is_shown(state: State, found: Sightings) -> bool | None:
    """Whether events or series show a state; None where nothing was recorded that could."""
    if found.counts.get(state.name):
        return True
    could = (state.events and "events" in found.told) or (state.series and "series" in found.told)
    return False if could else None
