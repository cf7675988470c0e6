"""What was behind each retransmission: a drop and where, a full send queue, a process that waited for a CPU; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

import numpy as np

from perfcheck.live.drops import place_of
from perfcheck.model.event import Event, EventKind, EventType
from perfcheck.model.flow import FlowKey
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.model.units import plain_number, readable_pct

BEFORE_NS: Final = 200_000_000
"""How long before a retransmission a wait for a CPU, or a drop of the flow, has to do with it, at least."""
AFTER_NS: Final = 50_000_000
"""How long after it a wait for a CPU may begin; retransmissions wait for the next interval where it is not over yet."""
ROUND_TRIPS: Final = 50
"""A drop of the very bytes counts for so many round trips (docs/events.md), and for the seconds that follow."""
SEGMENT_NS: Final = 4_000_000_000
MOST_KEPT: Final = 8192
"""Flows and processes whose events are remembered; the oldest are forgotten first."""
_SEQUENCE: Final = 1 << 32
_FULL: Final = 0.95
"""Of the send buffer's size: the kernel lets a writer wait before the last byte is used."""

K = TypeVar("K")
V = TypeVar("V")
_Ends = tuple[str, str, int, str, int]


class Behind(StrEnum):
    """What is most likely behind a retransmission, the strongest first."""

    SEGMENT_DROPPED = "segment_dropped"
    FLOW_DROPPED = "flow_dropped"
    RECEIVE_QUEUE_FULL = "receive_queue_full"
    OFF_CPU_BEFORE = "off_cpu_before"
    OFF_CPU_AFTER = "off_cpu_after"
    SEND_QUEUE_FULL = "send_queue_full"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retransmission:
    """One retransmission, and what was found about it.

    `event` is its event, `segments` how many it sent again, `kind` fast, rto, tlp, syn or synack. `drop` is a drop of
    the flow, `same_segment` whether of the bytes that were sent again; `place` and `host` say where. `send_queue_full`
    is None where the flow is not in the table. `off_cpu_before_us` and `off_cpu_after_us` are the longest wait of the
    flow's process for a CPU (0: none was seen). `drops_kept_pct` is the share of drop events that was kept.
    """

    event: Event
    segments: int
    kind: str
    behind: Behind
    drop: Event | None = None
    same_segment: bool = False
    place: str = ""
    host: str = ""
    send_queue_full: bool | None = None
    receive_queue_full: bool = False
    off_cpu_before_us: float = 0.0
    off_cpu_after_us: float = 0.0
    pid: int = 0
    comm: str = ""
    drops_kept_pct: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What the table says of a retransmission's flow."""

    pid: int
    comm: str
    send_queue_full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A retransmission of which the time after it is not over."""

    event: Event
    row: _Row | None
    drops_kept_pct: float


@dataclass(slots=True)
class _Flow:
    """The latest drops and full receive queues of a flow, both directions."""

    drops: deque[Event] = field(default_factory=lambda: deque(maxlen=256))
    full: deque[Event] = field(default_factory=lambda: deque(maxlen=64))


class RetransmissionJoin:
    """Joins the events of one interval after the other; what it remembers is bounded."""

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._flows: dict[tuple[_Ends, ...], _Flow] = {}
        self._waits: dict[str | int | float, deque[Event]] = {}
        self._waiting: list[_Waiting] = []

    @property
    def waiting(self) -> int:
        """How many segments of retransmissions wait for the next interval."""
        return sum(_segments(one.event) for one in self._waiting)

    def explain(self, interval: Interval) -> tuple[Retransmission, ...]:
        """Return the retransmissions whose time is over: most of this interval's, the rest of the one before."""
        kept = shares_kept(interval.events).get(EventKind.DROP.label, 100.0)
        rows = _Rows(interval.flows)
        for event in interval.events:
            if event.type is not EventType.ALERT:
                continue
            self._remember(event)
            if event.context.get("kind") == EventKind.RETRANSMISSION.label and event.flow is not None:
                self._waiting.append(_Waiting(event=event, row=rows.of(event.flow), drops_kept_pct=kept))
        self._forget(interval.begin_ns)
        return self._due(lambda one: one.event.timestamp_ns + AFTER_NS <= interval.end_ns)

    def finish(self) -> tuple[Retransmission, ...]:
        """Return those that wait for an interval that does not come."""
        return self._due(lambda _: True)

    def _due(self, due: Callable[[_Waiting], bool]) -> tuple[Retransmission, ...]:
        over = [one for one in self._waiting if due(one)]
        self._waiting = [one for one in self._waiting if not due(one)]
        return tuple(self._explained(one) for one in over)

    def _remember(self, event: Event) -> None:
        kind = event.context.get("kind")
        if kind == EventKind.CPU_WAIT.label:
            for name in (event.context.get("pid", 0), event.context.get("comm", "")):
                _bounded(self._waits, name, _new_waits).append(event)
        elif event.flow is not None and kind == EventKind.DROP.label:
            self._of(event.flow).drops.append(event)
        elif event.flow is not None and kind == EventKind.RECEIVE_QUEUE_FULL.label:
            self._of(event.flow).full.append(event)

    def _of(self, flow: FlowKey) -> _Flow:
        return _bounded(self._flows, _both(flow), _Flow)

    def _forget(self, now_ns: int) -> None:
        since_ns = now_ns - SEGMENT_NS - AFTER_NS
        for name in [name for name, flow in self._flows.items() if _latest_ns(flow) < since_ns]:
            del self._flows[name]
        for of in [of for of, waits in self._waits.items() if waits[-1].timestamp_ns < since_ns]:
            del self._waits[of]

    def _waits_of(self, row: _Row | None) -> list[Event]:
        """Return the waits of the flow's process: of itself, and of threads that have its name."""
        if row is None or not row.pid:
            return []
        return [*self._waits.get(row.pid, ()), *self._waits.get(row.comm or row.pid, ())]

    def _explained(self, one: _Waiting) -> Retransmission:
        event, row = one.event, one.row
        known = self._flows.get(_both(event.flow)) if event.flow is not None else None
        drop, same = _drop_of(event, known)
        full = known is not None and any(0 <= event.timestamp_ns - each.timestamp_ns <= _before_ns(event)
                                         for each in known.full)  # fmt: skip
        waits = self._waits_of(row)
        before_us = max((each.value for each in waits if _ends_before(each, event)), default=0.0)
        after_us = max((each.value for each in waits if _begins_after(each, event)), default=0.0)
        full_queue = None if row is None else row.send_queue_full
        return Retransmission(
            event=event, segments=_segments(event), kind=str(event.context.get("retransmission", "")),
            behind=_behind(drop, same=same, full=full, before_us=before_us, after_us=after_us, queue=full_queue),
            drop=drop, same_segment=same,
            place="" if drop is None else place_of(drop.metric, str(drop.context.get("reason", ""))),
            host="" if drop is None else str(drop.context.get("host", "")), send_queue_full=full_queue,
            receive_queue_full=full, off_cpu_before_us=before_us, off_cpu_after_us=after_us,
            pid=0 if row is None else row.pid, comm="" if row is None else row.comm,
            drops_kept_pct=one.drops_kept_pct,
        )  # fmt: skip


