"""One event of detail mode: what happened to a packet, a flow or a process at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perfcheck.model.flow import FlowKey
from perfcheck.model.metric import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `number` is unique within its trial.

    `timestamp_ns` is CLOCK_MONOTONIC. `flow` is the direction that the packet belongs to, its source as `local`
    (None: a task's event, or a flow whose begin was not seen). `value` is `metric`'s, in the unit of its name:
    a time is that of the stage that ended at the timestamp. `related` are the numbers of the events that led
    here: the same packet's event before, or what a retransmission repeats. `context` says where and what:
    `host`, `hook`, `packet` (the same for all events of one packet), `seq`, `bytes`, `reason`...
    """

    number: int
    timestamp_ns: int
    flow: FlowKey | None
    layer: Layer
    metric: str
    value: float
    context: Mapping[str, str | int | float] = field(default_factory=dict)
    related: tuple[int, ...] = ()

    def to_json(self, **more: str | int) -> str:
        """Return the event as one line of JSON; `more` goes into the context (run, scenario, trial)."""
        return json.dumps(self.as_dict(**more), separators=(",", ":"))

    def as_dict(self, **more: str | int) -> dict[str, Any]:
        """Return the event's JSON object."""
        key = self.flow
        flow = key and {
            "protocol": key.protocol.value,
            "source": f"{_bracketed(key.local)}:{key.local_port}",
            "target": f"{_bracketed(key.remote)}:{key.remote_port}",
        }
        return {
            "number": self.number, "timestamp_ns": self.timestamp_ns, "flow": flow, "layer": self.layer.value,
            "metric": self.metric, "value": self.value, "context": {**self.context, **more},
            "related": list(self.related),
        }  # fmt: skip


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
