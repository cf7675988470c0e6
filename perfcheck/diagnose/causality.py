"""What can cause what: states that a run may show, what shows each, and which leads to which within what time.

The graph is data (`rules/causality.yaml`). This module has its form, and what is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from perfcheck.diagnose.condition import Condition
from perfcheck.model.causes import CAUSES

_NS: Final[Mapping[str, float]] = {"us": 1e3, "ms": 1e6, "s": 1e9}
_WITHIN: Final = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?)(?P<unit>us|ms|s|rtt)")
_CHANGE: Final = re.compile(r"(?P<metric>[a-z0-9_.]+) (?P<change>up|down)")

StateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 ]{0,40}$")]
Text = Annotated[str, Field(min_length=1, max_length=400)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class EdgeForm(_Form):
    """One entry of `leads_to`."""

    state: StateName
    within: str

    @field_validator("within")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        if _WITHIN.fullmatch(value) is None:
            raise ValueError(f"expected a duration such as 20ms, or round trips such as 2rtt, got {value!r}")
        return value


class StateForm(_Form):
    """One entry of `states`; one without `when`, `events` and `series` is shown by its cause alone."""

    name: StateName
    meaning: Text
    cause: str | None = None
    when: str | None = None
    events: tuple[Annotated[str, Field(min_length=1, max_length=80)], ...] = ()
    series: tuple[str, ...] = ()
    leads_to: tuple[EdgeForm, ...] = ()
    symptom: bool = False
    fix: Text | None = None

    @field_validator("cause")
    @classmethod
    def _known_cause(cls, value: str | None) -> str | None:
        if value is not None and value not in CAUSES:
            raise ValueError(f"{value!r} is not a cause")
        return value

    @field_validator("series")
    @classmethod
    def _are_changes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if _CHANGE.fullmatch(each) is None:
                raise ValueError(f"expected a metric and `up` or `down`, got {each!r}")
        return value


class CausalityForm(_Form):
    """The file `causality.yaml`."""

    schema_version: Literal[1] = Field(alias="schema")
    states: tuple[StateForm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One state leads to another within `within_ns` and `within_rtts` round trips of the flow, one of which is 0."""

    first: str
    then: str
    within_ns: int = 0
    within_rtts: float = 0.0

    def bound_ns(self, rtt_ns: float) -> float:
        """Return the longest plausible lag for flows of this round trip."""
        return self.within_ns + self.within_rtts * rtt_ns


def edge_of(first: str, form: EdgeForm) -> Edge:
    """Return the edge that a state's entry of `leads_to` tells."""
    found = _WITHIN.fullmatch(form.within)
    assert found is not None  # noqa: S101 - the form has checked it
    number = float(found["number"])
    if found["unit"] == "rtt":
        return Edge(first=first, then=form.state, within_rtts=number)
    return Edge(first=first, then=form.state, within_ns=round(number * _NS[found["unit"]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Something that a run may show: by a condition over metrics, by events, or by changes of series."""

    name: str
    meaning: str
    cause: str | None = None
    condition: Condition | None = None
    events: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    symptom: bool = False
    fix: str | None = None

    def is_told_by(self, event: str) -> bool:
        """Whether an event or a change of a series of this name shows the state."""
        if any(fnmatchcase(event, pattern) for pattern in self.events):
            return True
        return any(event == f"anomaly {change}" for change in self.series)


@dataclass(frozen=True, kw_only=True)
class Causality:
    """The graph: states by name, in an order in which causes come before effects, and its edges."""

    states: Mapping[str, State] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()

    @cached_property
    def after(self) -> Mapping[str, tuple[Edge, ...]]:
        """The edges from each state."""
        return {name: tuple(edge for edge in self.edges if edge.first == name) for name in self.states}

    @cached_property
    def before(self) -> Mapping[str, tuple[Edge, ...]]:
        """The edges to each state."""
        return {name: tuple(edge for edge in self.edges if edge.then == name) for name in self.states}

    def state_of(self, cause: str) -> State | None:
        """Return the state that a cause is."""
        return next((state for state in self.states.values() if state.cause == cause), None)

    @cached_property
    def timed_pairs(self) -> tuple[Edge, ...]:
        """Every state that events or series show, and each such that it leads to, over others in between."""
        return tuple(edge for state in self.states.values() if _timed(state) for edge in self._reached(state.name))

    def _reached(self, name: str) -> Iterator[Edge]:
        found: dict[str, Edge] = {}
        waiting = [Edge(first=name, then=edge.then, within_ns=edge.within_ns, within_rtts=edge.within_rtts)
                   for edge in self.after[name]]  # fmt: skip
        while waiting:
            one = waiting.pop()
            known = found.get(one.then)
            if known is not None and known.within_ns >= one.within_ns and known.within_rtts >= one.within_rtts:
                continue
            found[one.then] = Edge(
                first=name, then=one.then, within_ns=max(one.within_ns, known.within_ns if known else 0),
                within_rtts=max(one.within_rtts, known.within_rtts if known else 0.0),
            )  # fmt: skip
            waiting += [
                Edge(
                    first=name, then=edge.then, within_ns=found[one.then].within_ns + edge.within_ns,
                    within_rtts=found[one.then].within_rtts + edge.within_rtts,
                )
                for edge in self.after[one.then]
            ]  # fmt: skip
        return (edge for edge in found.values() if _timed(self.states[edge.then]))


def _timed(state: State) -> bool:
    return bool(state.events or state.series)


def in_order(states: Mapping[str, State], edges: tuple[Edge, ...]) -> tuple[str, ...]:
    """Return the states' names, causes before effects; those on a circle, and behind one, are left out."""
    open_edges = {name: {edge.first for edge in edges if edge.then == name} for name in states}
    found: list[str] = []
    while ready := [name for name, before in open_edges.items() if not before]:
        found += ready
        open_edges = {name: before - set(ready) for name, before in open_edges.items() if before}
    return tuple(found)
