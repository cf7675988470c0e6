"""What is rare and explains much, told one by one in every mode (bpf/events.bpf.c), where events are asked for.

A kind has a budget of events a second on each CPU; what a flood has beyond it is counted, and the share is told. A
thread empties the ring ten times a second, and looks at the one counter that stands for a missing tracepoint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import programs
from perfcheck.collect.base.collector import BpfCollector, Seen
from perfcheck.collect.base.look import Look, Maps
from perfcheck.collect.drop_reasons import all_reasons, reason_metrics
from perfcheck.collect.events.overflows import OverflowWatch
from perfcheck.collect.tcp.kernel_filter import write_ends
from perfcheck.ebpf.ringbuf import MappedRing
from perfcheck.errors import CollectError
from perfcheck.model.event import EventCount, EventKind, EventStream, ListenOverflow
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.observation import Observation, Scope
from perfcheck.model.units import readable_pct

PER_S: Final = 500
BURST: Final = 1000
"""Events of a kind that a CPU may tell a second, and ahead of time."""
RING_BYTES: Final = 2 << 20
MOST: Final = 100_000
"""So many records of a trial are kept."""
RUNQ_US: Final = 10_000
_SWITCH: Final = "sched_switch"
_KINDS: Final = 9  # PC_TOLD_KINDS, and the 0 that is none
INTERVAL_S: Final = 0.1
_NS: Final = 1_000_000_000


class EventsCollector(BpfCollector):
    """Tells of events of the scope's hosts; `per_s` and `burst` are the budget of a kind on each CPU.

    `ring_bytes` is the ring's size, a power of two, `most` how many records a trial may keep, `runq_us` from when on a
    wait for a CPU is an event.
    """

    declared = declared.EVENTS

    def __init__(
        self, per_s: int = PER_S, burst: int = BURST, *, ring_bytes: int = RING_BYTES, most: int = MOST,
        runq_us: int = RUNQ_US, wanted: FlowFilter | None = None, every_s: float = INTERVAL_S,
    ) -> None:  # fmt: skip
        """Nothing is loaded before `open`; of `wanted` addresses and ports are told apart in the kernel.

        The ring is emptied each `every_s` seconds.
        """
        super().__init__({"events": ring_bytes, "buckets": _KINDS * programs.cpu_count()})
        self._per_s, self._burst, self._most, self._runq_us = per_s, burst, most, runq_us
        self._wanted = wanted or FlowFilter()
        self._every_s = every_s
        self._drain: _Drain | None = None
        self._stream: EventStream | None = None
        self._taken: npt.NDArray[Any] | None = None
        self._used_s = 0.0

    def forget(self, scope: Scope) -> None:
        """Begin at 0, and read the ring from now on."""
        self.let_go()
        self._stream, self._taken, self._used_s = None, None, 0.0
        write_ends(self.programs.view("filter")[0], self._wanted)
        self.programs.view("buckets")[:] = 0
        self.programs.view("waits")[:] = 0
        budget = self.programs.view("budget")[0]
        budget["interval_ns"] = _NS // self._per_s
        budget["burst_ns"] = (self._burst - 1) * (_NS // self._per_s)
        budget["runq_ns"] = self._runq_us * 1000
        self._drain = _Drain(
            self.programs.loaded.ring("events"), OverflowWatch(scope.netns_paths), self._most, self._every_s
        )
        self._drain.start()

    def first_look(self) -> None:
        """Open the window; called when the warm-up is over, maybe in another thread."""
        if self._drain is not None:
            self._drain.watch_counters()
        super().first_look()

    def counted(self) -> Maps:
        """Return nothing: events are of a moment, not of a stretch of time."""
        return {}

    def between(self, first: object, second: object) -> Observation:
        """Return nothing; the whole trial's events have their times."""
        del first, second
        return Observation(collector=self.name)

    def read(self, look: Look) -> Seen:
        """Take what is left in the ring, and say what share of each kind was told."""
        del look
        drain = self._drain
        if drain is None:
            raise CollectError("the events collector was not begun")
        drain.finish()
        self._used_s = drain.cpu_s
        self._stream = self._stream_of(*drain.taken(), self.programs.view("buckets"))
        return Seen(warnings=tuple(self._told(self._stream.counts)))

    def take(self) -> EventStream:
        """Return the events since the last `take`, while counting goes on: for who looks again and again."""
        drain = self._drain
        if drain is None:
            raise CollectError("the events collector was not begun")
        records, overflows = drain.taken()
        buckets = self.programs.view("buckets").copy()
        grown, before = buckets.copy(), self._taken
        buckets["told"] = 0
        # An event is seen before it is told: what is between them belongs to the next look.
        bucket = records["kind"].astype(np.int64) * programs.cpu_count() + records["cpu"]
        np.maximum.at(buckets["told"], bucket, records["ordinal"] + 1)
        if before is not None:
            records["ordinal"] -= before["told"][bucket]
            for name in ("seen", "no_room"):
                grown[name] -= before[name]
            np.maximum(buckets["told"], before["told"], out=buckets["told"])
        self._taken = buckets
        return self._stream_of(records, overflows, grown)

    def _stream_of(
        self, records: npt.NDArray[Any], overflows: tuple[ListenOverflow, ...], buckets: npt.NDArray[Any]
    ) -> EventStream:  # fmt: skip
        reasons = all_reasons()
        counts = counted(buckets, records)
        if overflows:
            total = sum(one.count for one in overflows)
            counts[EventKind.LISTEN_OVERFLOW] = EventCount(seen=total, told=total)
        return EventStream(
            records=records, hosts=tuple(self.programs.hosts), start_ns=self.programs.opened_ns, counts=counts,
            overflows=overflows, reasons={number: name for name, number in reasons.items()},
            drop_metrics=reason_metrics(reasons),
        )  # fmt: skip

    def do_less(self, share: float) -> str | None:
        """Tell no waits for a CPU any more: their program alone runs often, at each switch of tasks."""
        del share
        loaded = self.programs.loaded
        if _SWITCH not in loaded.programs or loaded.programs[_SWITCH].link_fd < 0:
            return None
        loaded.detach(_SWITCH)
        return "events: waits for a CPU are not told any more"

    def end(self) -> Observation:
        """Stop, and give the events of the window."""
        seen = super().end()
        stream, self._stream = self._stream, None
        lost = sum(one.lost for one in stream.counts.values()) if stream is not None else 0
        overhead = replace(seen.overhead, user_cpu_s=seen.overhead.user_cpu_s + self._used_s)
        return replace(seen, events=stream, lost_events=seen.lost_events + lost, overhead=overhead)

    def let_go(self) -> None:
        """Read no more, and let go of the hosts; safe to call twice."""
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.abandon()

    def _told(self, counts: Mapping[EventKind, EventCount]) -> Iterator[str]:
        for kind, one in counts.items():
            if one.sampled_out:
                yield (
                    f"events: {one.told:,} of {one.seen:,} of kind {kind.label} were written "
                    f"({readable_pct(one.share_pct, 3)}): "
                    f"each CPU may tell {self._per_s:,} a second"
                )


