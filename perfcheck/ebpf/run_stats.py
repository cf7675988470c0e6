"""How long BPF programs run, by the kernel's own clock. If they run often, they are timed for a part of the time only.

With BPF_ENABLE_STATS the kernel reads its clock twice for each call of each program. That takes longer than most of
perfcheck's programs. Up to OFTEN calls a second the cost is negligible, and all calls are timed. Above that, spans of
ON_S are timed, and pauses about fifteen times as long are not. The pauses are random, so no traffic keeps step with
them. The timed spans represent the time around them. Programs that may be `sampled` are detached outside of the
spans. While programs run seldom, only the few that run most are read, and only now and then. Between trials none is.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from perfcheck.ebpf.libbpf import Libbpf, RunCounters

OFTEN: Final = 50_000
ON_S: Final = 0.05
OFF_S: Final = (0.5, 1.0)
LOOK_S: Final = 0.25
FEW_S: Final = 0.5
WHOLE_LOOK: Final = 2
"""One in so many looks at programs that run seldom is at all of them."""
_BUSIEST: Final = 4
_SUSPECT: Final = 0.8
"""From this share of OFTEN on, by the looks at a few, it is worth knowing how often all of them run."""
_NOTHING: Final = RunCounters(0, 0, 0)


class Sampled(Protocol):
    """Programs that need not run all the time."""

    def pause(self) -> None:
        """Detach them."""

    def resume(self) -> None:
        """Attach them again."""


@runtime_checkable
class Timed(Protocol):
    """A collector whose BPF programs can share a clock with others'."""

    @property
    def clock(self) -> RunClock:
        """The clock that times the programs."""

    def timed_by(self, clock: RunClock) -> None:
        """Take the clock; before the programs are loaded."""


@dataclass(slots=True)
class _Account:
    """One program: what the kernel had counted when the span began, and what came of all spans."""

    whole_spans: bool
    before: RunCounters = _NOTHING
    calls: float = 0.0
    run_ns: float = 0.0
    span: tuple[int, int] = (0, 0)
    seen: tuple[int, float] = (0, 0.0)
    """Calls that the last look found, and when."""

    def rate(self, calls: int, now_s: float) -> float:
        """Return calls a second since the last look, for which this one now stands."""
        before, self.seen = self.seen, (calls, now_s)
        return (calls - before[0]) / (now_s - before[1]) if now_s > before[1] else 0.0

    def look(self, now: RunCounters) -> None:
        """Take what the kernel has counted since the span began."""
        self.span = now.calls - self.before.calls, now.run_ns - self.before.run_ns

    def sums(self, weight: float) -> tuple[float, float]:
        """Return calls and run time of all spans, this one as often as it stands for."""
        weight = 1.0 if self.whole_spans else weight
        return self.calls + self.span[0] * weight, self.run_ns + self.span[1] * weight


@dataclass(slots=True)
class _Span:
    """When timing began; when it ended (0: it goes on)."""

    began_s: float = 0.0
    ended_s: float = 0.0

    def weight(self, now_s: float) -> float:
        """What the span stands for, as a multiple of its length."""
        ended_s = self.ended_s or now_s
        return (now_s - self.began_s) / (ended_s - self.began_s) if ended_s > self.began_s else 1.0


