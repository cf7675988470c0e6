"""A collector's maps and programs in the kernel, and what the programs cost in each trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from perfcheck.collect.base.declaration import Declaration
from perfcheck.ebpf.libbpf import RunCounters
from perfcheck.ebpf.object import BpfObject
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.errors import CollectError
from perfcheck.model.observation import ProgramCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What programs cost in a trial so far; `missed` are events that the kernel skipped."""

    programs: tuple[ProgramCost, ...]
    missed: int


class Loaded:
    """A BpfObject that is opened once a session; the programs' cost is counted from each `begin`."""

    def __init__(self, label: str, prefix: str = "") -> None:
        """Take how messages call the collector, and what its programs' names begin with in records."""
        self._label = label
        self._prefix = prefix
        self._object: BpfObject | None = None
        self._before: Mapping[str, RunCounters] = {}
        self.clock = RunClock()
        """Times the programs; another one is to be set before `open`."""

    @property
    def is_open(self) -> bool:
        """Whether the programs are loaded."""
        return self._object is not None

    @property
    def object(self) -> BpfObject:
        """The maps and programs; CollectError before `open`."""
        if self._object is None:
            raise CollectError(f"the {self._label} collector is not open")
        return self._object

    def open(self, load: Callable[[RunClock], BpfObject]) -> None:
        """Load and attach, after closing what is open."""
        self.close()
        self._object = load(self.clock)
        self._before = self._object.counters()

    def begin(self) -> None:
        """Count the programs' cost from now on."""
        self.clock.renew()
        self._before = self.object.counters()

    def spent(self) -> Spent:
        """Return what the programs have cost since `begin`."""
        after = self.object.counters()
        costs = (
            ProgramCost(
                program=f"{self._prefix}{name}",
                calls=now.calls - self._before[name].calls,
                run_ns=now.run_ns - self._before[name].run_ns,
            )
            for name, now in sorted(after.items())
        )
        missed = sum(now.missed - self._before[name].missed for name, now in after.items())
        return Spent(programs=tuple(costs), missed=missed)

    def untimed(self) -> tuple[str, ...]:
        """Return a warning where the kernel does not time the programs."""
        if self.object.timed:
            return ()
        return ("the kernel does not time BPF programs (BPF_ENABLE_STATS refused): overhead reads 0",)

    def close(self) -> None:
        """Detach and unload; safe to call twice."""
        if self._object is not None:
            self._object.close()
            self._object = None


class LoadedCollector:
    """What collectors that load one BpfObject for themselves have in common; each makes its own `_kernel`."""

    declared: ClassVar[Declaration]
    _kernel: Loaded

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    @property
    def clock(self) -> RunClock:
        """The clock that times the programs."""
        return self._kernel.clock

    def timed_by(self, clock: RunClock) -> None:
        """Have the programs timed together with other collectors'; before `open`."""
        self._kernel.clock = clock

    @property
    def loaded(self) -> BpfObject:
        """The maps and programs in the kernel; CollectError before `open`."""
        return self._kernel.object