class _Drain(threading.Thread):
    """Empties the ring, and looks at the hosts' counters, until it is told to finish."""

    def __init__(self, ring: MappedRing, watch: OverflowWatch, most: int, every_s: float) -> None:
        super().__init__(name="events", daemon=True)
        self.watch = watch
        self.cpu_s = 0.0
        self._ring, self._most, self._every_s = ring, most, every_s
        self._chunks: list[npt.NDArray[Any]] = []
        self._kept = 0
        self._ring.skip()
        self._watching = threading.Event()
        self._looking = threading.Lock()
        self._done = threading.Event()
        self._problem: BaseException | None = None

    def run(self) -> None:
        """Look again and again; what goes wrong is told by `finish`."""
        try:
            while not self._done.wait(self._every_s):
                self._look()
            self._look()
        except BaseException as problem:  # noqa: BLE001 - told in the thread that waits
            self._problem = problem
        finally:
            self.cpu_s = time.thread_time()

    def watch_counters(self) -> None:
        """Have the counters' growth told from now on; from any thread."""
        self.watch.look()
        self._watching.set()

    def finish(self) -> None:
        """Take what is left; CollectError where reading failed."""
        self.abandon()
        if self._problem is not None:
            raise CollectError(f"events cannot be read: {self._problem}") from self._problem

    def abandon(self) -> None:
        """Read no more, whatever became of it; safe to call twice."""
        self._done.set()
        if self.is_alive():
            self.join()
        self.watch.close()

    def taken(self) -> tuple[npt.NDArray[Any], tuple[ListenOverflow, ...]]:
        """Take all records so far out, in the order of time, and the overflows; from any thread."""
        with self._looking:
            if self.is_alive():
                self._look_now()
            chunks, self._chunks, self._kept = self._chunks, [], 0
            overflows, self.watch.found[:] = tuple(self.watch.found), []
        if not chunks:
            return np.zeros(0, self._ring.record), overflows
        together = np.concatenate(chunks)
        return together[np.argsort(together["ns"], kind="stable")], overflows

    def _look(self) -> None:
        with self._looking:
            self._look_now()

    def _look_now(self) -> None:
        records = self._ring.take()[: self._most - self._kept]
        if len(records):
            self._kept += len(records)
            self._chunks.append(records)
        if self._watching.is_set():
            self.watch.look()


def counted(buckets: npt.NDArray[Any], records: npt.NDArray[Any]) -> dict[EventKind, EventCount]:
    """Add `pc_bucket`s up, a kind at a time, beside the records that were kept; kinds without an event are left out."""
    by_kind = buckets.reshape(_KINDS, -1)
    told = np.bincount(records["kind"], minlength=_KINDS)
    return {
        EventKind(kind): EventCount(seen=max(seen, int(told[kind]) + lost), told=int(told[kind]), lost=lost)
        for kind in range(1, _KINDS)
        for lost in (int(by_kind[kind]["no_room"].sum(dtype=np.uint64)),)
        if (seen := int(by_kind[kind]["seen"].sum(dtype=np.uint64))) or told[kind]
    }
