"""The BPF programs of the layers other than TCP: compiled a few together, loaded by layer (bpf/scope.bpf.c)."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.base.declaration import Declaration, Group
from perfcheck.collect.base.loaded import Loaded
from perfcheck.ebpf import cache
from perfcheck.ebpf.check import check_bpf
from perfcheck.ebpf.image import Image
from perfcheck.ebpf.object import BpfObject
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.flow import Histogram
from perfcheck.model.observation import Overhead, Scope
from perfcheck.system.clock import now_ns

COMMON_MAPS: Final = frozenset({"scope", "namespaces"})
MAX_HOSTS: Final = 64
_OFF, _TRACK, _COUNT = range(3)  # enum pc_phase
_NEVER_NS: Final = 1 << 62
_NO_MINIMUM: Final = 0xFFFFFFFF
BUCKETS: Final = histogram.BUCKETS


@functools.cache
def image_of(group: Group) -> Image:
    """Return the programs compiled as one text, from the cache if they are there; Unavailable if they fail."""
    try:
        return cache.image_for(*group)
    except CollectError as error:
        raise Unavailable(
            f"the BPF programs of {', '.join(group)}", str(error), "report this, with the output of `uname -r`"
        ) from error


def part_of(image: Image, targets: Collection[str]) -> Image:
    """Return the image's programs of these names, with no other maps than they use."""
    programs = tuple(program for program in image.programs if program.name in targets)
    used = {name for program in programs for name in program.maps.values()} | COMMON_MAPS
    return replace(image, programs=programs, maps=tuple(one for one in image.maps if one.name in used))


