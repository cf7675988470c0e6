"""The chain of states that leads from a cause to the symptom, upstream and downstream, with the lag of each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Final

from perfcheck.diagnose.causality import Causality, Edge, State
from perfcheck.diagnose.evaluation import Reading, holds
from perfcheck.diagnose.sightings import Sightings, is_shown
from perfcheck.model.record import DiagnosisRecord
from perfcheck.model.units import plain_number

_SEEN: Final = 1.0
_TIMED: Final = 0.5
_UNMEASURED: Final = -0.25
"""What a step adds to a chain's worth: its state was seen, events or series gave its lag, or nobody looked for it."""
_NO_CHAIN: Final = frozenset({"healthy", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One state of a chain, as it is called there; `lag_ns` is the time since the step before that has a time.

    `interval_ns` is what a lag is known to: 0 by events, an interval of the series by changes of series.
    """

    state: State
    label: str
    lag_ns: float | None = None
    interval_ns: int = 0
    seen: bool = True

    @property
    def text(self) -> str:
        """The state with its lag: `cwnd cut (+5.0 ms)`, by series `late answers (within 100 ms)`, `(about +0.30 s)`."""
        if not self.seen:
            return f"{self.label} (not measured)"
        if self.lag_ns is None or self.lag_ns == self.interval_ns == 0:
            return self.label  # of 0 one event shows both states
        if not self.interval_ns:
            return f"{self.label} (+{_shown(self.lag_ns)})"
        if self.lag_ns <= self.interval_ns:
            return f"{self.label} (within {self.interval_ns / 1e6:g} ms)"
        return f"{self.label} (about +{_shown(self.lag_ns)})"


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
    start = root.name if states[root.name] else _shown_instead(root.name, down[1:], causality, states, found)
    up = _Ways(causality, {name: seen or False for name, seen in known.items()}, found, forwards=False)
    upstream = up.best(start, _first_timed(down[1:], found))
    names = [*_from_a_cause(reversed(upstream[1:]), causality), start, *down[1:]]
    return Chain(steps=tuple(_steps(names, root, causality, known, found)), cause=cause)


def _from_a_cause(names: Iterable[str], causality: Causality) -> Iterator[str]:
    """Yield the states from the first cause among them on: an effect of what nothing shows is no beginning."""
    return dropwhile(lambda name: causality.states[name].cause is None, names)


def _first_timed(names: Sequence[str], found: Sightings) -> str | None:
    return next((name for name in names if name in found.counts), None)


def _shown_instead(
    root: str, rest: Sequence[str], causality: Causality, states: Mapping[str, bool | None], found: Sightings
) -> str:  # fmt: skip
    """Return another state that leads to the rest of a chain, where events show it often enough to be what led there.

    That is as often as half of what follows; a queue that overflows once at the end of slow start is no such state.
    """
    second, timed = rest[0], _first_timed(rest, found)
    follow = max((found.counts.get(edge.then, 0) for edge in causality.after[second]), default=0)
    others = [
        edge.first for edge in causality.before[second]
        if states[edge.first] and edge.first != root and (edge.first, timed) not in found.contradicted
    ]  # fmt: skip
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
        self._timed = found.lags_ns.keys() | found.coarse_lags_ns.keys()
        self._known: dict[tuple[str, str | None], tuple[tuple[float, float], tuple[str, ...]]] = {}

    def best(self, name: str, timed: str | None = None) -> tuple[str, ...]:
        """Return the names of the best way, the state itself first; its end was seen.

        `timed` is the nearest state on the other side that has a time.
        """
        return self._rest(name, timed)[1]

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
            worth += _SEEN if self._states[other] else _UNMEASURED
            value = (reaches, worth + _TIMED * (pair in self._timed))
            if value > found[0]:
                found = (value, (name, *rest))
        self._known[name, timed] = found
        return found


def _steps(
    names: Sequence[str], root: State, causality: Causality, states: Mapping[str, bool | None], found: Sightings
) -> Sequence[Step]:  # fmt: skip
    steps: list[Step] = []
    for place, name in enumerate(names):
        lag_ns, interval_ns = _lag_of(name, names[:place], found)
        state = causality.states[name]
        # What a chain begins with, and what the diagnosis names, goes by the cause's name; the rest are effects here.
        label = (state.cause or name) if place == 0 or name == root.name else name
        steps.append(Step(state=state, label=label, lag_ns=lag_ns, interval_ns=interval_ns, seen=bool(states[name])))
    return steps


def _lag_of(name: str, before: Sequence[str], found: Sightings) -> tuple[float | None, int]:
    """Return the lag since the nearest step before that has one, and what it is known to; by events if any tells it."""
    for lags, interval_ns in ((found.lags_ns, 0), (found.coarse_lags_ns, found.interval_ns)):
        for earlier in reversed(before):
            if (earlier, name) in lags:
                return lags[earlier, name], interval_ns
    return None, 0


def _shown(ns: float) -> str:
    return f"{plain_number(ns / 1e6, 2)} ms" if ns < 1e6 else f"{ns / 1e6:.1f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


__all__ = ["Chain", "Edge", "Step", "chain_of", "states_seen", "with_chains"]
