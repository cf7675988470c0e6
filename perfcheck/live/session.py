"""A live machine as intervals: collectors on its own network namespace, or on others, and what they saw each time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from perfcheck.analyse.alerts import alerts_of
from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect import collectors, prepare
from perfcheck.collect.events.collector import EventsCollector
from perfcheck.collect.session import Core, Snapshot
from perfcheck.collect.sockdiag.collector import SockdiagCollector
from perfcheck.collect.sockdiag.live import LACKS, UNSEEN, PolledTcp
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.collect.tcp.live import LiveTcp, Read
from perfcheck.errors import CollectError, Stopped, Unavailable
from perfcheck.live.figures import tcp_figures
from perfcheck.model.budget import Budget
from perfcheck.model.event import Event
from perfcheck.model.interval import Accounting, Interval, LiveRequest
from perfcheck.model.observation import Observation, Scope
from perfcheck.model.seams import Collector
from perfcheck.system.clock import epoch_ns, now_ns

OWN: Final = ""
"""Name of the machine's own network namespace."""
_OWN_PATH: Final = "/proc/self/ns/net"
_STRETCHED: Final = 8
"""So many times the interval at most: longer ones would tell too late."""
_OVER: Final = 3
_OF_COLLECTORS: Final = 0.8
"""So much of the ceiling is the collectors'; the rest is for what is made of their figures."""
_EMPTIED_S: Final = 0.5
_LOOKED_S: Final = 2.0
"""Collectors shed after three looks in a row: later than intervals become longer."""


