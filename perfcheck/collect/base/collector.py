"""Base classes of collectors of the layers other than TCP: those with BPF programs, and those that read twice."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from perfcheck.collect.base.declaration import Declaration
from perfcheck.collect.base.look import Look, Maps
from perfcheck.collect.base.programs import LayerPrograms
from perfcheck.collect.base.window import TOO_SHORT, Window
from perfcheck.ebpf.check import check_bpf
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.errors import CollectError
from perfcheck.model.flow import Histogram
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one window gave: values by metric name, of single hosts too, and distributions by name without the stat."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    distributions: Mapping[str, Histogram] = field(default_factory=dict)
    by_host: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_interface: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


class BpfCollector(ABC):
    """A layer that BPF programs measure: attached once, counting in the window of each trial."""

    declared: ClassVar[Declaration]
    states: ClassVar[frozenset[str]] = frozenset()
    """Members of the maps' elements that are no counters."""

    def __init__(self, sizes: Mapping[str, int] | None = None, sampled: Sequence[str] = ()) -> None:
        """Take what LayerPrograms takes; nothing is loaded before `open`."""
        self._window: Window | None = None
        self.programs = LayerPrograms(self.declared, sizes or {}, sampled)
        self.timed_by(RunClock())

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    @property
    def clock(self) -> RunClock:
        """The clock that times the programs."""
        return self._clock

    def timed_by(self, clock: RunClock) -> None:
        """Have the programs timed together with other collectors'; before `open`."""
        self._clock = clock
        self.programs.timed_by(clock)

    def check(self) -> None:
        """Raise Unavailable where BPF cannot be used."""
        check_bpf()

    def open(self) -> None:
        """Load and attach."""
        self.programs.open()

    def begin(self, scope: Scope) -> None:
        """Follow the scope's hosts, and count once the warm-up is over."""
        self._abandon_window()
        self.programs.stop()
        self.forget(scope)
        self.programs.follow(scope)
        self._window = Window(scope.warmup_ns, self.first_look)

    def end(self) -> Observation:
        """Stop counting and give what was counted."""
        started_s = time.thread_time()
        length_ns = self._window.close() if self._window is not None else 0
        self.programs.stop()
        seen = self.compare(None, self._look(length_ns)) if length_ns else Seen(warnings=(TOO_SHORT,))
        self.let_go()
        used_s = time.thread_time() - started_s + self._clock.take_cpu_s()
        return Observation(
            collector=self.name, metrics=seen.metrics, distributions=seen.distributions,
            by_host=seen.by_host, by_interface=seen.by_interface,
            overhead=self.programs.overhead(used_s), lost_events=self.programs.lost(),
            warnings=(*self.programs.warnings(), *seen.warnings),
        )  # fmt: skip

    def snapshot(self) -> Look | None:
        """Return a copy of what was counted; None as long as the warm-up is not over."""
        opened_ns = self._window.opened_ns if self._window is not None else 0
        return self._look(max(now_ns() - opened_ns, 1)).copied() if opened_ns else None

    def between(self, first: object, second: object) -> Observation:
        """Return what was counted between two snapshots; one that was taken in the warm-up stands for its end."""
        if not isinstance(second, Look):
            return Observation(collector=self.name)
        before = first if isinstance(first, Look) else None
        seen = self.compare(before, second)
        return Observation(
            collector=self.name, metrics=seen.metrics, distributions=seen.distributions, by_host=seen.by_host,
            by_interface=seen.by_interface, lost_events=second.lost - (before.lost if before is not None else 0),
        )  # fmt: skip

    def _look(self, length_ns: int) -> Look:
        return Look(
            taken_ns=now_ns(), length_ns=length_ns, maps=self.counted(), covered_ns=self.programs.covered_ns(),
            lost=self.programs.lost_in_maps(), beside=self.look_beside(), states=self.states,
        )  # fmt: skip

    def compare(self, before: Look | None, after: Look) -> Seen:
        """Return what was counted between two looks, or without the first in the whole window."""
        return self.read(after.since(before))

    def program_ns(self) -> int:
        """Return the run time of the programs since they were loaded."""
        return self.programs.run_ns()

    def do_less(self, share: float) -> str | None:
        """Return None: a program sees all events or none."""
        del share
        return None

    def close(self) -> None:
        """Detach; safe to call twice."""
        self._abandon_window()
        self.let_go()
        self.programs.close()

    def _abandon_window(self) -> None:
        if self._window is not None:
            self._window.abandon()
            self._window = None

    @abstractmethod
    def forget(self, scope: Scope) -> None:
        """Empty the maps before a trial."""

    @abstractmethod
    def counted(self) -> Maps:
        """Return the elements of the maps in which something was counted, shared with the kernel."""

    @abstractmethod
    def read(self, look: Look) -> Seen:
        """Return what the maps' elements tell of a window."""

    def look_beside(self) -> Any:
        """Return what belongs to a look beside the maps."""
        return None

    def first_look(self) -> None:
        """Open the window; called when the warm-up is over, maybe in another thread."""
        self.programs.count()

    def let_go(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what belongs to one trial; safe to call twice."""


class LookingCollector(ABC, Generic[T]):
    """A source that counts by itself: looked at when the warm-up is over and at the end."""

    declared: ClassVar[Declaration]

    def __init__(self) -> None:
        """Nothing is read before `begin`."""
        self._window: Window | None = None
        self._namespaces: NetnsThread | None = None
        self._paths: Mapping[str, str] = {}
        self._before: T | None = None
        self._looked_ns = 0

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    def open(self) -> None:
        """Nothing is needed before `begin`."""

    def begin(self, scope: Scope) -> None:
        """Look once the warm-up is over."""
        self._let_hosts_go()
        self._namespaces, self._paths, self._before = NetnsThread(), dict(scope.netns_paths), None
        self._window = Window(scope.warmup_ns, self._first_look)

    def _first_look(self) -> None:
        self._looked_ns = now_ns()
        self._before = self._look()

    def _look(self) -> T:
        if self._namespaces is None:
            raise CollectError(f"the {self.name} collector was not begun")
        return self.look(self._namespaces, self._paths)

    def end(self) -> Observation:
        """Look again and give the differences."""
        started_s = time.thread_time()
        opened = self._window is not None and self._window.close() > 0
        if opened and self._before is not None:
            # From look to look: a look takes longer than a short trial can do without.
            length_ns = now_ns() - self._looked_ns
            seen = self.compare(self._before, self._look(), length_ns)
        else:
            seen = Seen(warnings=(TOO_SHORT,))
        self.close()
        return Observation(
            collector=self.name, metrics=seen.metrics, by_host=seen.by_host, by_interface=seen.by_interface,
            warnings=tuple(seen.warnings),
            overhead=Overhead(user_cpu_s=time.thread_time() - started_s),
        )  # fmt: skip

    def snapshot(self) -> tuple[int, T] | None:
        """Return a look and its moment; None as long as the warm-up is not over."""
        if self._window is None or not self._window.opened_ns:
            return None
        return now_ns(), self._look()

    def between(self, first: object, second: object) -> Observation:
        """Return the differences of two snapshots; one that was taken in the warm-up stands for its end."""
        if not isinstance(second, tuple) or self._before is None:
            return Observation(collector=self.name)
        before_ns, before = first if isinstance(first, tuple) else (self._looked_ns, self._before)
        after_ns, after = second
        seen = self.compare(before, after, max(after_ns - before_ns, 1))
        return Observation(
            collector=self.name, metrics=seen.metrics, by_host=seen.by_host, by_interface=seen.by_interface
        )

    def close(self) -> None:
        """Let go of the hosts: an open netlink socket would keep them alive; safe to call twice."""
        self._let_hosts_go()

    def _let_hosts_go(self) -> None:
        if self._window is not None:
            self._window.abandon()
            self._window = None
        if self._namespaces is not None:
            self._namespaces.close()
            self._namespaces = None

    @abstractmethod
    def check(self) -> None:
        """Raise Unavailable where this machine does not have the source."""

    @abstractmethod
    def look(self, namespaces: NetnsThread, paths: Mapping[str, str]) -> T:
        """Read the source; `paths` are the hosts' namespaces by host name. CollectError where that fails."""

    @abstractmethod
    def compare(self, before: T, after: T, length_ns: int) -> Seen:
        """Return what happened between two looks, `length_ns` apart."""
