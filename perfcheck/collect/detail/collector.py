"""Detail mode: follows packets of the lab from one application to the other (bpf/detail.bpf.c), by a ring buffer.

It returns the trial's `DetailStream`; `analyse/paths.py` joins it. A separate thread empties the ring in batches.
Under load it follows fewer packets, but each at all stations. The observation says which share.
"""

from __future__ import annotations

import ipaddress
import os
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import programs
from perfcheck.collect.base.loaded import Loaded, LoadedCollector
from perfcheck.collect.detail import hooks
from perfcheck.collect.detail.sampling import EVERYTHING, FEW, Shed, Store, lower_keep, narrowed, told
from perfcheck.collect.tcp.kernel_filter import write_ends
from perfcheck.ebpf import cache
from perfcheck.ebpf.check import check_bpf
from perfcheck.ebpf.image import Image
from perfcheck.ebpf.object import BpfObject
from perfcheck.ebpf.ringbuf import MappedRing
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.detail import DetailFilter, DetailStream, Kind
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.model.units import readable_pct
from perfcheck.system.checks import Check
from perfcheck.system.clock import now_ns

RING_BYTES: Final = 16 << 20
MOST_RECORDS: Final = 2_000_000
LEAD_NS: Final = 1_000_000_000
"""Packets are followed so long before the warm-up is over: what is under way then has passed stations before."""
_NESTED: Final = 8  # PC_NESTED
_OFF, _TRACK, _COUNT = range(3)  # enum pc_phase
_BUSY_INTERVAL_S: Final = 0.005
_IDLE_INTERVAL_S: Final = 0.025
"""At 3,000,000 records a second the ring takes 87 ms to run full."""
_BUDGET_EVERY_S: Final = 0.2
_PROTOCOLS: Final = {6: Protocol.TCP, 17: Protocol.UDP}
_NUMBERS: Final = {protocol: number for number, protocol in _PROTOCOLS.items()}


class DetailCollector(LoadedCollector):
    """Follows packets; `ring_bytes` is the ring's size, a power of two, `most` how many records a trial may keep."""

    declared = declared.DETAIL

    def __init__(
        self, ring_bytes: int = RING_BYTES, most: int = MOST_RECORDS, *, wanted: FlowFilter | None = None
    ) -> None:  # fmt: skip
        """Nothing is loaded before `open`. With `wanted` this is a live machine: flows pass the filter of ends."""
        self._wanted = wanted
        self._ring_bytes = ring_bytes
        self._most = most
        self._kernel = Loaded(self.declared.name, prefix=f"{self.declared.name}/")
        self._hosts: dict[int, str] = {}
        self._drain: _Drain | None = None
        self._filtered = False

    def check(self) -> None:
        """Raise Unavailable where BPF cannot be used."""
        check_bpf()

    def open(self) -> None:
        """Compile (or take from the cache), load and attach; nothing is followed before `begin`."""
        self.check()
        self.close()
        cpus = programs.cpu_count()
        sizes = {"events": self._ring_bytes, "lost": cpus, "sending": cpus * _NESTED}
        self._kernel.open(lambda clock: BpfObject(_image(), sizes, self.declared.may_lack, clock))

    def parts(self) -> tuple[Check, ...]:
        """Name the metrics that this kernel lacks the hooks of, or has by others; valid while open."""
        return hooks.parts(self.loaded.programs)

    def begin(self, scope: Scope) -> None:
        """Follow the packets of the scope's hosts, and keep what is needed once the warm-up is over."""
        self._abandon()
        loaded, hosts = self.loaded, {inode: host for host, inode in scope.namespaces.items()}
        if len(hosts) > programs.MAX_HOSTS:
            raise CollectError(f"{len(hosts)} hosts are too many: perfcheck has room for {programs.MAX_HOSTS}")
        loaded.replace_keys("namespaces", self._hosts, {inode: index for index, inode in enumerate(hosts)})
        loaded.clear("flows")
        self._hosts = hosts
        _choose(loaded, scope.detail)
        _choose_live(loaded, self._wanted)
        chosen = scope.detail
        self._filtered = bool(chosen.protocol or chosen.port or chosen.addresses)
        control = loaded.view("scope")[0]
        control["namespaces_seen"] = sum({1 << inode % 64 for inode in hosts})
        control["lost"] = 0
        control["own_tgid"] = os.getpid()
        control["trial"] += 1
        self._kernel.begin()
        start_ns = now_ns() + scope.warmup_ns
        self._drain = _Drain(loaded, start_ns, scope.detail_budget_pct / 100, self._most)
        self._drain.start()

    def end(self) -> Observation:
        """Stop, and give what was followed."""
        drain = self._drain
        if drain is None:
            raise CollectError("the detail collector was not begun")
        self._drain = None
        drain.finish()
        loaded = self.loaded
        spent = self._kernel.spent()
        lost = drain.lost + spent.missed + int(loaded.view("scope")[0]["lost"])
        events = drain.store.in_order(drain.record)
        hosts = tuple(self._hosts.values())
        stream = DetailStream(
            events=events, hosts=hosts, flows=flows_in(events, hosts), start_ns=drain.start_ns, end_ns=drain.end_ns,
            share=drain.keep / EVERYTHING, lost=lost, written=drain.taken, told=tuple(told(drain.shed)),
            filtered=self._filtered,
        )  # fmt: skip
        return Observation(
            collector=self.name, lost_events=lost,
            overhead=Overhead(programs=spent.programs, user_cpu_s=drain.cpu_s, map_bytes=loaded.map_bytes()),
            warnings=(*stream.told, *self._warnings()), detail=stream,
        )  # fmt: skip

    def program_ns(self) -> int:
        """Return the run time of the programs since they were loaded."""
        return self.loaded.run_ns()

    def do_less(self, share: float) -> str | None:
        """Follow fewer packets; None where they are so few already that following none is the next thing."""
        return None if self._drain is None else self._drain.follow_less(share)

    def close(self) -> None:
        """Detach and unload; safe to call twice."""
        self._abandon()
        self._kernel.close()
        self._hosts = {}

    def _abandon(self) -> None:
        if self._drain is not None:
            self._drain.finish()
            self._drain = None

    def _warnings(self) -> tuple[str, ...]:
        return tuple(
            f"{target} cannot be attached: it is missing from the paths of packets" for target in self.loaded.missing
        )


