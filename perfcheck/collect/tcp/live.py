"""The TCP layer of a live machine: a table of connections at each look, by the programs of the lab's TCP collector.

Records in the kernel are bounded. A connection that ended is told once, at the first look after its end; then its
record is used again. Connections that find no record are counted (`Read.refused`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base.loaded import Loaded, LoadedCollector
from perfcheck.collect.base.programs import cpu_count
from perfcheck.collect.tcp import columns, decode, send_side
from perfcheck.collect.tcp.collector import HOST_ITERATOR, ITERATOR, ITERATORS, kernel_refusals, without
from perfcheck.collect.tcp.distributions import Distributions
from perfcheck.collect.tcp.kernel_filter import SocketFilter
from perfcheck.collect.tcp.send_side import SendSide
from perfcheck.ebpf import cache
from perfcheck.ebpf.check import check_bpf
from perfcheck.ebpf.object import BpfObject
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread
from perfcheck.system.socket_owners import Owner, owners_of

Array = npt.NDArray[Any]
HISTOGRAMS: Final = 2048
"""Connections that have histograms at one time, of 12 kB each; the others have means and no percentiles."""
PERCENTILES: Final = 512
"""Connections whose percentiles are computed at each look, those with the most samples."""
_SLOTS: Final = 65536  # PC_SLOTS
_SETTLED_NS: Final = 20_000_000
"""So long after its end a record is left alone: a program may have found it just before."""
_FEW_RANKED: Final = 32
"""To leave out the percentiles of so few spares nothing."""
_OWNERS_S: Final = 1.0
_OWNERS_SHARE: Final = 0.003
"""All of /proc is read for the owners of new sockets, at most so often, and for so much of one CPU's time."""
_TRIES: Final = 3
"""So often a socket's owner is looked for."""
_NO_MINIMUM: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """What a look at all connections gave; counts are since the look before.

    `lost` are samples of round trips that have no histogram, `unranked` connections whose percentiles were left out.
    """

    flows: FlowTable
    histograms: Mapping[str, Histogram]
    began_ns: int
    ended_ns: int
    opened: int = 0
    ended: int = 0
    refused: int = 0
    unranked: int = 0


