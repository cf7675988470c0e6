"""The TCP layer: one TcpSocket for each connection of the lab's hosts.

`TcpSocket.counters` are whole numbers over the window: from the first event at or after the end of the warm-up, to the
last one (or to the close, while data are unacknowledged). Names are those of bpf/perfcheck.h: pc_counts are tcp_sock's
own, pc_window_events are counted by programs. What metrics are sums of is told by the catalogue (`MetricSpec.counter`).
The others:

- `bytes_acked`, `bytes_received`: payload; `delivered_segs`, `delivered_ce_segs`: tcp_sock.delivered, delivered_ce
- `busy_us`, `rwnd_limited_us`, `sndbuf_chrono_us`: tcp_sock.chrono_stat as in TCP_INFO, where the busy time
  includes the two others; they tick in jiffies
- `sndbuf_limited_us`: as measured at each segment received (bpf/tcp_record.h): alike for writers that poll and that
  block, where the kernel's own clock runs for the former only; at most the busy time
- `elapsed_us`: length of the window
- `state_open_us`, `state_disorder_us`, `state_cwr_us`, `state_recovery_us`, `state_loss_us`: time in each
  congestion state; they add up to elapsed_us

and over the whole connection, whatever the warm-up, pc_whole_events: SYN or SYN-ACK that were repeated, `resets`
(received while this side had not closed; iperf3 ends healthy connections so),
`resets_late` (received after this side had closed), `resets_sent`. A connection that ended within its warm-up has
an empty window: all counters 0, histograms empty, `first_ns` 0. A connection attempt that failed, and a
connection that was there before the trial, have `established_ns` 0.

Names in `TcpSocket.gauges`, values at the end unless said otherwise; a name is absent where there is no value:

- `min_rtt_us` (tcp_sock.rtt_min), `rttvar_us` (mdev_us >> 2), `ssthresh_segs` (0: never set), `mss_bytes`,
  `cwnd_segs`
- `snd_wnd_bytes`, `reordering_segs`: largest seen in the window
- `handshake_us`: time from the SYN to ESTABLISHED at the connecting side only; `synack_rtt_us`: at the accepting side
- `pacing_rate_bps`: mean over the segments that acknowledged data in the window (absent: not paced)
- `delivery_rate_bps`: the kernel's last sample, as TCP_INFO gives it; for the mean take bytes_acked over elapsed_us

Histograms take one value for each segment received that delivered data (tp_btf/tcp_probe, tcp_sock.delivered moved).
Hosts' names come from the scope; IPv4 addresses mapped into IPv6 are given as IPv4.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base.availability import lacking
from perfcheck.collect.base.loaded import Loaded, LoadedCollector
from perfcheck.collect.series.source import Source
from perfcheck.collect.tcp import decode
from perfcheck.collect.tcp.reads import LiveReads
from perfcheck.collect.tcp.series import open_series
from perfcheck.collect.tcp.snapshot import TcpSnapshot, copied, sockets_between
from perfcheck.ebpf import cache
from perfcheck.ebpf.check import check_bpf
from perfcheck.ebpf.image import Image
from perfcheck.ebpf.object import BpfObject
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.checks import Check
from perfcheck.system.netns import NetnsThread

ITERATOR: Final = "bpf_sk_storage_map"
HOST_ITERATOR: Final = "tcp"
"""Goes over all sockets of the namespace in which it is read."""
ITERATORS: Final = frozenset({ITERATOR, HOST_ITERATOR})
_OF_LIVE_MACHINES: Final = (
    "freed_records", "excluded", "chosen_sockets", "chosen_ports", "chosen_cgroups", "chosen_tasks",
)  # fmt: skip
"""Maps that only `collect/tcp/live.py` fills."""
_COUNTED_BY: Final = {
    "tcp_cong_state_set": tuple(f"state_{state}_us" for state in decode.STATES),
    "tcp_receive_reset": ("resets", "resets_late"),
    "tcp_send_reset": ("resets_sent",),
}
"""What counters that no metric is the sum of rest on; for the others the catalogue says it (MetricSpec.hooks)."""


class TcpCollector(LoadedCollector):
    """Measures the TCP sockets of the scope's namespaces by BPF; `max_sockets` bounds the memory (13 kB each)."""

    declared = declared.TCP

    def __init__(self, max_sockets: int = 4096) -> None:
        """Take the bound; nothing is loaded before `open`."""
        self._max_sockets = max_sockets
        self._kernel = Loaded("TCP")
        self._generation = 0
        self._hosts: dict[int, str] = {}
        self._paths: Mapping[str, str] = {}
        self._cpu_s = 0.0

    def check(self) -> None:
        """Raise Unavailable without the kernel's BTF, the right to use BPF, libbpf, or BCC."""
        check_bpf()

    def open(self) -> None:
        """Compile (or take from the cache), load and attach; nothing is measured before `begin`."""
        self.check()
        self.close()
        image = cache.image_for(*self.declared.group)
        try:
            self._load(without(image, HOST_ITERATOR))
        except Unavailable:
            # Some kernels refuse iterators over a map's elements (EPERM), and load all else.
            self._load(without(image, ITERATOR))

    def _load(self, image: Image) -> None:
        sizes = dict.fromkeys(_OF_LIVE_MACHINES, 1) | {
            "records": self._max_sockets * 4, "histograms": self._max_sockets
        }  # fmt: skip
        self._kernel.open(lambda clock: BpfObject(image, sizes, self.declared.may_lack, clock))

    def begin(self, scope: Scope) -> None:
        """Forget all sockets and count those of the scope's namespaces from now on."""
        started_s = time.thread_time()
        with kernel_refusals():
            self._begin(self.loaded, scope)
        self._cpu_s = time.thread_time() - started_s

    def _begin(self, loaded: BpfObject, scope: Scope) -> None:
        control = _stop(loaded)
        for name in ("records", "histograms"):
            loaded.view(name)[: int(control[name])].view("u1")[:] = 0
            control[name] = 0
        control["lost_records"] = 0
        control["warmup_ns"] = scope.warmup_ns
        hosts = {inode: host for host, inode in scope.namespaces.items()}
        loaded.replace_keys("namespaces", self._hosts.keys(), dict.fromkeys(hosts, 1))
        control["namespaces_seen"] = sum({1 << inode % 64 for inode in hosts})
        self._hosts, self._paths = hosts, scope.netns_paths
        self._kernel.begin()
        self._generation += 1
        control["generation"] = self._generation

    def end(self) -> Observation:
        """Read all sockets, those that are still open too, and stop counting."""
        started_s = time.thread_time()
        loaded = self.loaded
        with kernel_refusals():
            self._read_live_sockets(loaded)
            control = _stop(loaded)
            spent = self._kernel.spent()
        records = loaded.view("records")[: int(control["records"])].copy()
        # Nothing writes any more: the histograms are read where they are.
        decode.count_pending(records, loaded.view("histograms"))
        seen = TcpSnapshot(
            records=records, histograms=loaded.view("histograms"), lost_records=int(control["lost_records"])
        )
        whole = self.between(_nothing(seen), seen)
        self._cpu_s += time.thread_time() - started_s + self.clock.take_cpu_s()
        return replace(
            whole,
            overhead=Overhead(
                programs=spent.programs,
                user_cpu_s=self._cpu_s,
                rss_bytes=resident_bytes(),
                map_bytes=loaded.map_bytes(),
            ),
            lost_events=whole.lost_events + spent.missed,
            warnings=(*_warnings(loaded.missing), *self._kernel.untimed()),
        )

    def snapshot(self) -> TcpSnapshot:
        """Return a copy of all connections' records, those that are still open brought up to date."""
        loaded = self.loaded
        with kernel_refusals():
            self._read_live_sockets(loaded)
        return copied(loaded.view("control")[0], loaded.view("records"), loaded.view("histograms"))

    def between(self, first: object, second: object) -> Observation:
        """Return what each connection did between two snapshots; those closed before the first one are left out."""
        if not (isinstance(first, TcpSnapshot) and isinstance(second, TcpSnapshot)):
            raise TypeError("expected two snapshots of the TCP collector")
        absent = frozenset(name for target in self.loaded.missing for name in counted_by(target))
        return Observation(
            collector=self.name,
            tcp_sockets=tuple(sockets_between(first, second, self._hosts, decode.jiffy_us(), absent)),
            lost_events=second.lost - first.lost,
        )

    def series(self) -> Source:
        """Return the source of the trial's time series."""
        loaded = self.loaded
        if ITERATOR not in loaded.programs:
            return open_series(loaded.view, lambda: self._read_live_sockets(loaded), self._hosts)
        reads = LiveReads(lambda: loaded.open_iterator(ITERATOR))
        return open_series(loaded.view, reads.read, self._hosts, reads.close)

    def _read_live_sockets(self, loaded: BpfObject) -> None:
        if ITERATOR in loaded.programs:
            loaded.run_iterator(ITERATOR)
            return
        with NetnsThread() as namespaces:
            for path in self._paths.values():
                namespaces.inside(path, lambda: loaded.run_iterator(HOST_ITERATOR))

    def parts(self) -> tuple[Check, ...]:
        """Name the metrics that this kernel has no tracepoint for; valid while open."""
        return lacking(self.name, self.loaded.missing)

    def program_ns(self) -> int:
        """Return the run time of the programs since they were loaded."""
        return self.loaded.run_ns()

    def do_less(self, share: float) -> str | None:
        """Return None: a program sees all events or none."""
        del share
        return None

    def close(self) -> None:
        """Detach and unload; safe to call twice."""
        self._kernel.close()
        self._hosts = {}


