"""The chain of states that leads from a cause to the symptom, upstream and downstream, with the lag of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.diagnose.causality import Causality, Edge, State
from perfcheck.diagnose.evaluation import Reading, holds
from perfcheck.diagnose.sightings import Sightings, is_shown
from perfcheck.model.record import DiagnosisRecord

_SEEN: Final = 1.0
_TIMED: Final = 0.5
"""What a step adds to a chain's worth: its state was seen, and events or series gave its lag."""
_NO_CHAIN: Final = frozenset({"healthy", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One state of a chain, as it is called there; `lag_ns` is the time since the step before that has a time."""

    state: State
    label: str
    lag_ns: float | None = None
    seen: bool = True

    @property
    def text(self) -> str:
        """The state with its lag: `cwnd cut (+5.0 ms)`."""
        if not self.seen:
            return f"{self.label} (not measured)"
        return self.label if self.lag_ns is None else f"{self.label} (+{_shown(self.lag_ns)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Steps from the most upstream state that was seen to the symptom, through the cause that was named."""

    steps: tuple[Step, ...]
    cause: str

    @property
    def first(self) -> State:
        """The state to fix first: nothing that was seen leads to it."""
        return self.steps[0].state


def with_chains(
    diagnosis: Sequence[DiagnosisRecord], causality: Causality, reading: Reading, found: Sightings,
    former: Sequence[DiagnosisRecord] = (),
) -> tuple[DiagnosisRecord, ...]:  # fmt: skip
    """Return the causes with their chains; a cause of which nothing downstream was seen keeps the chain it has.

    `former` is an earlier diagnosis of the same run, made when its events and series were at hand: a cause that both
    name keeps the chain that they showed.
    """
    states = states_seen(causality, reading, found)
    shown = {each.cause: each for each in former if each.chain_rests_on not in ("", Sightings().basis)}
    return tuple(
        _with_chain_of(each, shown[each.cause]) if each.cause in shown else _with_chain(each, causality, states, found)
        for each in diagnosis
    )


def _with_chain_of(cause: DiagnosisRecord, other: DiagnosisRecord) -> DiagnosisRecord:
    update = {"chain": other.chain, "fix_first": other.fix_first, "chain_rests_on": other.chain_rests_on}
    return cause.model_copy(update=update)


def _with_chain(
    cause: DiagnosisRecord, causality: Causality, states: Mapping[str, bool | None], found: Sightings
) -> DiagnosisRecord:  # fmt: skip
    chain = None if cause.cause in _NO_CHAIN else chain_of(cause.cause, causality, states, found)
    if chain is None:
        return cause
    first = chain.first
    fix = "" if first.cause == cause.cause or first.fix is None else f"{first.cause or first.name}: {first.fix}"
    if all(step.label != cause.cause for step in chain.steps):
        fix = f"{first.cause or first.name}: events show it, and nothing that was recorded shows {cause.cause} itself"
    return cause.model_copy(
        update={"chain": tuple(step.text for step in chain.steps), "fix_first": fix, "chain_rests_on": found.basis}
    )


def states_seen(causality: Causality, reading: Reading, found: Sightings) -> dict[str, bool | None]:
    """Return of each state whether a run shows it; None where neither metrics nor events nor series can tell.

    Figures over the whole run come first: one event among ten thousand packets is not yet a state.
    """
    seen: dict[str, bool | None] = {}
    for name, state in causality.states.items():
        by_metrics = None if state.condition is None else holds(state.condition, reading)
        seen[name] = is_shown(state, found) if by_metrics is None else by_metrics
    return seen


def chain_of(
    cause: str, causality: Causality, states: Mapping[str, bool | None], found: Sightings
) -> Chain | None:  # fmt: skip
    """Return the chain of a cause, None where nothing that it leads to was seen.

    Of several ways the one of the most states that were seen and timed is taken. A state that could not be measured may
    stand between two that were seen. A step that the events contradict is none.
    """
    root = causality.state_of(cause)
    if root is None:
        return None
    # What the diagnosis names counts as seen: it rests on more than this state's condition.
    known = {**states, root.name: True}
    down = _Ways(causality, known, found, forwards=True).best(root.name)
    if len(down) < 2:
        return None
    start = root.name if states[root.name] else _shown_instead(root.name, down[1], causality, states, found)
    up = _Ways(causality, {name: seen or False for name, seen in known.items()}, found, forwards=False).best(start)
    names = [*reversed(up[1:]), start, *down[1:]]
    return Chain(steps=tuple(_steps(names, root, causality, known, found)), cause=cause)


def _shown_instead(
    root: str, second: str, causality: Causality, states: Mapping[str, bool | None], found: Sightings
) -> str:  # fmt: skip
    """Return another state that leads to the second one, where events show it often enough to be what led there.

    That is as often as half of what follows; a queue that overflows once at the end of slow start is no such state.
    """
    follow = max((found.counts.get(edge.then, 0) for edge in causality.after[second]), default=0)
    others = [edge.first for edge in causality.before[second] if states[edge.first] and edge.first != root]
    enough = [name for name in others if 0 < follow <= 2 * found.counts.get(name, 0)]
    return max(enough, key=lambda name: found.counts[name], default=root)


class _Ways:
    """Finds the best way from a state; the graph has no circle, so the best rest from each state is found once."""

    def __init__(
        self, causality: Causality, states: Mapping[str, bool | None], found: Sightings, *, forwards: bool
    ) -> None:  # fmt: skip
        self._edges = causality.after if forwards else causality.before
        self._causality = causality
        self._states = states
        self._found = found
        self._forwards = forwards
        self._known: dict[tuple[str, str | None], tuple[tuple[float, float], tuple[str, ...]]] = {}

    def best(self, name: str) -> tuple[str, ...]:
        """Return the names of the best way, the state itself first; its end was seen."""
        return self._rest(name, None)[1]

    def _rest(self, name: str, timed: str | None) -> tuple[tuple[float, float], tuple[str, ...]]:
        """Return a way's worth (whether it reaches a symptom, then its states and lags), and its names.

        `timed` is the latest state on the way here that has a time, with which the next one's is compared.
        """
        if (name, timed) in self._known:
            return self._known[name, timed]
        last = name if name in self._found.counts else timed
        ends = self._forwards and self._causality.states[name].symptom
        found: tuple[tuple[float, float], tuple[str, ...]] = ((float(ends), 0.0), (name,))
        for edge in self._edges[name]:
            other = edge.then if self._forwards else edge.first
            pair = (last or name, other) if self._forwards else (other, last or name)
            if self._states[other] is False or pair in self._found.contradicted:
                continue
            (reaches, worth), rest = self._rest(other, last)
            if not self._states[other] and len(rest) < 2:
                continue
            value = (reaches, worth + _SEEN * bool(self._states[other]) + _TIMED * (pair in self._found.lags_ns))
            if value > found[0]:
                found = (value, (name, *rest))
        self._known[name, timed] = found
        return found


def _steps(
    names: Sequence[str], root: State, causality: Causality, states: Mapping[str, bool | None], found: Sightings
) -> Sequence[Step]:  # fmt: skip
    steps: list[Step] = []
    for place, name in enumerate(names):
        lags = (found.lags_ns.get((before, name)) for before in reversed(names[:place]))
        lag_ns = next((lag for lag in lags if lag is not None), None)
        state = causality.states[name]
        # What a chain begins with, and what the diagnosis names, goes by the cause's name; the rest are effects here.
        label = (state.cause or name) if place == 0 or name == root.name else name
        steps.append(Step(state=state, label=label, lag_ns=lag_ns, seen=bool(states[name])))
    return steps


def _shown(ns: float) -> str:
    return f"{ns / 1e6:.2g} ms" if ns < 1e6 else f"{ns / 1e6:.1f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


__all__ = ["Chain", "Edge", "Step", "chain_of", "states_seen", "with_chains"]
