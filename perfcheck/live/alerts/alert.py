"""What an alert is: one rule broken by one subject, from the moment it is raised until it is cleared."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, flow_id
from perfcheck.model.metric import Layer
from perfcheck.model.units import format_value

_ID_BYTES: Final = 6
PER_S: Final = "packets/s"


class AlertState(StrEnum):
    """Where in its life an alert is."""

    RAISED = "raised"
    ONGOING = "ongoing"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom an alert is about: one flow, one host (network namespace), or, with neither, all that is watched."""

    flow: FlowKey | None = None
    host: str | None = None

    @property
    def label(self) -> str:
        """The subject as people read it."""
        if self.flow is not None:
            key = self.flow
            return f"{key.local}:{key.local_port}->{key.remote}:{key.remote_port}"
        return "all flows" if self.host is None else f"host {self.host or 'of perfctl'}"

    @property
    def identity(self) -> str:
        """A text that differs for any two subjects."""
        if self.flow is not None:
            return f"flow {self.flow.host} {flow_id(self.flow)}"
        return "all" if self.host is None else f"host {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule that is broken, as of one interval.

    `id` is the same from raised to cleared, and for each reading of the same recording. `value` is the interval's (NaN:
    it has none), `worst` the worst since the alert began, both in `unit` like `bound`. `since_ns` (CLOCK_MONOTONIC) is
    the begin of the first interval that counted, `now_ns` the end of this one. `intervals` are those since then.
    `note` names more, such as the flow that has the largest part.
    """

    id: str
    rule: str
    summary: str
    subject: Subject
    metric: str
    layer: Layer
    unit: str
    value: float
    worst: float
    bound: float
    since_ns: int
    now_ns: int
    state: AlertState
    intervals: int
    note: str = ""

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return (self.now_ns - self.since_ns) / 1e9

    @property
    def text(self) -> str:
        """The alert on one line; what came from packets or processes is not escaped yet."""
        head = f"{self.rule}: {self.summary}, {self.subject.label}"
        bound, worst = _shown(self.bound, self.unit), _shown(self.worst, self.unit)
        note = f"; {self.note}" if self.note else ""
        if self.state is AlertState.CLEARED:
            return f"{head}: cleared after {round(self.seconds, 1):g} s, worst {worst}, bound {bound} (id {self.id})"
        value = "none now" if math.isnan(self.value) else _shown(self.value, self.unit)
        if self.state is AlertState.RAISED:
            return f"{head}: {value}, bound {bound}{note} (id {self.id})"
        return f"{head}: {value}, bound {bound}, for {round(self.seconds, 1):g} s, worst {worst} (id {self.id})"


def _shown(value: float, unit: str) -> str:
    return f"{format_value(value, '')} {unit}" if unit == PER_S else format_value(value, unit)


def alert_id(rule: str, subject: Subject, since_epoch_ns: int) -> str:
    """Return an id that no other alert has, whatever run raises it: rule, subject and time of day decide."""
    text = f"{rule} {subject.identity} {since_epoch_ns}"
    return f"{rule}-{hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()}"


def alert_event(alert: Alert, number: int) -> Event:
    """Return the alert as an event of the one schema; its `context.alert` and `context.state` tell what it is."""
    known = {"value": alert.value, "worst": alert.worst, "bound": alert.bound}
    figures: dict[str, str | int | float] = {name: each for name, each in known.items() if not math.isnan(each)}
    value = alert.worst if "value" not in figures else alert.value
    where: dict[str, str | int | float] = {} if alert.subject.host is None else {"host": alert.subject.host}
    if alert.subject.flow is not None:
        where["host"] = alert.subject.flow.host
    return Event(
        number=number, timestamp_ns=alert.now_ns, flow=alert.subject.flow, layer=alert.layer, metric=alert.metric,
        value=value, type=EventType.ALERT,
        context={
            "kind": "alert", "alert": alert.id, "rule": alert.rule, "state": alert.state.value,
            "subject": alert.subject.label, "unit": alert.unit, "since_ns": alert.since_ns,
            "intervals": alert.intervals, "seconds": round(alert.seconds, 6), "text": alert.text, **figures, **where,
        },
    )  # fmt: skip