def cpu_count() -> int:
    """How many CPUs this machine may ever have: the number of the highest, and one."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return int(text.strip().rpartition("-")[2].rpartition(",")[2]) + 1


class LayerPrograms:
    """One layer's programs: loaded and attached, scoped to the lab's namespaces, their cost counted.

    Between `follow` and `count` they only follow what is under way; `count` opens the window.
    """

    def __init__(self, declared: Declaration, sizes: Mapping[str, int], sampled: Sequence[str] = ()) -> None:
        """Take what the collector says of itself; nothing is loaded yet.

        `sizes` gives maps' numbers of elements. `sampled` programs run a part of the time where programs run
        often (RunClock); they come in the order in which they are to be attached.
        """
        self._group = declared.group
        self._targets = frozenset(declared.targets)
        self._sizes = dict(sizes)
        self._optional = frozenset(declared.may_lack)
        self._kernel = Loaded(declared.name, prefix=f"{declared.name}/")
        self._sampled = tuple(sampled)
        # The clock's thread pauses and resumes; its lock is never taken while this one is held.
        self._pausing = threading.Lock()
        self._paused = False
        self._since_ns = self._covered_ns = 0
        self._hosts: dict[int, str] = {}

    @property
    def missing(self) -> Sequence[str]:
        """Optional hooks that this kernel does not have, or whose types it lacks."""
        known = {program.name for program in image_of(self._group).programs}
        return (*self.loaded.missing, *sorted(self._optional - known))

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts' names, by the number that the programs know them by."""
        return tuple(self._hosts.values())

    @property
    def loaded(self) -> BpfObject:
        """The maps and programs in the kernel; CollectError before `open`."""
        return self._kernel.object

    def open(self) -> None:
        """Compile (or take from the cache), load and attach; nothing is measured before `follow`."""
        check_bpf()
        lacking = self._targets - self._optional - {program.name for program in image_of(self._group).programs}
        if lacking:
            raise Unavailable(
                f"tp_btf/{min(lacking)}", "this kernel's BTF lacks a field that the program reads",
                "a kernel with CONFIG_SCHED_INFO=y, CONFIG_NET_SCHED=y, and with these types in its BTF",
            )  # fmt: skip
        image = part_of(image_of(self._group), self._targets)
        self._kernel.open(lambda clock: BpfObject(image, self._sizes, self._optional, clock, self._sampled))
        if self._sampled:
            self._kernel.clock.sample(self)

    def timed_by(self, clock: RunClock) -> None:
        """Have the programs timed together with other layers'; before `open`."""
        self._kernel.clock = clock

    def pause(self) -> None:
        """Let the programs that are sampled rest."""
        with self._pausing:
            self._cover()
            self._paused, self._since_ns = True, 0
            if self._kernel.is_open:
                self.view("scope")[0]["window_ns"] = _NEVER_NS
                for name in reversed(self._sampled):
                    self.loaded.detach(name)

    def resume(self) -> None:
        """Let the programs that are sampled run again; what they saw before they were all attached does not count."""
        with self._pausing:
            if not self._kernel.is_open:
                return
            for name in self._sampled:
                self.loaded.attach(name)
            self._paused = False
            if self.view("scope")[0]["phase"] == _COUNT:
                self._count_from_now()

    def covered_ns(self) -> int:
        """How long the programs that are sampled have run in the window."""
        with self._pausing:
            self._cover()
            return self._covered_ns

    def _cover(self) -> None:
        if self._since_ns:
            ended_ns = now_ns()
            self._covered_ns += ended_ns - self._since_ns
            self._since_ns = ended_ns

    def view(self, name: str) -> npt.NDArray[Any]:
        """Return an array map's elements, shared with the kernel."""
        return self.loaded.view(name)

    def run_iterator(self, target: str) -> bytes:
        """Run an iterator's program once for each element; give what it wrote."""
        return self.loaded.run_iterator(target)

    def clear(self, name: str) -> None:
        """Delete all elements of a hash map."""
        self.loaded.clear(name)

    def follow(self, scope: Scope) -> None:
        """Follow the namespaces of the scope from now on."""
        if len(scope.namespaces) > MAX_HOSTS:
            raise CollectError(f"{len(scope.namespaces)} hosts are too many: perfcheck has room for {MAX_HOSTS}")
        loaded, hosts = self.loaded, {inode: host for host, inode in scope.namespaces.items()}
        control = loaded.view("scope")[0]
        loaded.replace_keys("namespaces", self._hosts, {inode: index for index, inode in enumerate(hosts)})
        self._hosts = hosts
        control["namespaces_seen"] = sum({1 << inode % 64 for inode in hosts})
        control["lost"] = control["records"] = control["window_ns"] = 0
        control["cpus"] = cpu_count()
        control["own_tgid"] = os.getpid()
        control["trial"] += 1
        self._kernel.begin()
        self._since_ns = self._covered_ns = 0
        control["phase"] = _TRACK

    @property
    def opened_ns(self) -> int:
        """When the window was opened; 0: it was not yet."""
        return int(self.loaded.view("scope")[0]["window_ns"])

    def count(self) -> None:
        """Open the window: events count from now on."""
        with self._pausing:
            control = self.loaded.view("scope")[0]
            if self._paused:
                control["window_ns"] = _NEVER_NS
            else:
                self._count_from_now()
            control["phase"] = _COUNT

    def _count_from_now(self) -> None:
        self.loaded.view("scope")[0]["window_ns"] = self._since_ns = now_ns()

    def stop(self) -> None:
        """Let no event count any more."""
        with self._pausing:
            self._cover()
            self._since_ns = 0
            if self._kernel.is_open:
                self.view("scope")[0]["phase"] = _OFF

    def program_fd(self, name: str) -> int:
        """Return the descriptor of a loaded program."""
        return self.loaded.programs[name].prog_fd

    def run_ns(self) -> int:
        """Run time of all programs since they were loaded."""
        return self.loaded.run_ns()

    def lost(self) -> int:
        """How many events found no room, or were skipped by the kernel, since `follow`."""
        return self.lost_in_maps() + self._kernel.spent().missed

    def lost_in_maps(self) -> int:
        """How many events found no room since `follow`; cheaper than `lost`."""
        return int(self.view("scope")[0]["lost"])

    @property
    def records(self) -> int:
        """How many elements of the layer's records are in use."""
        return int(self.view("scope")[0]["records"])

    def overhead(self, user_cpu_s: float = 0.0) -> Overhead:
        """What the programs cost since `follow`, beside the time spent in user space."""
        spent = self._kernel.spent()
        return Overhead(programs=spent.programs, user_cpu_s=user_cpu_s, map_bytes=self.loaded.map_bytes())

    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures has to know."""
        absent = (f"{target} cannot be attached: its counts are missing" for target in self.missing)
        return (*absent, *self._kernel.untimed())

    def close(self) -> None:
        """Detach and unload; safe to call twice."""
        self._kernel.clock.forget((), self)
        self._kernel.close()


def forget(records: npt.NDArray[Any]) -> None:
    """Zero records, and begin the extremes of their distributions anew."""
    records[:] = 0
    for name in records.dtype.names or ():
        if "counts" in (records.dtype[name].names or ()):
            records[name]["spread"]["minimum"] = _NO_MINIMUM


def forget_distributions(records: npt.NDArray[Any]) -> None:
    """As `forget`, for elements that are distributions themselves."""
    records[:] = 0
    records["spread"]["minimum"] = _NO_MINIMUM


def histogram_of(
    distributions: npt.NDArray[Any], unit: str, *, divisor: float = 1.0, zeros: int = 0
) -> Histogram | None:
    """Add a column of `pc_distribution` up, in a unit of `divisor` of the kernel's; None where nothing is in it.

    `zeros` values of 0 come on top: what the kernel's side did not see because there was no wait.
    """
    counts = distributions["counts"].sum(axis=0, dtype=np.uint64)[:BUCKETS]
    spread = distributions["spread"]
    counts[0] += zeros
    if not int(counts.sum()):
        return None
    return Histogram(
        unit=unit,
        edges=_edges(divisor),
        counts=tuple(counts.tolist()),
        minimum=0.0 if zeros else float(spread["minimum"].min()) / divisor,
        maximum=float(spread["maximum"].max(initial=0)) / divisor,
        total=float(spread["total"].sum(dtype=np.uint64)) / divisor,
    )


@functools.cache
def _edges(divisor: float) -> tuple[float, ...]:
    return tuple(edge / divisor for edge in histogram.edges(BUCKETS))
