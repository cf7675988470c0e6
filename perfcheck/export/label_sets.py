"""Connections by the labels that were asked for: a bounded number of label sets, and one that sums up all others.

A byte is counted in one series, in the interval in which it was carried, so that rates and increases add up to those
of all connections. A label set keeps its series while it has connections and for some minutes after; where there are
more sets than allowed, a much larger one takes the place of a small one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.export.family import Family
from perfcheck.export.own_families import (
    CONNECTION_LABELS,
    FLOW_ACKED,
    FLOW_BOTTLENECK,
    FLOW_CONNECTIONS,
    FLOW_CWND,
    FLOW_RECEIVED,
    FLOW_RETRANS,
    FLOW_RTT,
    OTHER,
)
from perfcheck.export.snapshot import Labels, Series, labels_of
from perfcheck.live.bottleneck import NAMES
from perfcheck.live.connections import bytes_of, largest
from perfcheck.live.grouping import UNKNOWN, percentiles, process_label, rtt_of
from perfcheck.model.flow_table import FlowTable, address_of

KINDS: Final = ("process", "app", "cgroup", "connection")
"""What `--labels` takes."""
DEFAULT_MOST: Final = 1000
GONE_NS: Final = 300 * 1_000_000_000
"""How long a label set without connections keeps its series: its last bytes are to be scraped."""
REPLACES: Final = 2.0
"""So many times the bytes of the smallest set in an interval take its place: series are not to come and go."""
_COLUMNS: Final = {
    "process": ("pid", "comm"), "app": ("comm",), "cgroup": ("cgroup",),
    "connection": ("family", "local", "local_port", "remote", "remote_port"),
}  # fmt: skip
_COUNTED: Final = ((FLOW_ACKED, "bytes_acked"), (FLOW_RECEIVED, "bytes_received"), (FLOW_RETRANS, "retrans_segs"))
_MEDIAN: Final = 0
Array = npt.NDArray[Any]


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A label set that has series of its own; `counts` are since then, `identities` whose connections it counts."""

    counts: tuple[int, ...]
    seen_ns: int
    identities: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What a label set's connections are in the last interval."""

    labels: Labels
    connections: int
    rtt_us: float
    cwnd_segs: float
    bottlenecks: tuple[tuple[str, int], ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRows:
    """How label sets stood at one moment; `counts` are since each has its series."""

    counts: tuple[tuple[Labels, tuple[int, ...]], ...]
    now: tuple[Now, ...]

    def series(self) -> Iterator[Series]:
        """Yield the families of label sets."""
        for place, (family, _) in enumerate(_COUNTED):
            yield Series(family=family, values=tuple((labels, float(each[place])) for labels, each in self.counts))
        yield Series(family=FLOW_CONNECTIONS, values=tuple((one.labels, float(one.connections)) for one in self.now))
        yield _known(FLOW_RTT, ((one.labels, one.rtt_us * 1e-6) for one in self.now))
        yield _known(FLOW_CWND, ((one.labels, one.cwnd_segs) for one in self.now))
        yield Series(family=FLOW_BOTTLENECK, values=tuple(
            ((*one.labels, ("bottleneck", name)), float(number)) for one in self.now for name, number in one.bottlenecks
        ))  # fmt: skip


def _known(family: Family, values: Iterable[tuple[Labels, float]]) -> Series:
    return Series(family=family, values=tuple(one for one in values if not math.isnan(one[1])))


class LabelSets:
    """Counts of each label set since it has series, and its figures of the last interval."""

    def __init__(
        self, kinds: Sequence[str], most: int, *, cgroup_name: Callable[[int], str], several: bool = False
    ) -> None:  # fmt: skip
        """Take the kinds of labels, of how many sets there may be series, and whether namespaces are told apart."""
        self._kinds = tuple(kind for kind in KINDS if kind in kinds)
        self._most = most
        self._cgroup_name = cgroup_name
        self._several = several
        self._columns = tuple(dict.fromkeys(
            (*(["netns"] if several else []), *(name for kind in self._kinds for name in _COLUMNS[kind]))
        ))  # fmt: skip
        self._kept: dict[Labels, _Kept] = {}
        self._known: dict[bytes, Labels] = {}
        self._other: tuple[int, ...] = (0,) * len(_COUNTED)
        self.left_out = 0
        self.now: tuple[Now, ...] = ()

    def add(self, flows: FlowTable, limits: Array, end_ns: int) -> None:
        """Add the connections of an interval that ends now; `limits` are their bottlenecks, as places in `NAMES`."""
        numbers: dict[bytes, int] = {}
        index = np.array([numbers.setdefault(one, len(numbers)) for one in self._identities(flows)], np.intp)
        first = np.zeros(len(numbers), np.intp)
        first[index[::-1]] = np.arange(len(index))[::-1]
        carried = np.bincount(index, bytes_of(flows), minlength=len(numbers))
        names = list(numbers)
        self._forget(end_ns)
        self._admit(flows, names, first, carried, end_ns)
        own: dict[Labels, int] = {}
        slots = np.full(len(names), -1, np.intp)
        for place, labels in enumerate(map(self._known.get, names)):
            if labels is not None:
                slots[place] = own.setdefault(labels, len(own))
        self.left_out = int((slots < 0).sum())
        slots[slots < 0] = len(own)
        self._count(flows, limits, list(own), slots[index], end_ns)

    def rows(self) -> LabelRows:
        """Return how the label sets stand now."""
        kept = (*((labels, one.counts) for labels, one in self._kept.items()), (self.other, self._other))
        return LabelRows(counts=kept, now=self.now)

    @property
    def other(self) -> Labels:
        """The labels of the series that sums up what has none of its own."""
        names = (*(["netns"] if self._several else []), *(
            name for kind in self._kinds for name in (CONNECTION_LABELS if kind == "connection" else (kind,))
        ))  # fmt: skip
        return tuple((name, OTHER) for name in names)

    def _identities(self, flows: FlowTable) -> list[bytes]:
        """Return for each row the bytes that differ where its labels do."""
        made = np.zeros(len(flows), np.dtype([(name, flows[name].dtype) for name in self._columns]))
        for name in self._columns:
            made[name] = flows[name]
        found: list[bytes] = made.view(f"V{made.dtype.itemsize}").tolist()
        return found

    def _forget(self, now_ns: int) -> None:
        for labels in [labels for labels, one in self._kept.items() if now_ns - one.seen_ns > GONE_NS]:
            self._drop(labels)

    def _drop(self, labels: Labels) -> None:
        for identity in self._kept.pop(labels).identities:
            del self._known[identity]

    def _admit(self, flows: FlowTable, names: list[bytes], first: Array, carried: Array, end_ns: int) -> None:
        """Give label sets series of their own, the largest first, as long as there is room or they are far larger."""
        fresh = np.array([place for place, name in enumerate(names) if name not in self._known], np.intp)
        rivals = self._rivals(names, carried) if len(fresh) > self._most - len(self._kept) else []
        for place in fresh[largest(carried[fresh], self._most)].tolist():
            labels = self._labels(flows, int(first[place]))
            if labels not in self._kept:
                if len(self._kept) >= self._most:
                    if not rivals or (rivals[-1][0] and carried[place] <= REPLACES * rivals[-1][1]):
                        return
                    self._drop(rivals.pop()[2])
                self._kept[labels] = _Kept(counts=(0,) * len(_COUNTED), seen_ns=end_ns)
            # Names of processes that look alike have one label set.
            self._kept[labels].identities.add(names[place])
            self._known[names[place]] = labels

    def _rivals(self, names: list[bytes], carried: Array) -> list[tuple[bool, float, Labels]]:
        """Return who makes room, the first last: the longest gone, then those that carried least in the interval."""
        there: dict[Labels, float] = {}
        for name, bytes_ in zip(names, carried.tolist(), strict=True):
            labels = self._known.get(name)
            if labels is not None:
                there[labels] = there.get(labels, 0.0) + bytes_
        return sorted(
            ((labels in there, there.get(labels, float(one.seen_ns)), labels) for labels, one in self._kept.items()),
            key=lambda one: one[:2], reverse=True,
        )  # fmt: skip

    def _count(self, flows: FlowTable, limits: Array, own: list[Labels], slots: Array, end_ns: int) -> None:
        number = len(own) + 1
        sums = [np.zeros(number, np.uint64) for _ in _COUNTED]
        for column, (_, name) in zip(sums, _COUNTED, strict=True):
            np.add.at(column, slots, flows[name])
        counts: list[tuple[int, ...]] = list(zip(*(column.tolist() for column in sums), strict=True))
        for labels, more in zip(own, counts, strict=False):
            one = self._kept[labels]
            one.seen_ns, one.counts = end_ns, tuple(map(add, one.counts, more))
        self._other = tuple(map(add, self._other, counts[-1]))
        connections = np.bincount(slots, minlength=number)
        rtt = percentiles(rtt_of(flows), slots, number)[:, _MEDIAN]
        cwnd = percentiles(flows["cwnd_segs"], slots, number)[:, _MEDIAN]
        self.now = tuple(
            Now(labels=labels, connections=each, rtt_us=rtt_us, cwnd_segs=segs, bottlenecks=tuple(names), counts=more)
            for labels, each, rtt_us, segs, names, more in zip(
                (*own, self.other), connections.tolist(), rtt.tolist(), cwnd.tolist(),
                _by_bottleneck(limits, slots, number), counts, strict=True,
            )
        )  # fmt: skip

    def _labels(self, flows: FlowTable, row: int) -> Labels:
        found: dict[str, str] = {}
        if self._several:
            netns = int(flows["netns"][row])
            found["netns"] = flows.hosts.get(netns, f"netns:{netns}")
        comm = flows.text("comm", row)
        for kind in self._kinds:
            if kind == "process":
                found[kind] = process_label(comm, int(flows["pid"][row]))
            elif kind == "app":
                # A process may have the name that stands for the rest.
                found[kind] = f"{comm} (its name)" if comm == OTHER else comm or UNKNOWN
            elif kind == "cgroup":
                found[kind] = self._cgroup_name(int(flows["cgroup"][row]))
        return (*labels_of(found), *(self._ends(flows, row) if "connection" in self._kinds else ()))

    @staticmethod
    def _ends(flows: FlowTable, row: int) -> Labels:
        family = int(flows["family"][row])
        ends = [
            text for end in ("local", "remote")
            for text in (address_of(family, bytes(flows[end][row])), str(int(flows[f"{end}_port"][row])))
        ]  # fmt: skip
        return tuple(zip(CONNECTION_LABELS, ends, strict=True))


def _by_bottleneck(limits: Array, slots: Array, number: int) -> list[list[tuple[str, int]]]:
    """Return for each slot the names of bottlenecks with how many connections have each, without those of none."""
    counted = np.bincount(slots * len(NAMES) + limits, minlength=number * len(NAMES)).reshape(number, len(NAMES))
    found: list[list[tuple[str, int]]] = [[] for _ in range(number)]
    for slot, place in zip(*(each.tolist() for each in counted.nonzero()), strict=True):
        found[slot].append((NAMES[place], int(counted[slot, place])))
    return found