class RunClock:
    """The clock of all programs of a session, which its collectors share; it has one thread while it is used."""

    def __init__(
        self, often: float = OFTEN, lib: Libbpf | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take how many calls a second are too many to be timed all; nothing is timed before `watch`."""
        self._often = often
        self._lib = lib
        self._clock = clock
        self._lock = threading.RLock()
        self._accounts: dict[int, _Account] = {}
        self._sampled: list[Sampled] = []
        self._span = _Span()
        self._busiest: list[int] = []
        self._looks = 0
        self._stats_fd = -1
        self._refused = False
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._cpu_s = 0.0

    @property
    def refused(self) -> bool:
        """Whether the kernel does not time programs."""
        return self._refused

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """The thread, while there is one."""
        return () if self._thread is None else (self._thread,)

    def watch(self, prog_fds: Sequence[int], sampled: Collection[int] = ()) -> None:
        """Time these programs from now on; calls of `sampled` ones are counted for the spans they run in alone."""
        with self._lock:
            for fd in prog_fds:
                self._accounts[fd] = _Account(whole_spans=fd in sampled)
            self._begin_anew()
            self._start()

    def sample(self, group: Sampled) -> None:
        """Have a group of programs run in timed spans alone while programs run often; it runs now."""
        with self._lock:
            self._begin_anew()
            self._sampled.append(group)

    def renew(self) -> None:
        """Time again after a rest, and end a span that is not timed: what begins now is nothing like what was."""
        with self._lock:
            if self._stats_fd < 0 and self._accounts:
                self._begin_anew()
                self._start()

    def rest(self) -> None:
        """Time nothing until `renew`: between trials nobody asks."""
        with self._lock:
            if not self._span.ended_s:
                self._close_span()
            self._settle()
            now_s = self._clock()
            self._span = _Span(now_s, now_s)
            self._let_rest()
            thread = self._stop()
        _await(thread)

    def forget(self, prog_fds: Collection[int], group: Sampled | None = None) -> None:
        """Time these programs no more; safe to call twice."""
        with self._lock:
            self._sampled = [one for one in self._sampled if one is not group]
            for fd in prog_fds:
                self._accounts.pop(fd, None)
            if self._accounts:
                return
            thread = self._stop()
            self._let_rest()
        _await(thread)

    def counters(self, prog_fds: Mapping[str, int]) -> dict[str, RunCounters]:
        """Return each program's calls and run time since `watch`, which never fall; `missed` is exact."""
        with self._lock:
            weight = self._span.weight(self._clock())
            return {name: self._counters(fd, weight) for name, fd in prog_fds.items()}

    def known_ns(self, prog_fds: Collection[int]) -> int:
        """Return the programs' run time since `watch` as the last look at all had it: the kernel is not asked."""
        with self._lock:
            weight = self._span.weight(self._clock()) if self._span.ended_s else 1.0
            return round(sum(self._accounts[fd].sums(weight)[1] for fd in prog_fds))

    def take_cpu_s(self) -> float:
        """Return the CPU seconds that the thread has taken and nobody has been told of."""
        with self._lock:
            taken, self._cpu_s = self._cpu_s, 0.0
            return taken

    def _start(self) -> None:
        if self._thread is None and not self._refused:
            self._done = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._done,), name="run clock", daemon=True)
            self._thread.start()

    def _stop(self) -> threading.Thread | None:
        """Return the thread that is to be waited for, without the lock that it may wait for."""
        thread, self._thread = self._thread, None
        self._done.set()
        return thread

    def _counters(self, fd: int, weight: float) -> RunCounters:
        mine, kernels = self._accounts[fd], self._read(fd)
        if not self._span.ended_s:
            mine.look(kernels)
        calls, run_ns = mine.sums(weight)
        return RunCounters(round(run_ns), round(calls), kernels.missed)

    def _read(self, fd: int) -> RunCounters:
        if self._lib is None:
            self._lib = Libbpf()
        return self._lib.run_counters(fd)

    def _begin_anew(self) -> None:
        """Settle what was seen so far and begin a new span."""
        if not self._span.ended_s:
            self._close_span()
        self._settle()
        self._begin_span()

    def _begin_span(self) -> None:
        if self._stats_fd < 0:
            self._lib = self._lib or Libbpf()
            try:
                self._stats_fd = self._lib.enable_stats()
            except OSError:
                self._refused = True
            for group in self._sampled:
                group.resume()
        now_s = self._clock()
        for fd, account in self._accounts.items():
            account.before = self._read(fd)
            account.seen = account.before.calls, now_s
        self._busiest = []
        self._span = _Span(began_s=now_s)

    def _close_span(self) -> None:
        """Take what the kernel has counted; it may go on counting."""
        for fd, account in self._accounts.items():
            account.look(self._read(fd))
        self._span.ended_s = self._clock()

    def _settle(self) -> None:
        weight = self._span.weight(self._clock())
        for account in self._accounts.values():
            account.calls, account.run_ns = account.sums(weight)
            account.span = (0, 0)

    def _let_rest(self) -> None:
        if self._stats_fd >= 0:
            os.close(self._stats_fd)
            self._stats_fd = -1

    # From here on: in the thread.

    def _run(self, done: threading.Event) -> None:
        wait_s, told_s = LOOK_S, 0.0
        while not done.wait(wait_s):
            with self._lock:
                if done.is_set():
                    return
                wait_s = self.turn()
                used_s = time.thread_time()
                self._cpu_s += used_s - told_s
                told_s = used_s

    def turn(self) -> float:
        """Begin or end a timed span; gives for how many seconds what is now shall last. The thread calls it."""
        if self._stats_fd < 0:
            self._settle()
            self._begin_span()
            return ON_S
        if self._busiest:
            if self._rate() <= _SUSPECT * self._often:
                return FEW_S
            self._begin_anew()
            return ON_S
        self._close_span()
        calls = sum(account.span[0] for account in self._accounts.values())
        if calls <= self._often * (self._span.ended_s - self._span.began_s):
            busiest = sorted(self._accounts, key=lambda fd: self._accounts[fd].span[0])[-_BUSIEST:]
            self._settle()
            self._begin_span()
            self._busiest = busiest
            return LOOK_S
        for group in self._sampled:
            group.pause()
        self._let_rest()
        return random.uniform(*OFF_S)  # noqa: S311 - nothing secret

    def _rate(self) -> float:
        """Return how often the programs ran that were looked at."""
        self._looks += 1
        whole, now_s = self._looks % WHOLE_LOOK == 0, self._clock()
        rates: dict[int, float] = {}
        for fd, account in self._accounts.items():
            if whole or fd in self._busiest:
                account.look(kernels := self._read(fd))
                rates[fd] = account.rate(kernels.calls, now_s)
        if whole:
            self._busiest = sorted(rates, key=rates.__getitem__)[-_BUSIEST:]
        return sum(rates.values())


def _await(thread: threading.Thread | None) -> None:
    if thread is not None and thread is not threading.current_thread():
        thread.join()