class LiveTcp(LoadedCollector):
    """Follows the TCP connections of the scope's namespaces that pass a filter; `max_flows` bounds the records."""

    declared = declared.TCP

    def __init__(
        self, wanted: FlowFilter | None = None, max_flows: int = 16384, *, samples_sending: bool = False
    ) -> None:  # fmt: skip
        """Take the filter, the bound, and whether the send side is sampled; nothing is loaded before `open`."""
        self._samples_sending = samples_sending
        self._send_side: SendSide | None = None
        self._wanted = wanted or FlowFilter()
        self._max_flows = min(max_flows, _SLOTS)
        self._kernel = Loaded("TCP")
        self._hosts: dict[int, str] = {}
        self._paths: Mapping[str, str] = {}
        self._filter: SocketFilter | None = None
        self._generation = 0
        self._looked_ns = self._refused = 0
        self._owners: dict[int, Owner] = {}
        self._ask_at_s = 0.0
        self._unowned: dict[int, int] = {}  # how often the owner of each was not found

    def check(self) -> None:
        """Raise Unavailable without the kernel's BTF, the right to use BPF, libbpf, or BCC."""
        check_bpf()

    def open(self) -> None:
        """Compile (or take from the cache), load and attach; nothing is measured before `begin`."""
        self.check()
        self.close()
        image = cache.image_for(*(declared.SEND_SIDE_TEXT if self._samples_sending else self.declared.group))
        sizes = {"records": self._max_flows, "histograms": min(HISTOGRAMS, self._max_flows), send_side.MAP: cpu_count()}
        lacking = (*self.declared.may_lack, ITERATOR, HOST_ITERATOR, send_side.HOOK)
        try:
            self._kernel.open(lambda clock: BpfObject(image, sizes, lacking, clock))
        except Unavailable:
            if not self._samples_sending:
                raise
            # A kernel that refuses that program has all else.
            rest = without(image, send_side.HOOK)
            self._kernel.open(lambda clock: BpfObject(rest, sizes, lacking, clock))
        if {ITERATOR, HOST_ITERATOR} <= set(self.loaded.missing):
            self.close()
            raise Unavailable(
                "BPF iterators over sockets", "the kernel refuses both kinds", "a kernel of 5.13 or later"
            )

    @property
    def samples_sending(self) -> bool:
        """Whether segments are sampled when they leave; valid while open."""
        return send_side.HOOK in self.loaded.programs

    def begin(self, scope: Scope) -> None:
        """Forget all connections, and follow those of the scope's namespaces from now on, with those that are there."""
        loaded = self.loaded
        control = loaded.view("control")[0]
        control["generation"] = 0
        for name in ("slots", "excluded", "records", "histograms"):
            loaded.view(name).view("u1")[:] = 0
        for name in ("records", "histograms", "freed", "taken", "lost_records", "warmup_ns"):
            control[name] = 0
        hosts = {inode: host for host, inode in scope.namespaces.items()}
        loaded.replace_keys("namespaces", self._hosts.keys(), dict.fromkeys(hosts, 1))
        control["namespaces_seen"] = sum({1 << inode % 64 for inode in hosts})
        self._hosts, self._paths = hosts, scope.netns_paths
        self._filter = SocketFilter(loaded, self._wanted, scope)
        records = loaded.view("records")
        self._grown = columns.Grown(len(records), decode.jiffy_us())
        self._spread = Distributions(records, loaded.view("histograms"), PERCENTILES)
        self._send_side = SendSide(loaded.view(send_side.MAP)) if self.samples_sending else None
        self._opened = np.zeros(len(records), np.bool_)
        self._refused = 0
        self._kernel.begin()
        self._generation += 1
        self._looked_ns = now_ns()
        control["live"] = 1
        control["generation"] = self._generation
        self._adopt()

    def _adopt(self) -> None:
        if HOST_ITERATOR not in self.loaded.programs:
            return
        with NetnsThread() as namespaces, kernel_refusals():
            for path in self._paths.values():
                namespaces.inside(path, lambda: self.loaded.run_iterator(HOST_ITERATOR))

    def read(self) -> Read:
        """Return all connections with what they did since the last look, and use records of ended ones again."""
        if self._filter is None:
            raise CollectError("the TCP collector was not begun")
        loaded, began_ns = self.loaded, self._looked_ns
        self._filter.refresh()
        now = self._looked_ns = now_ns()
        with kernel_refusals():
            self._bring_up_to_date()
        records, control = loaded.view("records"), loaded.view("control")[0]
        used = min(int(control["records"]), len(records))
        # One that was admitted after the iterator had passed is told next time.
        told = (records["cookie"][:used] != 0) & (records["family"][:used] != 0) & (records["end_ns"][:used] != 0)
        rows = np.flatnonzero(told)
        # As plain bytes: member by member takes twice as long.
        own = np.take(records.view(f"V{records.itemsize}"), rows).view(records.dtype)
        # What the iterator did not reach any more has gone without a word.
        gone = ((own["closed"] != 0) & (own["end_ns"] < now - _SETTLED_NS)) | _vanished(own, now)
        known = self._grown.known(rows, own["cookie"])
        active = np.flatnonzero(~known | (own["last_ns"] >= began_ns) | (own["pending"] != 0) | gone)
        made = self._grown.since(rows, own, now)
        spread, merged = self._spread.since(rows, own, active)
        if self._send_side is not None:
            merged |= self._send_side.since()
        made |= spread | columns.identity(own) | columns.totals(own) | columns.latest(own)
        seconds = np.maximum(made["elapsed_us"] / 1e6, 1e-3)
        made["send_bps"], made["receive_bps"] = made["bytes_acked"] * 8 / seconds, made["bytes_received"] * 8 / seconds
        made["closed"] = gone
        # One that was still being opened at the look before has been told, but not as opened.
        is_open = made["established_ns"] > 0
        fresh = is_open & ~(known & self._opened[rows])
        self._opened[rows] = is_open
        self._name_owners(own, made)
        table = FlowTable.of(made, self._hosts)
        self._use_again(rows[gone], own[gone])
        refused = int(control["lost_records"])
        before, self._refused = self._refused, refused
        if refused > before:
            # There is room again.
            loaded.view("excluded")[:] = 0
        return Read(
            flows=table, histograms=merged, began_ns=began_ns, ended_ns=now,
            opened=int(fresh.sum()),
            ended=int(gone.sum()), refused=refused - before, unranked=self._spread.left_out,
        )  # fmt: skip

    @property
    def connections(self) -> int:
        """How many connections have records now."""
        records = self.loaded.view("records")
        used = min(int(self.loaded.view("control")[0]["records"]), len(records))
        return int(np.count_nonzero(records["cookie"][:used]))

    def _bring_up_to_date(self) -> None:
        if ITERATOR in self.loaded.programs:
            self.loaded.run_iterator(ITERATOR)
        else:
            self._adopt()

    def _use_again(self, rows: Array, own: Array) -> None:
        """Empty these records and give their numbers back; each keeps its histograms."""
        if not rows.size:
            return
        records, control, freed = (self.loaded.view(name) for name in ("records", "control", "freed_records"))
        numbers = own["histogram"]
        self._spread.forget(rows, numbers)
        self._grown.forget(rows)
        fresh = np.zeros(len(rows), records.dtype)
        fresh["histogram"] = np.where(numbers <= len(self.loaded.view("histograms")), numbers, 0)
        for name in records.dtype.names or ():
            if name.endswith("_spread"):
                fresh[name]["minimum"] = _NO_MINIMUM
        records[rows] = fresh
        first = int(control[0]["freed"])
        freed[(first + np.arange(len(rows))) % _SLOTS] = rows
        control[0]["freed"] = (first + len(rows)) & 0xFFFFFFFF

    def _name_owners(self, own: Array, made: dict[str, Array]) -> None:
        """Name the processes of sockets that no connect(2) was seen of: by /proc, which is read seldom."""
        unnamed = np.flatnonzero((own["tgid"] == 0) & (own["inode"] != 0))
        if not unnamed.size:
            return
        inodes = own["inode"][unnamed]
        held = set(inodes.tolist())
        # A socket that is just being accepted belongs to nobody yet.
        new = {inode for inode in held - self._owners.keys() if self._unowned.get(inode, 0) < _TRIES}
        began_s = time.monotonic()
        if new and began_s >= self._ask_at_s:
            found = owners_of(new)
            ended_s = time.monotonic()
            self._ask_at_s = ended_s + max(_OWNERS_S, (ended_s - began_s) / _OWNERS_SHARE)
            self._owners = {inode: owner for inode, owner in self._owners.items() if inode in held} | found
            missed = (held & self._unowned.keys()) | (new - found.keys())
            self._unowned = {inode: self._unowned.get(inode, 0) + (inode in new) for inode in missed - found.keys()}
        if not self._owners:
            return
        known = np.array(sorted(self._owners), np.uint64)
        place = np.minimum(np.searchsorted(known, inodes), len(known) - 1)
        named = known[place] == inodes
        rows, owners = unnamed[named], [self._owners[inode] for inode in inodes[named].tolist()]
        pids, comms = made["pid"].copy(), made["comm"].copy()
        pids[rows] = [owner.pid for owner in owners]
        comms[rows] = [owner.comm for owner in owners]
        made["pid"], made["comm"] = pids, comms

    def end(self) -> Observation:
        """Follow no connection any more."""
        spent = self._kernel.spent()
        self.loaded.view("control")[0]["generation"] = 0
        return Observation(
            collector=self.name, overhead=Overhead(programs=spent.programs, map_bytes=self.loaded.map_bytes()),
            lost_events=spent.missed, warnings=self._kernel.untimed(),
        )  # fmt: skip

    def program_ns(self) -> int:
        """Return the run time of the programs since they were loaded; iterators run in this process's own time."""
        return self.loaded.run_ns(without=ITERATORS)

    def do_less(self, share: float) -> str | None:
        """Compute percentiles of fewer connections; None where none are left."""
        if self._spread.ranked < _FEW_RANKED:
            return None
        self._spread.most = max(int(self._spread.most * min(share, 0.5)), 1)
        return f"percentiles of RTT are computed for {self._spread.most} connections at each look"

    def close(self) -> None:
        """Detach and unload; safe to call twice."""
        self._kernel.close()
        self._hosts, self._filter, self._send_side = {}, None, None


def _vanished(own: Array, now: int) -> npt.NDArray[np.bool_]:
    """Return which sockets have gone without the tracepoint that tells of it; the iterator does not see them."""
    gone: npt.NDArray[np.bool_] = (own["closed"] == 0) & (own["end_ns"] != 0) & (own["end_ns"] < now)
    return gone
