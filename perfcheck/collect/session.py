"""The collectors of a session as one: started and stopped together, and kept within the budget in between."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from perfcheck.collect import declared
from perfcheck.collect import shedding as decision
from perfcheck.collect.phases import PhaseSnapshots
from perfcheck.collect.series.queues import HostQueues, LinkQueues
from perfcheck.collect.series.sampler import Sampler, Sampling
from perfcheck.collect.series.source import Charted, Source
from perfcheck.ebpf.run_stats import RunClock, Timed
from perfcheck.errors import CollectError, PerfcheckError
from perfcheck.model.budget import Budget, Shedding, Spending
from perfcheck.model.observation import Observation, QueueLook, Scope
from perfcheck.model.seams import Collector, Frugal, Keeping, Sampled
from perfcheck.model.series import Samples
from perfcheck.model.units import readable_pct
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread

WINDOW_S: Final = 1.0
_OWN: Final = "budget"
Queues = tuple[QueueLook, ...]
_TROUBLE: Final = (PerfcheckError, OSError, RuntimeError)
_DEVICES: Final = "/proc/thread-self/net/dev"
_READ_BYTES: Final = 1 << 16
_RX_PACKETS: Final = 1  # column of /proc/net/dev after the name
_CLOCK_OF_THREAD: Final = 6  # CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED (include/linux/posix-timers_types.h)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What all collectors that can be read meanwhile had counted at one moment, by their names, and links' queues."""

    taken_ns: int
    taken: Mapping[str, object]
    queues: Queues = ()


