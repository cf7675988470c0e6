"""Follows every rule and subject from interval to interval."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from perfcheck.live.alerts.alert import Alert, AlertState, Subject, alert_id
from perfcheck.live.alerts.hysteresis import Hysteresis, Turn
from perfcheck.live.alerts.reading import Reading
from perfcheck.live.alerts.rule import Rule
from perfcheck.live.alerts.rules import rules_of
from perfcheck.live.alerts.user_bounds import UserBounds
from perfcheck.model.interval import Interval

MOST_SUBJECTS: Final = 256
"""Subjects that a rule follows at a time."""
MOST_RAISED: Final = 16
"""Single flows for which a rule has an alert at a time; more of them are a trouble of all."""
_NOTHING: Final = Subject().identity


@dataclass(slots=True)
class _Followed:
    """A subject of a rule; `recent` are begin and value of the intervals that may count towards an alert."""

    subject: Subject
    hysteresis: Hysteresis
    recent: deque[tuple[int, float]]
    alert: Alert | None = None


class AlertWatch:
    """The alerts of one run; memory is bounded by the number of rules."""

    def __init__(self, bounds: UserBounds | None = None, *, rules: tuple[Rule, ...] | None = None) -> None:
        """Take the user's bounds; `rules`, in place of all that would be on."""
        own = rules_of(bounds or UserBounds()) if rules is None else rules
        self._rules: dict[str, tuple[Rule, dict[str, _Followed]]] = {rule.name: (rule, {}) for rule in own}

    @property
    def active(self) -> tuple[Alert, ...]:
        """The alerts that are raised and not cleared."""
        found = (each.alert for _, followed in self._rules.values() for each in followed.values())
        return tuple(alert for alert in found if alert is not None)

    def observe(self, interval: Interval) -> tuple[Alert, ...]:
        """Take an interval and return the alerts that are raised, ongoing or cleared in it."""
        found: list[Alert] = []
        for rule, followed in self._rules.values():
            readings = {reading.subject.identity: reading for reading in rule.read(interval)}
            _follow_new(rule, followed, readings)
            for identity in sorted(followed, key=lambda each: each != _NOTHING):
                one = followed[identity]
                reading = readings.get(identity)
                if _covered(one, followed):
                    reading = None
                alert = _told(rule, one, reading, interval)
                if alert is not None:
                    found.append(alert)
            for identity in [each for each, one in followed.items() if one.subject.flow and one.hysteresis.idle]:
                del followed[identity]
        return tuple(found)


def _follow_new(rule: Rule, followed: dict[str, _Followed], readings: dict[str, Reading]) -> None:
    for identity, reading in readings.items():
        if identity not in followed and len(followed) < MOST_SUBJECTS:
            recent: deque[tuple[int, float]] = deque(maxlen=rule.holding.raise_within)
            followed[identity] = _Followed(reading.subject, Hysteresis(rule.holding), recent)


def _covered(one: _Followed, followed: dict[str, _Followed]) -> bool:
    """Return whether a flow's alert would say what another says: all flows have it, or many flows have."""
    if one.subject.flow is None or one.alert is not None:
        return False
    whole = followed.get(_NOTHING)
    if whole is not None and whole.alert is not None:
        return True
    return sum(1 for each in followed.values() if each.subject.flow and each.alert) >= MOST_RAISED


def _told(rule: Rule, one: _Followed, reading: Reading | None, interval: Interval) -> Alert | None:
    value = math.nan if reading is None else reading.value
    one.recent.append((interval.begin_ns, value))
    match one.hysteresis.tell(reading):
        case Turn.RAISED if reading is not None:
            one.alert = _raised(rule, one, reading, interval)
            return one.alert
        case Turn.CLEARED if one.alert is not None:
            cleared, one.alert = _later(one.alert, value, interval, AlertState.CLEARED), None
            return cleared
    if one.alert is None:
        return None
    one.alert = _later(one.alert, value, interval, AlertState.ONGOING)
    return one.alert


def _raised(rule: Rule, one: _Followed, reading: Reading, interval: Interval) -> Alert:
    counting = list(one.recent)[-1 - one.hysteresis.first_broken :]
    since_ns = counting[0][0]
    return Alert(
        id=alert_id(rule.name, one.subject, since_ns + interval.epoch_ns), rule=rule.name, summary=rule.summary,
        subject=one.subject, metric=rule.metric, layer=rule.layer, unit=rule.unit, value=reading.value,
        worst=max(value for _, value in counting if not math.isnan(value)), bound=reading.bound, since_ns=since_ns,
        now_ns=interval.end_ns, state=AlertState.RAISED, intervals=len(counting), note=reading.note,
    )  # fmt: skip


def _later(alert: Alert, value: float, interval: Interval, state: AlertState) -> Alert:
    worst = alert.worst if math.isnan(value) else max(alert.worst, value)
    return replace(alert, value=value, worst=worst, now_ns=interval.end_ns, state=state, intervals=alert.intervals + 1)
