"""The thread that samples all sources at equal intervals, and less often where that would take too much of a CPU."""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from perfcheck.collect.series.queues import WatchedQueues
from perfcheck.collect.series.source import BATCH, Moment, Source
from perfcheck.model.series import BufferLooks, FlowSamples, NamedSamples, Samples
from perfcheck.system.clock import now_ns

MOST_SHARE: Final = 0.01
"""Of one CPU, for sampling alone."""
_REMEMBERED: Final = 9
"""Intervals whose median cost counts. A hypervisor that takes the CPU away is counted as time of the thread: the mean
would make the intervals seconds long after one such pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What is to be sampled beside the collectors, and how often.

    `directions` names the link's direction that each host's interface sends into; `links` has for each link that can
    be watched the names of its directions, and what looks at their queues.
    """

    interval_ns: int
    directions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    links: Sequence[WatchedQueues] = ()


def next_interval_ns(interval_ns: int, sampling_s: Sequence[float], spooling_s: Sequence[float] = ()) -> int:
    """Return how long the next interval is: a whole number of `interval_ns`, so that it takes no more than its share.

    `sampling_s` is what the latest intervals cost, in seconds of CPU; `spooling_s` what spooling cost a tick. In the
    beginning nothing is known of either.
    """
    cost_s = sum(statistics.median_low(costs_s) for costs_s in (sampling_s, spooling_s) if costs_s)
    return max(math.ceil(cost_s * 1e9 / MOST_SHARE / interval_ns), 1) * interval_ns


class Sampler(threading.Thread):
    """Samples from `start` on until `finish`."""

    def __init__(self, sources: Sequence[Source], interval_ns: int) -> None:
        """Take the sources, which it closes; nothing is sampled yet."""
        super().__init__(name="series", daemon=True)
        self._sources = list(sources)
        self._interval_ns = interval_ns
        # Held until the end: to wait for a lock takes far fewer steps than to wait for an Event.
        self._going_on = threading.Lock()
        self._going_on.acquire()
        self._told_to_end = False
        self._ticks = array("q")
        self._whole = 0
        self._began_ns = 0
        self._longest_ns = interval_ns
        self._costs_s = deque[float](maxlen=_REMEMBERED)
        self._spooling_costs_s = deque[float](maxlen=_REMEMBERED)
        self._problem: tuple[int, str] | None = None
        self.cpu_s = 0.0
        """CPU time of the thread so far."""

    def run(self) -> None:
        """Sample again and again; what goes wrong ends it, and `finish` tells."""
        with self._told():
            self._began_ns = before_ns = now_ns()
            next_ns = before_ns + self._interval_ns
            while not self._going_on.acquire(timeout=max(next_ns - now_ns(), 0) / 1e9):
                before_ns = self._sample(before_ns)
                if not len(self._ticks) % BATCH:
                    self._spool()
                next_ns += self._step_ns()
                # What was slept through is no reason to hurry.
                next_ns = max(next_ns, before_ns + self._interval_ns // 2)
            self._sample(before_ns, last=True)
        # Whatever went wrong, what was copied before is worth telling.
        for source in self._sources:
            with self._told():
                source.spool()
        self.cpu_s = time.thread_time()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as problem:  # noqa: BLE001 - a series that fails keeps nothing from being measured
            self._problem = self._problem or (self._whole, str(problem))

    def _sample(self, before_ns: int, *, last: bool = False) -> int:
        began_s = time.thread_time()
        taken_ns = now_ns()
        moment = Moment(tick=len(self._ticks), now_ns=taken_ns, length_ns=max(taken_ns - before_ns, 1), last=last)
        # Also where a source fails: what others copied before is of this tick.
        self._ticks.append(moment.now_ns)
        for source in self._sources:
            source.sample(moment)
        self._whole += 1
        self.cpu_s = time.thread_time()
        # The first sample warms caches up, and says little of what those after it cost.
        if moment.tick:
            self._costs_s.append(self.cpu_s - began_s)
        return moment.now_ns

    def _spool(self) -> None:
        began_s = time.thread_time()
        for source in self._sources:
            source.spool()
        self._spooling_costs_s.append((time.thread_time() - began_s) / BATCH)

    def _step_ns(self) -> int:
        step_ns = next_interval_ns(self._interval_ns, self._costs_s, self._spooling_costs_s)
        self._longest_ns = max(self._longest_ns, step_ns)
        return step_ns

    def finish(self) -> Samples:
        """Sample a last time and return all of it, to be read before `close`."""
        self._end()
        found = [source.samples() for source in self._sources]
        return Samples(
            began_ns=self._began_ns,
            ticks_ns=np.array(self._ticks, dtype=np.int64),
            flows=tuple(one for one in found if isinstance(one, FlowSamples)),
            named=tuple(one for one in found if isinstance(one, NamedSamples)),
            buffers=tuple(
                look for one in found if isinstance(one, tuple) for look in one if isinstance(look, BufferLooks)
            ),
            warnings=tuple(self._warnings()),
            cpu_s=self.cpu_s,
        )

    def _warnings(self) -> list[str]:
        found = [text for source in self._sources for text in source.warnings()]
        if self._problem is not None:
            ticks, text = self._problem
            found.append(f"series: it ends after {ticks:,} intervals: {text}")
        if self._longest_ns > self._interval_ns:
            found.append(
                f"series: intervals of up to {self._longest_ns / 1e6:g} ms instead of {self._interval_ns / 1e6:g} ms, "
                f"so that sampling takes no more than {100 * MOST_SHARE:g} % of one CPU"
            )
        return found

    def _end(self) -> None:
        if not self._told_to_end:
            self._told_to_end = True
            self._going_on.release()
        if self.ident is not None:
            self.join()

    def close(self) -> None:
        """End the thread and remove what was spooled; safe to call twice."""
        self._end()
        for source in self._sources:
            with contextlib.suppress(OSError):
                source.close()