class LiveSession:
    """Collectors attached to a live machine; iterating gives an interval after the other. Ends with the `with` block.

    `stop` may be called from a signal's handler or another thread: the interval that is under way is given at once.
    """

    def __init__(self, request: LiveRequest) -> None:
        """Attach nothing yet."""
        self.request = request
        self.lacks: dict[str, str] = {}
        self._tcp: LiveTcp | PolledTcp | None = None
        self._events: EventsCollector | None = None
        self._core: Core | None = None
        self._opened: list[Collector] = []
        self._stopped = threading.Event()
        self._spent = _Spending(request.cpu_ceiling_pct)
        self._number = self._first_event = 0

    def __enter__(self) -> Self:
        """Attach; Unavailable where not even sock_diag answers, UsageError for a namespace that is not there."""
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Detach all."""
        self.close()

    @property
    def connections(self) -> int:
        """How many connections are watched now, before any interval is over."""
        return 0 if self._tcp is None else self._tcp.connections

    def stop(self) -> None:
        """Let the interval that is under way be the last."""
        self._stopped.set()

    def _begin(self) -> None:
        request = self.request
        scope = scope_of(request.netns)
        layers = _layers(request)
        prepare(layers, events=request.events)
        wanted: list[Collector] = [
            one for one in collectors(layers) if not isinstance(one, (TcpCollector, SockdiagCollector))
        ]
        clock = next((one.clock for one in wanted if hasattr(one, "clock")), None)
        tcp = LiveTcp(request.filter, request.max_flows, samples_sending=request.send_side)
        if request.events:
            self._events = EventsCollector(wanted=request.filter, every_s=_EMPTIED_S)
            wanted.append(self._events)
        for one in (tcp, self._events):
            if one is not None and clock is not None:
                one.timed_by(clock)
        self._tcp = tcp if self._attached(tcp) else self._polled()
        if request.send_side and not (self._tcp is tcp and tcp.samples_sending):
            self.lacks["send side"] = "no program runs where segments leave: distributions of the ACK side alone"
        attached = [one for one in wanted if self._attached(one)]
        if self._events not in attached:
            self._events = None
        self._core = Core([self._tcp, *attached], _budget(request), window_s=_LOOKED_S)
        self._core.begin(scope)
        if isinstance(self._tcp, PolledTcp) and not self._tcp.notified:
            self.lacks[UNSEEN] = "the kernel tells of them only who has CAP_NET_ADMIN"
        self._spent.begin()

    def _attached(self, one: Collector) -> bool:
        try:
            one.check()
            one.open()
        except Unavailable as lacking:
            self.lacks[one.name] = str(lacking)
            return False
        self._opened.append(one)
        return True

    def _polled(self) -> PolledTcp:
        polled = PolledTcp(self.request.filter)
        polled.check()
        polled.open()
        self.lacks[LACKS] = self.lacks.pop("tcp", "BPF is not available")
        self._opened.append(polled)
        return polled

    def __iter__(self) -> Iterator[Interval]:
        """Yield each interval as soon as it is over, until `stop`, or the end of the request's duration."""
        core, tcp = self._core, self._tcp
        if core is None or tcp is None:
            return
        request, begun_ns = self.request, now_ns()
        end_ns = None if request.duration_ns is None else begun_ns + request.duration_ns
        before, due_ns = core.snapshot(), begun_ns
        while True:
            due_ns = max(due_ns + request.interval_ns * self._spent.stretch, now_ns())
            if end_ns is not None and due_ns > end_ns - request.interval_ns // 10:
                due_ns = end_ns
            interrupted: BaseException | None = None
            try:
                self._stopped.wait(max(due_ns - now_ns(), 0) / 1e9)
            except (KeyboardInterrupt, Stopped) as signal:
                interrupted = signal
            interval, before = self._interval(core, tcp, before)
            yield interval
            if interrupted is not None:
                # What happened up to the signal has been told.
                raise interrupted
            if self._stopped.is_set() or (end_ns is not None and now_ns() >= end_ns):
                return

    def _interval(self, core: Core, tcp: LiveTcp | PolledTcp, before: Snapshot) -> tuple[Interval, Snapshot]:
        read, after = tcp.read(), core.snapshot()
        seen = core.between(before, after)
        # Nothing is asked about the time before any more; an hour of looks would fill the memory.
        core.drop_before(after)
        seconds = max(read.ended_ns - read.began_ns, 1) / 1e9
        metrics = layer_metrics(seen) | tcp_figures(read.flows, read.histograms, seconds)
        histograms = {name: one for each in seen for name, one in each.distributions.items()} | dict(read.histograms)
        interval = Interval(
            number=self._number, begin_ns=read.began_ns, end_ns=read.ended_ns, epoch_ns=epoch_ns(), flows=read.flows,
            metrics=metrics, hosts=_by_host(seen), interfaces=_by_interface(seen), histograms=histograms,
            events=self._events_since(), accounting=self._accounting(core, read, seen), lacks=dict(self.lacks),
        )  # fmt: skip
        self._number += 1
        return interval, after

    def _events_since(self) -> tuple[Event, ...]:
        if self._events is None or self._core is None or not self._core.is_running(self._events):
            return ()
        try:
            stream = self._events.take()
        except CollectError:
            return ()  # It was stopped meanwhile.
        events = tuple(alerts_of(stream, (), self._first_event, lambda *_: ()))
        self._first_event += len(events)
        return events

    def _accounting(self, core: Core, read: Read, seen: Sequence[Observation]) -> Accounting:
        bpf_pct = sum(pct for name, pct in core.used_pct.items() if name != "budget")
        stretch = self._spent.stretch  # of this interval; what comes of it here is the next one's
        collectors_pct = sum(core.used_pct.values())
        cpu_pct = self._spent.look(core.program_ns(), sheds=collectors_pct > _budget(self.request).cpu_pct)
        self._spent.keep_room(len(read.flows) / self.request.max_flows, refused=read.refused > 0)
        shed = tuple({one.collector: one.what for one in core.spending_so_far.shed}.values())
        shed += stretched_text(stretch, read.ended_ns - read.began_ns, self.request.interval_ns)
        if read.unranked:
            shed += (f"percentiles of RTT: {read.unranked} connections with few samples have none",)
        return Accounting(
            opened=read.opened, ended=read.ended, refused=read.refused, lost=sum(one.lost_events for one in seen),
            cpu_pct=cpu_pct, bpf_pct=min(bpf_pct, cpu_pct), shed=shed,
        )  # fmt: skip

    def close(self) -> None:
        """Detach all; safe to call twice."""
        if self._core is not None:
            core, self._core = self._core, None
            core.abandon()
        opened, self._opened = self._opened, []
        for one in reversed(opened):
            with contextlib.suppress(OSError):
                one.close()


