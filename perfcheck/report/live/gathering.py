"""Gathers what a watch saw for its report, interval by interval, in memory that does not grow with the watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from perfcheck.live.alerts import UserBounds
from perfcheck.live.diagnosis import is_part
from perfcheck.live.observation import figures_of
from perfcheck.model.interval import Interval, Intervals, LiveRequest, OpenIntervals
from perfcheck.report.live.alarms import Alarms
from perfcheck.report.live.busiest import Busiest
from perfcheck.report.live.course import Course
from perfcheck.report.live.stretch import Stretch, joined
from perfcheck.report.live.thinning import Thinning

MOST_STRETCHES: Final = 240
"""Points of a curve: more would not be told apart on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What was watched: the command, its request, the options that filter as texts by name, and the recording."""

    command: str
    request: LiveRequest
    filters: Mapping[str, str]
    recording: str | None = None
    bounds: UserBounds = field(default_factory=UserBounds)
    reproduce: str = ""


class Gathering:
    """What was seen so far."""

    def __init__(self, watch: Watch) -> None:
        """Begin with nothing."""
        self.watch = watch
        self.part = is_part(watch.request)
        self.stretches: Thinning[Stretch] = Thinning(MOST_STRETCHES, joined)
        self.busiest = Busiest()
        self.course = Course()
        self.alarms = Alarms(watch.bounds)
        self.begin_ns = 0
        self.epoch_ns = 0

    def add(self, interval: Interval) -> None:
        """Add an interval."""
        # A recording of somebody else's may hold any number: no reason for numpy's warnings.
        with np.errstate(all="ignore"):
            if not len(self.stretches):
                self.begin_ns = interval.begin_ns
            self.epoch_ns = interval.epoch_ns
            self.stretches.add(Stretch.of(interval, figures_of(interval)))
            self.busiest.add(interval.flows)
            self.alarms.add(interval)
            self.course.add(interval)

    @property
    def seen(self) -> bool:
        """Whether any interval was over."""
        return len(self.stretches) > 0

    def opening(self, open_intervals: Callable[[], OpenIntervals]) -> Callable[[], OpenIntervals]:
        """Return what opens the same intervals, each of which is added here before it is given on."""

        @contextmanager
        def opened() -> Iterator[Intervals]:
            with open_intervals() as intervals:
                yield _Passing(intervals, self)

        def open_passing() -> AbstractContextManager[Intervals]:
            return opened()

        return open_passing


class _Passing:
    """Intervals that are added to a gathering on their way; all else is asked of where they come from."""

    def __init__(self, source: Intervals, gathering: Gathering) -> None:
        self._source = source
        self._gathering = gathering

    def __iter__(self) -> Iterator[Interval]:
        for interval in self._source:
            self._gathering.add(interval)
            yield interval

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)