def shares_kept(events: Iterable[Event]) -> dict[str, float]:
    """Return the share of the events of each kind that was kept, in per cent, as the sums of the interval tell it."""
    found: dict[str, float] = {}
    for event in events:
        share = event.context.get("share_pct")
        if event.type is EventType.SUMMARY and isinstance(share, int | float):
            found[str(event.context.get("kind", event.metric))] = float(share)
    return found


def _segments(event: Event) -> int:
    return max(round(event.value), 1)


def summary_of(found: Sequence[Retransmission], waiting: int = 0) -> str:
    """Return how many retransmissions had what behind them, the most first; "" for none.

    `waiting` of them are told with the next interval.
    """
    total = sum(one.segments for one in found)
    if not total:
        return ""
    groups: dict[str, list[Retransmission]] = {}
    for one in found:
        groups.setdefault(words_of(one), []).append(one)
    counts = {words: sum(one.segments for one in group) for words, group in groups.items()}
    parts = ", ".join(
        f"{counts[words]:,} {words}{_lasted(group)}"
        for words, group in sorted(groups.items(), key=lambda g: -counts[g[0]])
    )
    unsure = [one for one in found if one.behind is Behind.UNEXPLAINED and one.drops_kept_pct < 100]
    kept = f" ({readable_pct(min(one.drops_kept_pct for one in unsure), 3)} of the drops were kept)" if unsure else ""
    later = f"; {waiting:,} more will be told with the next interval" if waiting else ""
    return f"{total:,} retransmission{'s' if total > 1 else ''}: {parts}{kept}{later}"


def words_of(one: Retransmission) -> str:
    """Return what was behind a retransmission."""
    match one.behind:
        case Behind.SEGMENT_DROPPED | Behind.FLOW_DROPPED:
            of = "the same segment" if one.same_segment else "another packet of the flow"
            return f"after a drop of {of} {one.place}{f' on {one.host}' if one.host else ''}"
        case Behind.RECEIVE_QUEUE_FULL:
            return "after the receiver's queue was full"
        case Behind.OFF_CPU_BEFORE:
            return "with the process off the CPU before"
        case Behind.OFF_CPU_AFTER:
            return "with the process off the CPU after"
        case Behind.SEND_QUEUE_FULL:
            return "with a full send queue and no drop on this machine"
    return "unexplained on this machine"


def _lasted(found: Iterable[Retransmission]) -> str:
    """Return how long processes were off the CPU, where that was behind."""
    waits = {Behind.OFF_CPU_BEFORE: "off_cpu_before_us", Behind.OFF_CPU_AFTER: "off_cpu_after_us"}
    longest_us = max((getattr(one, waits[one.behind]) for one in found if one.behind in waits), default=0.0)
    return f", for up to {plain_number(longest_us / 1000, 3)} ms" if longest_us else ""