def _nothing(later: TcpSnapshot) -> TcpSnapshot:
    """Return what a snapshot right after `begin` would have been."""
    return TcpSnapshot(records=later.records[:0], histograms=later.histograms[:0], lost_records=0)


def counted_by(target: str) -> tuple[str, ...]:
    """Return the counters that are absent where a kernel lacks this tracepoint."""
    summed = (spec.counter for spec in CATALOGUE.values() if spec.counter and target in spec.hooks)
    return (*_COUNTED_BY.get(target, ()), *summed)


def without(image: Image, name: str) -> Image:
    """Return the image without one of its programs."""
    return replace(image, programs=tuple(program for program in image.programs if program.name != name))


@contextlib.contextmanager
def kernel_refusals() -> Iterator[None]:
    """Turn what the kernel refuses into CollectError."""
    try:
        yield
    except OSError as error:
        raise CollectError(f"the TCP collector cannot reach its maps or programs: {error}") from error


def _stop(loaded: BpfObject) -> npt.NDArray[Any]:
    """Let no event count any more: no socket is admitted, and none finds its record."""
    control: npt.NDArray[Any] = loaded.view("control")[0]
    control["generation"] = 0
    loaded.view("slots")[:] = 0
    return control


def _warnings(missing: Iterable[str]) -> Iterator[str]:
    return (f"this kernel has no tp_btf/{target}: {', '.join(counted_by(target))}" for target in missing)


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
