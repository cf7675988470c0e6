"""The alerts of a watch: all of them counted, the latest one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from perfcheck.live.alerts import Alert, AlertState, AlertWatch, UserBounds
from perfcheck.model.interval import Interval

MOST: Final = 200


class Alarms:
    """All alerts, counted by rule, and the latest `MOST` of them as they were told last.

    What was the matter meanwhile is asked at the end: one diagnosis takes longer than all else of an interval.
    """

    def __init__(self, bounds: UserBounds) -> None:
        """Take the user's bounds."""
        self._watch = AlertWatch(bounds)
        self._known: dict[str, Alert] = {}
        self.raised: Counter[str] = Counter()

    def add(self, interval: Interval) -> None:
        """Add an interval."""
        for alert in self._watch.observe(interval):
            if alert.state is AlertState.RAISED:
                self.raised[alert.rule] += 1
            if alert.state is AlertState.RAISED or alert.id in self._known:
                self._known[alert.id] = alert
        for oldest in list(self._known)[: max(len(self._known) - MOST, 0)]:
            del self._known[oldest]

    @property
    def told(self) -> Sequence[Alert]:
        """The latest ones, by their begin."""
        return sorted(self._known.values(), key=lambda each: each.since_ns)

    @property
    def times_ns(self) -> Sequence[tuple[int, int]]:
        """Begin and end of each of them, as long as they have lasted."""
        return [(each.since_ns, each.now_ns) for each in self.told]
