"""What a baseline store passes to the comparison: earlier sessions of one scenario, and how similar they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSession:
    """One run record as a baseline keeps it: every metric's value of each valid trial, in order."""

    run_id: str
    started_at: str
    runs: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedChange:
    """A change that is known: of `metric` only sessions from `since` (a run_id) on count."""

    metric: str
    since: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One baseline file: a scenario (one matrix point) on one environment, in several sessions, oldest first.

    `environment` is the fingerprint as a flat map of texts, `conditions` the scenario's link and
    host settings at the time of the last save. `predates` are the kinds of figures (`subjects`, `phases`) that a
    record which stands for a baseline is older than; a file does not tell.
    """

    file: str
    scenario: str
    point: Mapping[str, str]
    workload: str
    environment: Mapping[str, str]
    conditions: Mapping[str, str]
    sessions: tuple[BaselineSession, ...]
    accepted: tuple[AcceptedChange, ...] = ()
    predates: tuple[str, ...] = ()

    def sessions_of(self, metric: str) -> tuple[tuple[float, ...], ...]:
        """Return the values of one metric, a tuple for each session that has any and still counts."""
        start = 0
        known = [session.run_id for session in self.sessions]
        for change in self.accepted:
            if change.metric == metric and change.since in known:
                start = max(start, known.index(change.since))
        return tuple(values for session in self.sessions[start:] if (values := session.runs.get(metric)))

    def metrics(self) -> frozenset[str]:
        """Names of all metrics that any session has."""
        return frozenset(name for session in self.sessions for name in session.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that differs between a baseline and a run; None: the field is missing there."""

    field: str
    baseline: str | None
    current: str | None

    def __str__(self) -> str:
        """Return `links[0].loss: 0.1% -> 1%`."""
        return f"{self.field}: {_shown(self.baseline)} -> {_shown(self.current)}"


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value


def differences(baseline: Mapping[str, str], current: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return the fields in which two flat maps differ, sorted by name."""
    return tuple(
        Difference(field=name, baseline=baseline.get(name), current=current.get(name))
        for name in sorted(baseline.keys() | current.keys())
        if baseline.get(name) != current.get(name)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineLookup:
    """What a store found for a run.

    `like` was measured on a like machine (its software may differ), `other` on another machine
    through the same kind of emulator; at most one is given. `environment` holds the fields in
    which the one that was found differs from the run's. `missing` says why there is none.
    """

    like: Baseline | None = None
    other: Baseline | None = None
    environment: tuple[Difference, ...] = ()
    missing: str = ""

    @property
    def found(self) -> Baseline | None:
        """Whichever there is."""
        return self.like or self.other