class Core:
    """Collectors that are attached. What one of them sheds stays shed for all further trials.

    `window_s` is the time between two looks at what they cost.
    """

    def __init__(self, collectors: Iterable[Collector], budget: Budget, window_s: float = WINDOW_S) -> None:
        """Begin nothing yet."""
        self._running = list(collectors)
        self._watch = decision.Watch(budget)
        self._window_s = window_s
        self._order: list[str] = []
        self._stopped: dict[str, Observation] = {}
        self._thread: _Governor | None = None
        self._spending = Spending()
        self._earlier: tuple[Shedding, ...] = ()
        self._phases: PhaseSnapshots[Snapshot] | None = None
        self._by_phase: Mapping[str, tuple[Observation, ...]] = {}
        self._queues_by_phase: Mapping[str, tuple[Queues, Queues]] = {}
        self._look_at_queues: Callable[[], Queues] | None = None
        self._sampler: Sampler | None = None
        self._samples: Samples | None = None
        # A collector is not stopped while it is read.
        self._reading = threading.Lock()

    @property
    def spending(self) -> Spending:
        """What was spent and shed in the last trial that ended."""
        return self._spending

    @property
    def spending_so_far(self) -> Spending:
        """What has been spent and shed since `begin`."""
        thread = self._thread
        return self._spending if thread is None else replace(thread.spending, earlier=self._earlier)

    def is_running(self, collector: Collector) -> bool:
        """Return whether a collector still measures: those that were stopped are closed."""
        return collector in self._running

    def program_ns(self) -> int:
        """Return the run time of the programs of those that still measure, since they were loaded."""
        with self._reading:
            return sum(one.program_ns() for one in self._running if isinstance(one, Frugal))

    @property
    def used_pct(self) -> Mapping[str, float]:
        """What each collector took of one CPU, in percent, at the latest look."""
        return {} if self._thread is None else self._thread.used_pct

    @property
    def by_phase(self) -> Mapping[str, tuple[Observation, ...]]:
        """What was seen in each phase of the last trial that ended, by the collectors that can be read meanwhile."""
        return self._by_phase

    @property
    def queues_by_phase(self) -> Mapping[str, tuple[Queues, Queues]]:
        """The links' queues when each phase of the last trial that ended began, and when it ended."""
        return self._queues_by_phase

    @property
    def shed_collectors(self) -> frozenset[str]:
        """Names of the collectors that do less than they could."""
        return frozenset(one.collector for one in (*self._earlier, *self._spending.shed))

    def join(self, collectors: Iterable[Collector]) -> None:
        """Have these measure as well, from the next trial on."""
        self._running += collectors

    def begin(
        self, scope: Scope, sampling: Sampling | None = None, queues: Callable[[], Queues] | None = None
    ) -> None:  # fmt: skip
        """Begin all collectors that are not stopped, watch what they cost, and sample them where that is wanted.

        `queues` looks at the links' queues, for phases.
        """
        self._stop_watching()
        self.drop_samples()
        self._earlier += self._spending.shed
        self._stopped, self._spending, self._by_phase, self._queues_by_phase = {}, Spending(), {}, {}
        self._look_at_queues = queues
        self._order = [one.name for one in self._running]
        for clock in self._clocks():
            clock.renew()
        threads = {_OWN: [thread for clock in self._clocks() for thread in clock.threads]}
        for collector in self._running:
            before = set(threading.enumerate())
            collector.begin(scope)
            threads[collector.name] = [one for one in threading.enumerate() if one not in before]
        if sampling is not None:
            self._sampler = Sampler(self._sources(scope, sampling), sampling.interval_ns)
            self._sampler.start()
            threads[self._sampler.name] = [self._sampler]
        self._thread = _Governor(self, self._watch, _Meter(self._running, threads, scope.netns_paths), self._window_s)
        self._thread.start()
        if scope.phases_ns:
            self._phases = PhaseSnapshots(scope.phases_ns, self.snapshot)
            self._phases.start()

    def _sources(self, scope: Scope, sampling: Sampling) -> list[Source]:
        """Return what is sampled: each collector that can be, and the queues where netlink's collector is there."""
        found: list[Source] = [one.series() for one in self._running if isinstance(one, Charted)]
        if any(one.name == declared.NETLINK.name for one in self._running):
            found.append(HostQueues(scope.netns_paths, sampling.directions))
        if sampling.links:
            found.append(LinkQueues(sampling.links))
        return found

    def end(self) -> tuple[Observation, ...]:
        """Return what was seen since `begin`, of a collector that was stopped what it cost alone."""
        self._stop_watching()
        phases, self._phases = self._phases, None
        taken = {} if phases is None else phases.finish()
        self._samples = self._sampler.finish() if self._sampler is not None else None
        seen = {one.name: one.end() for one in self._running} | self._stopped
        self._let_clocks_rest()
        # Only now: the last phase ends where the trial does.
        self._by_phase = {name: self.between(first, last) for name, (first, last) in taken.items()}
        self._queues_by_phase = {name: (first.queues, last.queues) for name, (first, last) in taken.items()}
        return tuple(seen[name] for name in self._order)

    def snapshot(self) -> Snapshot:
        """Return what has been counted since `begin`, while it goes on; from any thread."""
        with self._reading:
            taken_ns = now_ns()
            taken = {one.name: one.snapshot() for one in self._running if isinstance(one, Sampled)}
        return Snapshot(taken_ns=taken_ns, taken=taken, queues=self._look_at_queues() if self._look_at_queues else ())

    def between(self, first: Snapshot, second: Snapshot) -> tuple[Observation, ...]:
        """Return what was seen between two snapshots of the trial, by the collectors that both have."""
        with self._reading:
            return tuple(
                one.between(first.taken[one.name], second.taken[one.name])
                for one in self._running
                if isinstance(one, Sampled) and one.name in first.taken and one.name in second.taken
            )

    def drop_before(self, snapshot: Snapshot) -> None:
        """Let collectors go of what they keep of the time before a snapshot."""
        with self._reading:
            for one in self._running:
                if isinstance(one, Keeping) and one.name in snapshot.taken:
                    one.drop_before(snapshot.taken[one.name])

    @property
    def samples(self) -> Samples | None:
        """What was sampled in the last trial that ended; it can be read until `drop_samples`."""
        return self._samples

    def drop_samples(self) -> None:
        """End sampling, and remove what was sampled; safe to call twice."""
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = self._samples = None

    def abandon(self) -> None:
        """End a trial that failed: what collectors hold of the hosts would outlive them."""
        self.drop_samples()
        with contextlib.suppress(CollectError):
            self._stop_watching()
        if self._phases is not None:
            self._phases.stop()
            self._phases = None
        for collector in self._running:
            with contextlib.suppress(*_TROUBLE):
                collector.end()
        self._let_clocks_rest()

    def _clocks(self) -> Iterable[RunClock]:
        return {id(one.clock): one.clock for one in self._running if isinstance(one, Timed)}.values()

    def _let_clocks_rest(self) -> None:
        for clock in self._clocks():
            clock.rest()

    def _stop_watching(self) -> None:
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.finish()
            # What was shed counts even where looking went wrong afterwards.
            self._spending = replace(thread.spending, earlier=self._earlier)
            if thread.problem is not None:
                raise CollectError(f"the cost of measuring cannot be read: {thread.problem}") from thread.problem

    # From here on: in the thread.

    def take(self, step: decision.Step, share: float) -> str | None:
        """Take a step to use about `share` of what is used now; gives what was done, None where it was nothing."""
        collector = next((one for one in self._running if one.name == step.collector), None)
        if collector is None:
            return None
        if step.stop:
            self._stop(collector)
            return f"{collector.name} was stopped"
        return collector.do_less(share) if isinstance(collector, Frugal) else None

    def _stop(self, collector: Collector) -> None:
        """Stop and detach: figures of a part of the trial would pass for those of all of it."""
        seen = Observation(collector=collector.name)
        with self._reading:
            with contextlib.suppress(*_TROUBLE):
                seen = collector.end()
            self._running.remove(collector)
        self._stopped[collector.name] = replace(
            seen,
            tcp_sockets=(),
            socket_buffers=(),
            host_counters=(),
            metrics={},
            distributions={},
            by_host={},
            by_interface={},
            detail=None,
            events=None,
        )
        collector.close()


