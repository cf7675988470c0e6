"""What the events and the series of a trial show of the states of the causality graph, and the lags between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import numpy as np

from perfcheck.diagnose.causality import Causality, State
from perfcheck.diagnose.correlation import Incident, Windows, described, incidents, lags_ns, table_of
from perfcheck.model.event import Event

MOST_INCIDENTS: Final = 3
"""Incidents that are kept of each trial."""
LEAST_TO_CONTRADICT: Final = 3
"""Events of each of two states, below which that none follows another says nothing."""
_ANOMALY: Final = "anomaly "

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What was seen of the states in one trial, or in several.

    `counts` are the events of each state; of a state that no event shows, the changes of series that do. `lags_ns` are
    typical lags from one state to another. `contradicted` are pairs of which both were seen, but the second never
    within the time that the first may take to lead to it.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    lags_ns: Mapping[Pair, float] = field(default_factory=dict)
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
    changes = {name: np.flatnonzero(table.matching(state.is_told_by) & is_change)
               for name, state in causality.states.items()}  # fmt: skip
    lags, contradicted = {}, set()
    rtt_ns = np.where(table.flow_rtt_ns > 0, table.flow_rtt_ns, Windows().usual_rtt_ns)
    for edge in causality.timed_pairs:
        pair = (edge.first, edge.then)
        if masks[edge.first].any() and masks[edge.then].any():
            bound_ns = (edge.within_ns + edge.within_rtts * rtt_ns).astype(np.int64)
            found = lags_ns(table, labels, masks[edge.first], masks[edge.then], bound_ns)
            if len(found):
                lags[pair] = float(np.median(found))
            elif min(masks[edge.first].sum(), masks[edge.then].sum()) >= LEAST_TO_CONTRADICT:
                contradicted.add(pair)
        elif len(changes[edge.first]) and len(changes[edge.then]):
            # Both are known to an interval only. A later onset supports the order, an earlier one does not refute it.
            lag_ns = int(table.ns[changes[edge.then][0]] - table.ns[changes[edge.first][0]])
            usual_ns = float(np.median(rtt_ns)) if len(rtt_ns) else 0.0
            if 0 <= lag_ns <= edge.bound_ns(usual_ns) + interval_ns:
                lags[pair] = float(lag_ns)
    counts = {name: int(mask.sum()) or len(changes[name]) for name, mask in masks.items()}
    return Sightings(
        counts={name: count for name, count in counts.items() if count}, lags_ns=lags,
        contradicted=frozenset(contradicted), events=int((~is_change).sum()), anomalies=int(is_change.sum()),
        incident_count=len(np.unique(labels[~is_change])), told=frozenset(told),
        incidents=described(table, np.where(is_change, -1, labels), MOST_INCIDENTS),
    )  # fmt: skip


def together(trials: Sequence[Sightings]) -> Sightings:
    """Return what several trials show: counts added up, the median of each lag; what one trial shows is possible."""
    pairs = dict.fromkeys(pair for trial in trials for pair in trial.lags_ns)
    names = dict.fromkeys(name for trial in trials for name in trial.counts)
    largest = sorted(
        (one for trial in trials for one in trial.incidents), key=lambda one: -len(one.numbers)
    )  # fmt: skip
    return Sightings(
        counts={name: sum(trial.counts.get(name, 0) for trial in trials) for name in names},
        lags_ns={pair: median(trial.lags_ns[pair] for trial in trials if pair in trial.lags_ns) for pair in pairs},
        contradicted=frozenset(pair for trial in trials for pair in trial.contradicted) - pairs.keys(),
        events=sum(trial.events for trial in trials), anomalies=sum(trial.anomalies for trial in trials),
        incident_count=sum(trial.incident_count for trial in trials), incidents=tuple(largest[:MOST_INCIDENTS]),
        told=frozenset(kind for trial in trials for kind in trial.told),
    )  # fmt: skip


def is_shown(state: State, found: Sightings) -> bool | None:
    """Whether events or series show a state; None where nothing was recorded that could."""
    if found.counts.get(state.name):
        return True
    could = (state.events and "events" in found.told) or (state.series and "series" in found.told)
    return False if could else None
