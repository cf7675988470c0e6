"""Joins the events of all layers by flow and time into incidents; arrays throughout, so that a million take seconds.

Two events belong together where one of these holds:

- they are neighbours in time among the events of one flow, within a window of so many round trips of that flow;
- one is the drop of the bytes (TCP: sequence numbers; UDP: IP id and checksum) that the other one sends again;
- one is a host's (a wait for a CPU, a full accept queue), and the other one is that host's first flow event after it.

An incident is what hangs together so. Which events belong together depends on them alone, not on the order in which
they come, and each is in one incident.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import flow_id

Numbers = npt.NDArray[np.int64]

_US: Final = 1000
_NONE: Final = -1
_DETAIL: Final[Mapping[str, str]] = {"retransmission": "retransmission", "ca_state": "state", "anomaly": "change"}
"""What of an event's context tells kinds apart, where it is not the metric."""
_OF_METRIC: Final = frozenset({"drop", "anomaly"})
_SPAN: Final = frozenset({"cpu.runq_delay_us"})
"""Metrics whose events tell the end of what lasted so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How far apart events may be: in round trips of their flow, and the bounds of that.

    `usual_rtt_ns` is taken for flows whose round trip no event tells, `host_ns` for events of a host, `repeat_rtts` (at
    most `repeat_ns`) for the time until bytes that were dropped are sent again.
    """

    rtts: float = 2.0
    least_ns: int = 1_000_000
    most_ns: int = 1_000_000_000
    usual_rtt_ns: int = 10_000_000
    host_ns: int = 20_000_000
    repeat_rtts: float = 50.0
    repeat_ns: int = 10_000_000_000

    def scaled(self, factor: float) -> Windows:
        """Return the same windows for times that are `factor` times as long."""
        return Windows(
            rtts=self.rtts, least_ns=round(self.least_ns * factor), most_ns=round(self.most_ns * factor),
            usual_rtt_ns=round(self.usual_rtt_ns * factor), host_ns=round(self.host_ns * factor),
            repeat_rtts=self.repeat_rtts, repeat_ns=round(self.repeat_ns * factor),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EventTable:
    """Events as columns; -1 stands for no flow, no host and no bytes.

    `flow` is alike in both directions, `way` tells them apart. `begin_ns` to `ns` is the time that the event tells of.
    `what` numbers `names`: the event's kind and what tells it from others of the kind, `drop qdisc.drops_full`.
    """

    number: Numbers
    ns: Numbers
    begin_ns: Numbers
    flow: Numbers
    way: Numbers
    host: Numbers
    seq: Numbers
    length: Numbers
    rtt_ns: Numbers
    what: Numbers
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.number)

    def matching(self, matches: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
        """Return which events have a name that matches."""
        wanted = np.array([matches(name) for name in self.names] + [False])
        return wanted[self.what]

    @cached_property
    def flow_rtt_ns(self) -> Numbers:
        """The median round trip that the events of each event's flow tell; -1 where none does."""
        found = np.full(len(self), _NONE)
        told = np.flatnonzero((self.rtt_ns > 0) & (self.flow != _NONE))
        if not len(told):
            return found
        order = told[np.lexsort((self.rtt_ns[told], self.flow[told]))]
        flows, begins, counts = np.unique(self.flow[order], return_index=True, return_counts=True)
        medians = self.rtt_ns[order[begins + (counts - 1) // 2]]
        place = np.minimum(np.searchsorted(flows, self.flow), len(flows) - 1)
        known = flows[place] == self.flow
        found[known] = medians[place[known]]
        return found


def table_of(events: Iterable[Event]) -> EventTable:
    """Return alerts as columns, in the order of time; other types are left out."""
    told = [event for event in events if event.type is EventType.ALERT]
    numbers: dict[str, dict[object, int]] = {"flow": {}, "host": {}, "what": {}}

    def numbered(kind: str, values: Sequence[object]) -> Numbers:
        known = numbers[kind]
        return np.array([_NONE if one is None else known.setdefault(one, len(known)) for one in values], np.int64)

    def told_of(name: str) -> Numbers:
        return np.array([event.context.get(name, _NONE) for event in told], np.int64)

    ns = np.array([event.timestamp_ns for event in told], np.int64)
    lasted = np.array([event.value if event.metric in _SPAN else 0 for event in told], np.float64)
    flows = [event.flow for event in told]
    columns = {
        "number": np.array([event.number for event in told], np.int64),
        "ns": ns,
        "begin_ns": ns - (lasted * _US).astype(np.int64),
        "flow": numbered("flow", [None if flow is None else flow_id(flow) for flow in flows]),
        "way": np.array(
            [f is not None and (f.local, f.local_port) > (f.remote, f.remote_port) for f in flows], np.int64
        ),
        "host": numbered("host", [event.context.get("host") or None for event in told]),
        "seq": told_of("seq"),
        "length": told_of("bytes"),
        "rtt_ns": np.array([event.metrics.get("tcp.srtt_us", 0) * _US for event in told]).astype(np.int64),
        "what": numbered("what", [name_of(event) for event in told]),
    }
    order = np.lexsort((columns["number"], ns))
    return EventTable(
        **{name: column[order] for name, column in columns.items()}, names=tuple(str(name) for name in numbers["what"])
    )


def name_of(event: Event) -> str:
    """Return an alert's kind with what tells it from others of its kind: `drop qdisc.drops_full`."""
    kind = str(event.context.get("kind", event.metric))
    parts = [kind, event.metric] if kind in _OF_METRIC else [kind]
    if kind in _DETAIL:
        parts.append(str(event.context.get(_DETAIL[kind], "")))
    return " ".join(parts)


def incidents(table: EventTable, windows: Windows | None = None) -> Numbers:
    """Return the incident's number of each event, 0 being that of the first event."""
    windows = Windows() if windows is None else windows
    if not len(table):
        return np.zeros(0, np.int64)
    pairs = [_neighbours(table, windows), _sent_again(table, windows), _after_hosts(table, windows)]
    one, other = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    size = len(table)
    # A fifth of a second to load, and no run without events needs it.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    found: Numbers = np.argsort(np.argsort(first))[number].astype(np.int64)
    return found


Pairs = tuple[Numbers, Numbers]


def _neighbours(table: EventTable, windows: Windows) -> Pairs:
    """Return the neighbours in time of one flow, or among a host's own events, that are near enough."""
    own = np.where(table.flow == _NONE, -2 - table.host, table.flow)
    order = np.lexsort((table.number, table.ns, own))
    rtt_ns = np.where(table.flow_rtt_ns > 0, table.flow_rtt_ns, windows.usual_rtt_ns)
    of_flow = np.clip(rtt_ns * windows.rtts, windows.least_ns, windows.most_ns)
    window = np.where(table.flow == _NONE, windows.host_ns, of_flow)
    earlier, later = order[:-1], order[1:]
    near = (own[earlier] == own[later]) & (own[later] != -2 - _NONE)
    near &= table.begin_ns[later] - table.ns[earlier] <= window[later]
    return earlier[near], later[near]


def _sent_again(table: EventTable, windows: Windows) -> Pairs:
    """Return events of the same bytes of a flow, the earlier ones being drops."""
    with_bytes = (table.flow != _NONE) & (table.seq != _NONE)
    drops = np.flatnonzero(with_bytes & table.matching(lambda name: name.startswith("drop ")))
    others = np.flatnonzero(with_bytes & table.matching(lambda name: not name.startswith("drop ")))
    if not len(drops) or not len(others):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    key = ((table.flow * 2 + table.way) << 32) + table.seq
    # Of drops of the same first byte the latest one before is meant: time is in the key's order, too.
    both = np.concatenate((drops, others))
    is_drop = np.zeros(len(both), np.bool_)
    is_drop[: len(drops)] = True
    order = np.lexsort((~is_drop, table.number[both], table.ns[both], key[both]))
    latest = np.maximum.accumulate(np.where(is_drop[order], np.arange(len(order)), _NONE))
    place = np.flatnonzero(~is_drop[order] & (latest >= 0))
    later, earlier = both[order[place]], both[order[latest[place]]]
    offset = key[later] - key[earlier]
    lasted = table.ns[later] - table.ns[earlier]
    rtt_ns = np.where(table.flow_rtt_ns[later] > 0, table.flow_rtt_ns[later], windows.usual_rtt_ns)
    window = np.minimum(rtt_ns * windows.repeat_rtts, windows.repeat_ns)
    same = (offset < np.maximum(table.length[earlier], 1)) & (lasted >= 0) & (lasted <= window)
    same &= (table.flow[earlier] == table.flow[later]) & (table.way[earlier] == table.way[later])
    return earlier[same], later[same]


def _after_hosts(table: EventTable, windows: Windows) -> Pairs:
    """Return each host's own event with the first event of a flow on the host that begins with it or soon after."""
    own = np.flatnonzero((table.flow == _NONE) & (table.host != _NONE))
    flows = np.flatnonzero((table.flow != _NONE) & (table.host != _NONE))
    if not len(own) or not len(flows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    flows = flows[np.lexsort((flows, table.host[flows]))]
    # Rows are in the order of time: their places stand for moments, and leave room for the host above them.
    stride = len(table) + 1
    begins = np.searchsorted(table.ns, table.begin_ns[own])
    place = np.searchsorted(table.host[flows] * stride + flows, table.host[own] * stride + begins)
    there = place < len(flows)
    own, first = own[there], flows[place[there]]
    near = (table.host[first] == table.host[own]) & (table.ns[first] - table.ns[own] <= windows.host_ns)
    return own[near], first[near]


def lags_ns(
    table: EventTable, labels: Numbers, first: npt.NDArray[np.bool_], then: npt.NDArray[np.bool_], most_ns: Numbers
) -> Numbers:  # fmt: skip
    """Return how long after the latest event of `first` in the same incident each event of `then` came.

    What lasted, such as a wait for a CPU, counts from its begin: its effects come before it ends. Only what came within
    `most_ns`, which has a bound for each event, is returned.
    """
    causes, effects = np.flatnonzero(first), np.flatnonzero(then)
    if not len(causes) or not len(effects):
        return np.zeros(0, np.int64)
    # Rows are in the order of time: the place of a begin among them stands for its moment.
    places = np.where(table.begin_ns == table.ns, np.arange(len(table)), np.searchsorted(table.ns, table.begin_ns))
    stride = len(table) + 1
    moments = labels[causes] * stride + places[causes]
    order = np.argsort(moments, kind="stable")
    place = np.searchsorted(moments[order], labels[effects] * stride + places[effects], side="right") - 1
    there = place >= 0
    effects, causes = effects[there], causes[order[place[there]]]
    lasted = table.begin_ns[effects] - table.begin_ns[causes]
    found: Numbers = lasted[(labels[effects] == labels[causes]) & (lasted >= 0) & (lasted <= most_ns[effects])]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What hangs together: when it began and ended, the numbers of its events, and what came first of each name."""

    begin_ns: int
    end_ns: int
    numbers: tuple[int, ...]
    steps: tuple[tuple[str, int], ...]
    """Name, and ns after the begin, in the order of time."""

    @property
    def text(self) -> str:
        """One sentence: `drop qdisc.drops_full: ca_state Recovery after 5.0 ms, retransmission fast after 5.1 ms`."""
        (name, _), *later = self.steps
        said = ", ".join(f"{what} after {lag_ns / 1e6:.1f} ms" for what, lag_ns in later)
        return f"{name}: {said}" if said else name


def described(table: EventTable, labels: Numbers, most: int) -> tuple[Incident, ...]:
    """Return the incidents with the most events, at most `most`, in the order of time; none for labels below 0."""
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    largest = numbers[np.argsort(-counts, kind="stable")[:most]]
    return tuple(_incident(table, np.flatnonzero(labels == number)) for number in np.sort(largest))


def _incident(table: EventTable, members: npt.NDArray[Any]) -> Incident:
    begin_ns = int(table.ns[members[0]])
    names, first = np.unique(table.what[members], return_index=True)
    steps = sorted((int(place), table.names[name]) for name, place in zip(names, first, strict=True))
    return Incident(
        begin_ns=begin_ns, end_ns=int(table.ns[members[-1]]), numbers=tuple(table.number[members].tolist()),
        steps=tuple((name, int(table.ns[members[place]]) - begin_ns) for place, name in steps),
    )  # fmt: skip
