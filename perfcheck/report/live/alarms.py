"""The alerts of a watch, the latest of them one by one, with what was the matter when each was raised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from perfcheck.live.alerts import Alert, AlertState, AlertWatch, UserBounds
from perfcheck.live.recent_diagnosis import RecentDiagnosis
from perfcheck.model.interval import Interval

MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alert as it was told last, and the most probable causes of the last intervals in which these were asked."""

    alert: Alert
    causes: str = ""

    @property
    def cleared(self) -> bool:
        """Whether it was over before the watch was."""
        return self.alert.state is AlertState.CLEARED


class Alarms:
    """All alerts, counted by rule, and the latest `MOST` of them."""

    def __init__(self, bounds: UserBounds, *, part: bool) -> None:
        """Take the user's bounds, and whether only some of the machine's flows are watched."""
        self._watch = AlertWatch(bounds)
        self._diagnosis = RecentDiagnosis(part=part)
        self._known: dict[str, Alarm] = {}
        self.raised: Counter[str] = Counter()

    def add(self, interval: Interval) -> None:
        """Add an interval."""
        alerts = self._watch.observe(interval)
        causes = self._diagnosis.of(interval, alerts)
        for alert in alerts:
            known = self._known.get(alert.id)
            if known is not None:
                again = causes if causes and alert.state is not AlertState.CLEARED else known.causes
                self._known[alert.id] = replace(known, alert=alert, causes=again)
            elif alert.state is AlertState.RAISED:
                self.raised[alert.rule] += 1
                self._known[alert.id] = Alarm(alert=alert, causes=causes)
        if len(self._known) > MOST:
            for oldest in list(self._known)[: len(self._known) - MOST]:
                del self._known[oldest]

    @property
    def times_ns(self) -> Sequence[tuple[int, int]]:
        """Begin and end of each of them, as long as they have lasted."""
        return [(each.alert.since_ns, each.alert.now_ns) for each in self.told]

    @property
    def told(self) -> Sequence[Alarm]:
        """The latest ones, by their begin."""
        return sorted(self._known.values(), key=lambda each: each.alert.since_ns)
