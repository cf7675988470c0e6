"""Events: what happened to a flow, a packet or a process at one moment, in one schema for every mode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

from perfcheck.model.flow import FlowKey, flow_id
from perfcheck.model.metric import Layer

if TYPE_CHECKING:
    import numpy.typing as npt

_NS: Final = 1_000_000_000


class EventType(StrEnum):
    """What an event is: one stage of one packet, something out of the ordinary, or the sum of a kind over a trial."""

    DETAIL = "detail"
    ALERT = "alert"
    SUMMARY = "summary"


class EventKind(IntEnum):
    """What an alert tells: `enum pc_told_kind` of bpf/events.h (a unit test holds them alike), and what is polled."""

    RETRANSMISSION = 1
    RTO = 2
    CA_STATE = 3
    DROP = 4
    RECEIVE_QUEUE_FULL = 5
    RESET_RECEIVED = 6
    RESET_SENT = 7
    CPU_WAIT = 8
    LISTEN_OVERFLOW = 9

    @property
    def label(self) -> str:
        """The kind's name in records: `retransmission`, `cpu_wait`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCount:
    """How many events of one kind a trial had: all of them, those in the stream, those the ring had no room for."""

    seen: int
    told: int
    lost: int = 0

    @property
    def sampled_out(self) -> int:
        """How many the budget left out."""
        return self.seen - self.told - self.lost

    @property
    def share_pct(self) -> float:
        """Share of the kind's events that is in the stream."""
        return 100 * self.told / self.seen if self.seen else 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOverflow:
    """Connections that a full accept queue refused between two looks, the later one at `ns`.

    `port` is the listening socket's, where just one is full.
    """

    ns: int
    host: str
    count: int
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventStream:
    """The alerts of one trial's window, which began at `start_ns`.

    `records` is an array of `struct pc_told` (bpf/events.h) in the order of time. `hosts` are names by number, from 1.
    `reasons` names drops by number, `drop_metrics` the catalogue's metric that counts them.
    """

    records: npt.NDArray[Any]
    hosts: tuple[str, ...]
    start_ns: int
    counts: Mapping[EventKind, EventCount] = field(default_factory=dict)
    overflows: tuple[ListenOverflow, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)
    drop_metrics: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `number` is unique within its trial.

    `timestamp_ns` is CLOCK_MONOTONIC. `flow` is the direction that the event belongs to, its source as `local`
    (None: a task's or a host's event, or a flow whose begin was not seen). `value` is `metric`'s, in the unit of its
    name: a time is that of the stage that ended at the timestamp. `metrics` are further figures of the same moment.
    `related` are the numbers of the events that led here: the same packet's event before, what a retransmission
    repeats, or the flow's events of the last round trip. `context` says where and what: `host`, `hook`, `packet` (the
    same for all events of one packet), `seq`, `bytes`, `reason`... `cause` is the cause that the event itself is
    evidence of, if any (model/causes.py).
    """

    number: int
    timestamp_ns: int
    flow: FlowKey | None
    layer: Layer
    metric: str
    value: float
    type: EventType = EventType.DETAIL
    metrics: Mapping[str, float] = field(default_factory=dict)
    context: Mapping[str, str | int | float] = field(default_factory=dict)
    related: tuple[int, ...] = ()
    cause: str | None = None

    def to_json(self, *, tool: str = "perfcheck", epoch_ns: int = 0, **more: str | int) -> str:
        """Return the event as one line of JSON; the arguments are those of `as_dict`."""
        return json.dumps(self.as_dict(tool=tool, epoch_ns=epoch_ns, **more), separators=(",", ":"))

    def as_dict(self, *, tool: str = "perfcheck", epoch_ns: int = 0, **more: str | int) -> dict[str, Any]:
        """Return the event's JSON object.

        `tool` is who tells, `epoch_ns` what CLOCK_MONOTONIC lacks to the time of day; `more` goes into the context
        (run, scenario, trial).
        """
        key = self.flow
        flow = key and {
            "src_ip": key.local, "dst_ip": key.remote, "src_port": key.local_port, "dst_port": key.remote_port,
            "protocol": key.protocol.value, "id": flow_id(key),
        }  # fmt: skip
        return {
            "number": self.number, "timestamp": utc_text(self.timestamp_ns + epoch_ns),
            "timestamp_ns": self.timestamp_ns, "tool": tool, "type": self.type.value, "flow": flow,
            "layer": self.layer.value, "metric": self.metric,
            "metrics": {self.metric: self.value, **self.metrics}, "value": self.value,
            "context": {**self.context, **more}, "related": list(self.related),
            "diagnosis": None if self.cause is None else {"cause": self.cause},
        }  # fmt: skip


def utc_text(ns: int) -> str:
    """Return a time of day as ISO 8601, in microseconds."""
    seconds, rest = divmod(ns, _NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