class _Spending:
    """What this process and its programs take of one CPU, and how long intervals are to be for that."""

    def __init__(self, ceiling_pct: float) -> None:
        self._ceiling_pct = ceiling_pct
        self._before = (0.0, 0.0)
        self._programs_ns = -1
        self._over = 0
        self._crowded = False
        self.stretch = 1

    def begin(self) -> None:
        """Count from now on."""
        self._before = (time.monotonic(), time.process_time())

    def look(self, programs_ns: int, *, sheds: bool) -> float:
        """Return the share since the last look, in percent; what stays above the ceiling stretches the intervals.

        First they become twice as long. While the collectors are over their part, these shed then; last they grow on.
        """
        at_s, own_s = time.monotonic(), time.process_time()
        first = self._programs_ns < 0
        # A collector that was stopped takes its run time with it.
        grown_ns = 0 if first else max(programs_ns - self._programs_ns, 0)
        seconds = max(at_s - self._before[0], 1e-6)
        used_pct = 100 * (own_s - self._before[1] + grown_ns / 1e9) / seconds
        self._before, self._programs_ns = (at_s, own_s), programs_ns
        # What beginning took is not what going on takes.
        self._over = (
            self._over + 1 if used_pct > self._ceiling_pct and not first and (self.stretch == 1 or not sheds) else 0
        )
        if self._over >= _OVER and self.stretch < _STRETCHED and not self._crowded:
            self.stretch, self._over = self.stretch * 2, 0
        return used_pct

    def keep_room(self, used: float, *, refused: bool) -> None:
        """Look more often again where connections that ended fill the records: none is to go untold."""
        self._crowded = used > 1 / 4
        if refused or used > 1 / 2:
            self.stretch = max(self.stretch // 2, 1)


def stretched_text(stretch: int, lasted_ns: int, asked_ns: int) -> tuple[str, ...]:
    """Return what is said of an interval that was to be longer; the last one may end sooner, as it was asked for."""
    longer = stretch > 1 and lasted_ns > asked_ns * 3 // 2
    return (f"intervals are {stretch} times as long as asked for",) if longer else ()


def _budget(request: LiveRequest) -> Budget:
    return Budget(cpu_pct=_OF_COLLECTORS * request.cpu_ceiling_pct, always=True)


def scope_of(netns: Sequence[str]) -> Scope:
    """Return the scope of network namespaces by name, path or `pid:N`; of none the machine's own."""
    paths = {name: namespace_path(name) for name in netns} or {OWN: _OWN_PATH}
    return Scope(
        namespaces={name: Path(path).stat().st_ino for name, path in paths.items()}, netns_paths=paths, warmup_ns=0
    )


def namespace_path(name: str) -> str:
    """Return the file of a network namespace: a name of ip-netns(8), a path, or a process's number."""
    if name.isdigit():
        return f"/proc/{name}/ns/net"
    return name if os.sep in name else f"/run/netns/{name}"


def _layers(request: LiveRequest) -> Literal["all"] | tuple[str, ...]:
    if request.layers == "all":
        return "all"
    chosen = (request.layers,) if isinstance(request.layers, str) else request.layers
    return tuple(dict.fromkeys((*chosen, "tcp")))


def _by_host(seen: Iterable[Observation]) -> Mapping[str, Mapping[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in seen:
        for host, metrics in one.by_host.items():
            found.setdefault(host, {}).update(metrics)
    return found


def _by_interface(seen: Iterable[Observation]) -> Mapping[tuple[str, str], Mapping[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    for one in seen:
        for where, metrics in one.by_interface.items():
            found.setdefault(where, {}).update(metrics)
    return found


def open_live(request: LiveRequest) -> LiveSession:
    """Return a session of the live machine for a `with` block."""
    return LiveSession(request)