class _Meter:
    """Reads what each collector has used of the CPUs, and how many packets the hosts have received."""

    def __init__(
        self, collectors: Iterable[Collector], threads: Mapping[str, list[threading.Thread]], paths: Mapping[str, str]
    ) -> None:
        self._frugal = {one.name: one for one in collectors if isinstance(one, Frugal)}
        self._threads = {name: [one.native_id for one in mine if one.native_id] for name, mine in threads.items()}
        self._used_s: dict[int, float] = {}
        self._devices: list[int] = []
        try:
            with NetnsThread() as namespaces:
                for path in paths.values():
                    self._devices.append(namespaces.inside(path, lambda: os.open(_DEVICES, os.O_RDONLY | os.O_CLOEXEC)))
        except OSError as problem:
            self.close()
            raise CollectError(f"{_DEVICES} of a host cannot be opened: {problem.strerror}") from problem

    def used_s(self) -> dict[str, float]:
        """Return CPU seconds by collector so far, the meter's own among them."""
        used = {name: sum(map(self._thread_s, mine)) for name, mine in self._threads.items()}
        for name, collector in self._frugal.items():
            used[name] += collector.program_ns() / 1e9
        return used | {_OWN: used[_OWN] + time.thread_time()}

    def _thread_s(self, number: int) -> float:
        # A thread that has ended has no clock any more (EINVAL): what it had used remains.
        with contextlib.suppress(OSError):
            self._used_s[number] = time.clock_gettime(~number << 3 | _CLOCK_OF_THREAD)
        return self._used_s.get(number, 0.0)

    def packets(self) -> int:
        """Return how many packets the hosts' devices have received so far."""
        return sum(received(os.pread(fd, _READ_BYTES, 0).decode("ascii")) for fd in self._devices)

    def forget(self, name: str) -> None:
        """Look no more at a collector that was stopped."""
        self._frugal.pop(name, None)
        self._threads.pop(name, None)

    def close(self) -> None:
        """Let go of the hosts: an open file of theirs keeps their namespaces alive."""
        for fd in self._devices:
            os.close(fd)
        self._devices = []


def received(text: str) -> int:
    """Read how many packets all devices of /proc/net/dev have received."""
    rows = (line.partition(":")[2].split() for line in text.splitlines()[2:])
    return sum(int(row[_RX_PACKETS]) for row in rows if row)


class _Governor(threading.Thread):
    """Looks every `window_s` what the core costs, and has it do less where that is too much."""

    def __init__(self, core: Core, watch: decision.Watch, meter: _Meter, window_s: float) -> None:
        super().__init__(name="budget", daemon=True)
        self._core, self._watch, self._meter, self._window_s = core, watch, meter, window_s
        self._done = threading.Event()
        self._began_s = time.monotonic()
        self._rest_s = self._rest_cpu_s = 0.0
        self._shed: list[Shedding] = []
        self._still_pct: float | None = None
        self.problem: BaseException | None = None
        self.used_pct: Mapping[str, float] = {}

    def run(self) -> None:
        """Look again and again; what goes wrong is kept in `problem`."""
        try:
            before = self._reading()
            while not self._done.wait(self._window_s):
                now = self._reading()
                shed = self._judge(_look(before, now), now[0] - before[0])
                # What shedding itself took is left out of the next look.
                before = self._reading() if shed else now
        except BaseException as problem:  # noqa: BLE001 - raised in the thread that waits
            self.problem = problem

    def finish(self) -> None:
        """Look no more."""
        self._done.set()
        self.join()
        self._meter.close()

    @property
    def spending(self) -> Spending:
        """What was spent and shed so far."""
        return Spending(
            rest_s=self._rest_s, rest_cpu_s=self._rest_cpu_s, shed=tuple(self._shed), still_pct=self._still_pct
        )

    def _reading(self) -> tuple[float, dict[str, float], int]:
        return time.monotonic(), self._meter.used_s(), self._meter.packets()

    def _judge(self, look: decision.Usage, seconds: float) -> bool:
        """Return whether something was shed after this look."""
        self.used_pct = look.used_pct
        if look.at_rest:
            self._rest_s += seconds
            self._rest_cpu_s += look.total_pct / 100 * seconds
        if not self._watch.note(look):
            return False
        budget = self._watch.budget
        for step in decision.steps(look, budget):
            done = self._core.take(step, budget.cpu_pct / look.total_pct)
            if done is None:
                continue
            if step.stop:
                self._meter.forget(step.collector)
            when = "while the traffic ran" if not look.at_rest else "while idle"
            self._shed.append(Shedding(
                collector=step.collector, what=done, at_s=time.monotonic() - self._began_s, stopped=step.stop,
                why=f"measuring used {readable_pct(look.total_pct, 3)} of one CPU {when}, more than its budget of "
                    f"{readable_pct(budget.cpu_pct, 3)}",
            ))  # fmt: skip
            return True
        self._still_pct = look.total_pct
        return False


def _look(before: tuple[float, dict[str, float], int], now: tuple[float, dict[str, float], int]) -> decision.Usage:
    seconds = now[0] - before[0]
    used = {name: 100 * (after_s - before[1][name]) / seconds for name, after_s in now[1].items()}
    return decision.Usage(used_pct=used, packets_per_s=(now[2] - before[2]) / seconds)
