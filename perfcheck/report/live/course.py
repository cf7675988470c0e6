"""The intervals of a watch as what its diagnosis needs: all of a short one, and of a long one stretches without flows.

A watch of seconds is diagnosed exactly as `perfctl diagnose` does it. Of a longer one metrics are merged as that does
it for whole watches: counts added, shares as means over time, percentiles of the merged histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from perfcheck.diagnose import load_rules
from perfcheck.live.diagnosis import LiveDiagnosis, diagnosed, has_connections
from perfcheck.live.whole import added, merged_histograms, merged_metrics
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.report.live.thinning import Thinning

MOST_WHOLE: Final = 120
MOST_ROWS: Final = 20_000
"""Of connections in the intervals that are kept whole."""
MOST_STRETCHES: Final = 60
MOST_EVENTS: Final = 500
"""Of each stretch; each has the first ones."""


class Course:
    """What a watch is diagnosed by, of a size that does not grow with its length."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._edges: dict[str, tuple[float, ...]] = {}
        self._whole: list[Interval] | None = []
        self._rows = 0
        self._folded: Thinning[Interval] = Thinning(MOST_STRETCHES, folded)

    def add(self, interval: Interval) -> None:
        """Add an interval."""
        interval = self._alike(interval)
        if self._whole is None:
            self._folded.add(without_flows(interval))
            return
        self._whole.append(interval)
        self._rows += len(interval.flows)
        if len(self._whole) > MOST_WHOLE or self._rows > MOST_ROWS:
            for one in self._whole:
                self._folded.add(without_flows(one))
            self._whole = None

    def _alike(self, interval: Interval) -> Interval:
        """Return the interval without histograms whose buckets are not those of the first ones of their name.

        A recording may hold buckets of its own, which cannot be merged.
        """
        for name, one in interval.histograms.items():
            self._edges.setdefault(name, one.edges)
        alike = {name: one for name, one in interval.histograms.items() if one.edges == self._edges[name]}
        return interval if len(alike) == len(interval.histograms) else replace(interval, histograms=alike)

    @property
    def parts(self) -> Sequence[Interval]:
        """The intervals, or stretches of several of them."""
        return tuple(self._folded) if self._whole is None else tuple(self._whole)

    def diagnosed(
        self, *, part: bool, times_ns: Sequence[tuple[int, int]] | None = None
    ) -> LiveDiagnosis | None:  # fmt: skip
        """Return the diagnosis; None where no connection was seen. `part`: some flows of the machine are left out.

        `times_ns`: only of the intervals that are within one of these times for half of their length or more.
        """
        parts = [one for one in self.parts if times_ns is None or _is_within(one, times_ns)]
        if not any(map(has_connections, parts)):
            return None
        return diagnosed(parts, load_rules(()), part=part)


def _is_within(interval: Interval, times_ns: Sequence[tuple[int, int]]) -> bool:
    covered = max((min(end, interval.end_ns) - max(begin, interval.begin_ns) for begin, end in times_ns), default=0)
    return 2 * covered >= interval.end_ns - interval.begin_ns


def without_flows(interval: Interval) -> Interval:
    """Return an interval with what the rules read, and without what grows with the number of connections."""
    told = tuple(each for each in interval.events if each.type is EventType.ALERT)
    return replace(
        interval, flows=FlowTable.empty(), hosts={}, interfaces={}, events=_first_of(told)
    )  # fmt: skip


def folded(before: Interval, after: Interval) -> Interval:
    """Return two neighbouring intervals without flows as one."""
    parts = (before, after)
    histograms = merged_histograms([one.histograms for one in parts])
    metrics = merged_metrics([(one.seconds, one.metrics) for one in parts], histograms)
    return replace(
        after, number=before.number, begin_ns=before.begin_ns, metrics=metrics, histograms=histograms,
        events=_first_of((*before.events, *after.events)), lacks={**before.lacks, **after.lacks},
        accounting=added([one.accounting for one in parts], [one.seconds for one in parts]),
    )  # fmt: skip


def _first_of(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return events[:MOST_EVENTS]