class _Drain(threading.Thread):
    """Empties the ring until it is told to finish, and has fewer packets followed where there are too many."""

    def __init__(self, loaded: BpfObject, start_ns: int, budget: float, most: int) -> None:
        super().__init__(name="detail", daemon=True)
        self.start_ns, self.end_ns = start_ns, 0
        self.store = Store(most)
        self.shed: list[Shed] = []
        self.keep = EVERYTHING
        self.taken = self.lost = 0
        self.cpu_s = 0.0
        self._loaded = loaded
        self._budget = budget
        self._asked = 1.0
        self._ring: MappedRing = loaded.ring("events")
        self._ring.skip()
        self.record = self._ring.record
        self._control = loaded.view("scope")[0]
        self._detail = loaded.view("detail")[0]
        self._detail["keep"] = EVERYTHING
        self._lost_before = self._lost_in_kernel()
        self._done = threading.Event()
        self._problem: BaseException | None = None
        self._looked = (time.monotonic(), self._bpf_s())

    def run(self) -> None:
        """Look again and again; what goes wrong is told by `finish`."""
        try:
            self._done.wait(max(0, self.start_ns - LEAD_NS - now_ns()) / 1e9)
            self._control["phase"] = _COUNT
            interval_s = _IDLE_INTERVAL_S
            while not self._done.wait(interval_s):
                before = self.taken
                self._look()
                interval_s = _BUSY_INTERVAL_S if self.taken != before else _IDLE_INTERVAL_S
        except BaseException as problem:  # noqa: BLE001 - told in the thread that waits
            self._problem = problem
        finally:
            self._control["phase"] = _OFF
            self.cpu_s = time.thread_time()

    def finish(self) -> None:
        """End the trial and take what is left; CollectError where reading failed."""
        self.end_ns = self.end_ns or now_ns()
        self._done.set()
        self.join()
        if self._problem is not None:
            raise CollectError(f"the ring buffer of detail mode cannot be read: {self._problem}") from self._problem
        self._take()

    def follow_less(self, share: float) -> str | None:
        """Have about `share` of the packets followed, as soon as the ring is looked at; None: they are few already."""
        if self.keep <= FEW:
            return None
        self._asked = share
        return f"detail mode followed {readable_pct(100 * narrowed(self.keep, share) / EVERYTHING, 3)} of the packets"

    def _lost_in_kernel(self) -> int:
        return int(self._loaded.view("lost")["events"].sum())

    def _bpf_s(self) -> float:
        return sum(one.run_ns for one in self._loaded.counters().values()) / 1e9

    def _take(self) -> int:
        records = self._ring.take()
        self.taken += len(records)
        self.store.add(records)
        lost = self._lost_in_kernel() - self._lost_before
        news, self.lost = lost - self.lost, lost
        return news

    def _look(self) -> None:
        ring_use = self._ring.waiting() / self._ring.capacity
        lost = self._take()
        cpu_share = self._cpu_share()
        keep = lower_keep(self.keep, ring_use=ring_use, lost=lost, cpu_share=cpu_share, budget=self._budget)
        if keep != self.keep:
            used, allowed = (readable_pct(100 * each, 3) for each in (cpu_share, self._budget))
            why = f"it used {used} of a CPU, more than its budget of {allowed}"
            self._follow_fewer(keep, why if cpu_share > self._budget else "the ring buffer was full")
        if self._asked < 1.0:
            keep, self._asked = min(self.keep, narrowed(self.keep, self._asked)), 1.0
            self._follow_fewer(keep, "the whole core used more CPU than its budget")
        while self.store.full and self.keep > 1:
            self._follow_fewer(self.keep // 2, f"at most {self.store.most:,} records of a trial are kept")

    def _follow_fewer(self, keep: int, why: str) -> None:
        self.keep = keep
        self._detail["keep"] = keep
        self.shed.append(Shed(now_ns(), keep, why))
        self.store.thin(keep)

    def _cpu_share(self) -> float:
        """Return what was used of one CPU since the last time that it was looked at; 0 in between."""
        now_s, (then_s, before_s) = time.monotonic(), self._looked
        if now_s - then_s < _BUDGET_EVERY_S:
            return 0.0
        used_s = self._bpf_s() + time.thread_time()
        self._looked = (now_s, used_s)
        return (used_s - before_s) / (now_s - then_s)


def _image() -> Image:
    try:
        return hooks.chosen(cache.image_for(*declared.DETAIL.group))
    except CollectError as error:
        raise Unavailable(
            "the BPF programs of detail mode", str(error), "report this, with the output of `uname -r`"
        ) from error


def _choose(loaded: BpfObject, chosen: DetailFilter) -> None:
    """Tell the programs whose packets to follow."""
    control = loaded.view("detail")[0]
    control["protocol"], control["port"] = chosen.protocol or 0, chosen.port or 0
    loaded.clear("addresses")
    for text in chosen.addresses:
        loaded.put("addresses", packed(text), bytes(4))
    control["addresses"] = bool(chosen.addresses)


def _choose_live(loaded: BpfObject, wanted: FlowFilter | None) -> None:
    """Tell the programs which ends are looked for on a live machine, which may see a flow where it arrives alone."""
    control = loaded.view("detail")[0]
    write_ends(loaded.view("filter")[0], wanted or FlowFilter())
    control["by_ends"] = loaded.view("filter")[0]["by_ends"]
    control["names_received"] = wanted is not None
    if wanted is not None and wanted.protocol is not None:
        control["protocol"] = _NUMBERS[wanted.protocol]


def packed(text: str) -> bytes:
    """Return an address as `struct pc_address`."""
    raw = ipaddress.ip_address(text).packed
    return raw if len(raw) == 16 else bytes(8) + raw + bytes(4)


def flows_in(events: npt.NDArray[Any], hosts: tuple[str, ...]) -> Mapping[int, FlowKey]:
    """Name the flows that the stream introduces: by hash, the source as `local`."""
    ends: dict[int, dict[int, tuple[str, int, int, int]]] = {}
    for record in events[(events["kind"] == Kind.FLOW_SOURCE) | (events["kind"] == Kind.FLOW_TARGET)]:
        end = _address(record), int(record["sent_ns"]), int(record["host"]), int(record["protocol"])
        ends.setdefault(int(record["flow"]), {})[int(record["kind"])] = end
    return {
        flow: FlowKey(
            protocol=_PROTOCOLS[source[3]], host=hosts[source[2] - 1], local=source[0], local_port=source[1],
            remote=target[0], remote_port=target[1],
        )
        for flow, both in ends.items()
        if (source := both.get(Kind.FLOW_SOURCE)) and (target := both.get(Kind.FLOW_TARGET))
    }  # fmt: skip


def _address(record: np.void) -> str:
    low = struct.pack("<II", int(record["seq"]), int(record["length"]))
    high = struct.pack("<II", int(record["value"]), int(record["ifindex"]))
    if not any(low[4:] + high):
        return str(ipaddress.IPv4Address(low[:4]))
    return str(ipaddress.IPv6Address(high + low))