def _behind(
    drop: Event | None, *, same: bool, full: bool, before_us: float, after_us: float, queue: bool | None
) -> Behind:
    held = (
        (Behind.SEGMENT_DROPPED, drop is not None and same), (Behind.FLOW_DROPPED, drop is not None),
        (Behind.RECEIVE_QUEUE_FULL, full), (Behind.OFF_CPU_BEFORE, before_us > 0), (Behind.OFF_CPU_AFTER, after_us > 0),
        (Behind.SEND_QUEUE_FULL, queue is True),
    )  # fmt: skip
    return next((behind for behind, holds in held if holds), Behind.UNEXPLAINED)


def _drop_of(event: Event, known: _Flow | None) -> tuple[Event | None, bool]:
    """Return the latest drop that the retransmission follows, and whether it was of the same bytes."""
    if known is None:
        return None, False
    reach_ns = max(_srtt_ns(event) * ROUND_TRIPS, SEGMENT_NS)
    before = [drop for drop in known.drops if 0 <= event.timestamp_ns - drop.timestamp_ns <= reach_ns]
    same = [drop for drop in before if _same_direction(drop, event) and _overlap(drop, event)]
    if same:
        return same[-1], True
    near = [drop for drop in before if event.timestamp_ns - drop.timestamp_ns <= _before_ns(event)]
    return (near[-1], False) if near else (None, False)


def _overlap(drop: Event, event: Event) -> bool:
    """Return whether the ranges of sequence numbers meet; they wrap at 2^32."""
    if "seq" not in drop.context or "seq" not in event.context:
        return False
    ahead = (int(event.context["seq"]) - int(drop.context["seq"])) % _SEQUENCE
    return ahead < _length(drop) or (_SEQUENCE - ahead) % _SEQUENCE < _length(event)


def _length(event: Event) -> int:
    return max(int(event.context.get("bytes", 1)), 1)


def _srtt_ns(event: Event) -> int:
    return round(event.metrics.get("tcp.srtt_us", 0.0) * 1000)


def _before_ns(event: Event) -> int:
    return max(BEFORE_NS, 2 * _srtt_ns(event))


def _ends_before(wait: Event, event: Event) -> bool:
    """Return whether a wait that began before was going on in the time before; an event is at the wait's end."""
    began_ns = wait.timestamp_ns - round(wait.value * 1000)
    return began_ns <= event.timestamp_ns and wait.timestamp_ns >= event.timestamp_ns - _before_ns(event)


def _begins_after(wait: Event, event: Event) -> bool:
    began_ns = wait.timestamp_ns - round(wait.value * 1000)
    return event.timestamp_ns < began_ns <= event.timestamp_ns + AFTER_NS


def _latest_ns(flow: _Flow) -> int:
    return max(each[-1].timestamp_ns for each in (flow.drops, flow.full) if each)


def _ends(flow: FlowKey) -> tuple[_Ends, _Ends]:
    here = (flow.protocol.value, flow.local, flow.local_port, flow.remote, flow.remote_port)
    return here, (flow.protocol.value, flow.remote, flow.remote_port, flow.local, flow.local_port)


def _both(flow: FlowKey) -> tuple[_Ends, ...]:
    """Return the same for both directions, whatever host saw them."""
    return tuple(sorted(_ends(flow)))


def _same_direction(one: Event, other: Event) -> bool:
    return one.flow is not None and other.flow is not None and _ends(one.flow)[0] == _ends(other.flow)[0]


def _new_waits() -> deque[Event]:
    return deque(maxlen=64)


def _bounded(known: dict[K, V], key: K, make: Callable[[], V]) -> V:
    """Return a key's value; a new key takes the place of the oldest where there are too many."""
    if key not in known:
        if len(known) >= MOST_KEPT:
            del known[next(iter(known))]
        known[key] = make()
    return known[key]


class _Rows:
    """Finds flows in a table by their ports: to make a key of each of thousands of rows would cost more."""

    def __init__(self, table: FlowTable) -> None:
        self._table = table
        self._found: dict[FlowKey, _Row | None] = {}

    def of(self, flow: FlowKey) -> _Row | None:
        """Return the row of the flow's sender; None where the table lacks it."""
        if flow not in self._found:
            self._found[flow] = next(self._candidates(flow), None)
        return self._found[flow]

    def _candidates(self, flow: FlowKey) -> Iterator[_Row]:
        table = self._table
        ports = (table["local_port"] == flow.local_port) & (table["remote_port"] == flow.remote_port)
        for row in np.flatnonzero(ports):
            if _ends(table.key(int(row)))[0] == _ends(flow)[0]:
                yield self._row(int(row))

    def _row(self, row: int) -> _Row:
        table = self._table
        used, size = float(table["wmem_bytes"][row]), float(table["sndbuf_bytes"][row])
        full = (size > 0 and used >= size * _FULL) or int(table["sndbuf_limited_us"][row]) > 0
        return _Row(pid=int(table["pid"][row]), comm=table.text("comm", row), send_queue_full=full)
