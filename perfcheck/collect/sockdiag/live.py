"""The TCP connections of a live machine by sock_diag(7) alone, where BPF cannot be used.

There is no RTT of single segments, no kind of a retransmission and no time in a congestion state; those columns are
empty. A connection that opens and ends between two looks is told by the kernel's notice of its end, with its totals.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import histogram
from perfcheck.collect.sockdiag.collector import key_of
from perfcheck.collect.sockdiag.host import HostSockets
from perfcheck.collect.sockdiag.tcp_info import BEYOND, TcpLook
from perfcheck.collect.tcp.distributions import METRICS
from perfcheck.collect.tcp.kernel_filter import socket_rows
from perfcheck.collect.tcp.live import Read
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.observation import Observation, Overhead, Scope
from perfcheck.system.clock import now_ns
from perfcheck.system.netns import NetnsThread
from perfcheck.system.socket_owners import comm_of, named, owners_of, processes, sockets_of

LACKS: Final = (
    "RTT of single segments, kinds of retransmissions, resets and times of congestion states are not seen: "
    "sock_diag serves alone"
)
_COUNTS: Final = {
    "segs_out": "segs_out", "data_segs_out": "data_segs_out", "retrans_segs": "total_retrans",
    "delivered_segs": "delivered", "delivered_ce_segs": "delivered_ce", "dsack_dups_segs": "dsack_dups",
    "reord_seen_events": "reord_seen", "ooo_segs": "rcv_ooopack", "bytes_acked": "bytes_acked",
    "bytes_received": "bytes_received", "busy_us": "busy_time", "rwnd_limited_us": "rwnd_limited",
    "sndbuf_limited_us": "sndbuf_limited",
}  # fmt: skip
_VALUES: Final = {
    "srtt_us": "rtt", "rttvar_us": "rttvar", "cwnd_segs": "snd_cwnd", "mss_bytes": "snd_mss",
    "reordering_segs": "reordering", "snd_wnd_bytes": "snd_wnd",
}  # fmt: skip
_TOTALS: Final = {
    "total_bytes_acked": "bytes_acked", "total_bytes_received": "bytes_received",
    "total_retrans_segs": "total_retrans", "total_segs_out": "segs_out", "total_data_segs_out": "data_segs_out",
}  # fmt: skip
_INFINITE: Final = 0x7FFFFFFF
_UNPACED: Final = frozenset({0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})
_SOCKET_ID: Final = struct.Struct("=2s2s16s16s")


@dataclass(slots=True)
class _Known:
    look: TcpLook
    first_ns: int
    info: Mapping[str, int]
    before: bool


class PolledTcp:
    """Looks at the connections of the scope's namespaces that pass a filter."""

    declared = declared.SOCKDIAG

    def __init__(self, wanted: FlowFilter) -> None:
        """Open nothing yet."""
        self._wanted = wanted
        self._hosts: list[tuple[HostSockets, int, str]] = []
        self._known: dict[tuple[int, int], _Known] = {}
        self._names: dict[int, str] = {}
        self._looked_ns = self._lost = 0

    @property
    def name(self) -> str:
        """The collector's name."""
        return self.declared.name

    def check(self) -> None:
        """Raise Unavailable where the kernel does not answer, and for a filter that only BPF programs know."""
        for option, value in (("--cgroup", self._wanted.cgroup), ("--interface", self._wanted.interface)):
            if value is not None:
                raise Unavailable(
                    f"{option} {value}", "without BPF nothing says which sockets these are", "run as root"
                )
        try:
            HostSockets("").close()
        except OSError as error:
            raise Unavailable(
                "sock_diag", str(error), "a kernel with CONFIG_INET_TCP_DIAG (modprobe tcp_diag)"
            ) from error

    def open(self) -> None:
        """Nothing is needed before `begin`."""

    def begin(self, scope: Scope) -> None:
        """Look for the first time."""
        self.close()
        with NetnsThread() as namespaces:
            for host, path in scope.netns_paths.items():
                opened = namespaces.inside(path, lambda host=host: HostSockets(host))  # type: ignore[misc]
                self._hosts.append((opened, scope.namespaces[host], path))
                self._names[scope.namespaces[host]] = host
        self._looked_ns = now_ns()
        for netns, look in self._looks():
            self._known[netns, look.cookie] = _Known(look, self._looked_ns, look.info, before=True)

    @property
    def connections(self) -> int:
        """How many connections were there at the latest look."""
        return len(self._known)

    def _looks(self) -> list[tuple[int, TcpLook]]:
        found = []
        for host, netns, path in self._hosts:
            chosen = self._chosen(path)
            looks = host.looks()
            found += [
                (netns, look) for look in looks if self._passes(look) and (chosen is None or look.cookie in chosen)
            ]
        return found

    def _passes(self, look: TcpLook) -> bool:
        return self._wanted.passes_ends(key_of("", look))

    def _chosen(self, path: str) -> set[int] | None:
        """Return the cookies of the sockets of the processes that are wanted; None: of all."""
        if self._wanted.pid is None and self._wanted.comm is None:
            return None
        pids = list(processes()) if self._wanted.pid is None else [self._wanted.pid]
        if self._wanted.comm is not None:
            pids = list(named(self._wanted.comm, pids))
        held = {inode for pid in pids for inode in sockets_of(pid)}
        with NetnsThread() as namespaces:
            return {
                cookie for _, _, cookie, inode in namespaces.inside(path, lambda: list(socket_rows())) if inode in held
            }

    def read(self) -> Read:
        """Return all connections with what they did since the last look."""
        if not self._hosts:
            raise CollectError("the sock_diag collector was not begun")
        began_ns, now = self._looked_ns, now_ns()
        self._looked_ns = now
        try:
            alive = {(netns, look.cookie): look for netns, look in self._looks()}
            ended = self._ended(alive)
        except OSError as error:
            raise CollectError(f"sock_diag failed: {error}") from error
        opened = len(alive.keys() - self._known.keys())
        rows = [(where, look, False) for where, look in alive.items()]
        rows += [(where, look, True) for where, look in ended.items()]
        table = self._table(rows, began_ns, now)
        for where, look in alive.items():
            before = self._known.get(where)
            first = now if before is None else before.first_ns
            self._known[where] = _Known(look, first, look.info, before is not None and before.before)
        for where in ended:
            self._known.pop(where, None)
        lost = sum(host.lost for host, _, _ in self._hosts)
        before_lost, self._lost = self._lost, lost
        return Read(
            flows=table, histograms=_sampled(table), began_ns=began_ns, ended_ns=now, opened=opened, ended=len(ended),
            refused=lost - before_lost,
        )  # fmt: skip

    def _ended(self, alive: Mapping[tuple[int, int], TcpLook]) -> dict[tuple[int, int], TcpLook]:
        found = {}
        for host, netns, _ in self._hosts:
            for look in host.notices():
                # The port is gone by then; what was known of it tells whose it was.
                if (netns, look.cookie) in self._known:
                    found[netns, look.cookie] = look
        for where, known in self._known.items():
            if where not in alive and where not in found:
                found[where] = known.look
        return found

    def _table(self, rows: list[tuple[tuple[int, int], TcpLook, bool]], began_ns: int, now: int) -> FlowTable:
        table = FlowTable.empty(len(rows), self._names)
        columns = dict(table.columns)
        for row, ((netns, cookie), look, closed) in enumerate(rows):
            known = self._known.get((netns, cookie))
            named_by = known.look if known is not None else look
            _fill(columns, row, look, known)
            _name(columns, row, named_by, netns)
            columns["closed"][row] = closed
            fresh = known is None or not known.before
            columns["established_ns"][row] = (now if known is None else known.first_ns) if fresh else 0
            columns["elapsed_us"][row] = (now - began_ns) // 1000
        self._name_owners(columns)
        _keep_within(columns)
        return table

    def _name_owners(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        if self._wanted.pid is not None:
            columns["pid"][:] = self._wanted.pid
            columns["comm"][:] = comm_of(self._wanted.pid)
            return
        inodes: dict[int, int] = {}
        with NetnsThread() as namespaces:
            for _, _, path in self._hosts:
                inodes |= {
                    cookie: inode for _, _, cookie, inode in namespaces.inside(path, lambda: list(socket_rows()))
                }
        owners = owners_of({inode for inode in inodes.values() if inode})
        for row, cookie in enumerate(columns["cookie"].tolist()):
            if owner := owners.get(inodes.get(cookie, 0)):
                columns["pid"][row], columns["comm"][row] = owner.pid, owner.comm

    def end(self) -> Observation:
        """Look no more."""
        return Observation(collector=self.name, overhead=Overhead())

    def program_ns(self) -> int:
        """Return 0: there are no programs."""
        return 0

    def close(self) -> None:
        """Close the netlink sockets; safe to call twice."""
        for host, _, _ in self._hosts:
            host.close()
        self._hosts, self._known = [], {}


def _fill(columns: Mapping[str, npt.NDArray[Any]], row: int, look: TcpLook, known: _Known | None) -> None:
    info, before = look.info, {} if known is None else known.info
    for name, source in _COUNTS.items():
        if source in info:
            columns[name][row] = (info[source] - before.get(source, 0)) % BEYOND[source]
    for name, source in _TOTALS.items():
        columns[name][row] = info.get(source, 0)
    for name, source in _VALUES.items():
        if source in info:
            columns[name][row] = info[source]
    ssthresh = info["snd_ssthresh"]
    columns["ssthresh_segs"][row] = 0 if ssthresh >= _INFINITE else ssthresh
    if info.get("min_rtt", 0) not in {0, 0xFFFFFFFF}:
        columns["min_rtt_us"][row] = info["min_rtt"]
    if info.get("delivery_rate"):
        columns["delivery_rate_bps"][row] = info["delivery_rate"] * 8
    if info["pacing_rate"] not in _UNPACED:
        columns["pacing_rate_bps"][row] = info["pacing_rate"] * 8
    columns["inflight_segs"][row] = max(info["unacked"] + info["retrans"] - info["sacked"] - info["lost"], 0)


def _name(columns: Mapping[str, npt.NDArray[Any]], row: int, look: TcpLook, netns: int) -> None:
    _, _, local, remote = _SOCKET_ID.unpack_from(look.socket_id)
    columns["cookie"][row], columns["netns"][row], columns["family"][row] = look.cookie, netns, look.family
    columns["local"][row], columns["remote"][row] = local, remote
    columns["local_port"][row], columns["remote_port"][row] = look.local[1], look.remote[1]
    columns["congestion"][row] = look.congestion_name.split(b"\0")[0]


def _keep_within(columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Keep the parts of the time within the whole, and give rates."""
    elapsed = columns["elapsed_us"]
    np.minimum(columns["busy_us"], elapsed, out=columns["busy_us"])
    np.minimum(columns["rwnd_limited_us"], columns["busy_us"], out=columns["rwnd_limited_us"])
    left = columns["busy_us"] - columns["rwnd_limited_us"]
    np.minimum(columns["sndbuf_limited_us"], left, out=columns["sndbuf_limited_us"])
    seconds = np.maximum(elapsed / 1e6, 1e-3)
    columns["send_bps"][:] = columns["bytes_acked"] * 8 / seconds
    columns["receive_bps"][:] = columns["bytes_received"] * 8 / seconds


def _sampled(table: FlowTable) -> dict[str, Any]:
    """Return distributions of one value a connection: all that a look gives."""
    made = {}
    for name, (metric, unit) in METRICS.items():
        column = {"rtt": None, "srtt": "srtt_us", "cwnd": "cwnd_segs", "inflight": "inflight_segs"}[name]
        scale = histogram.edges(histogram.RTT_BUCKETS if unit == "us" else histogram.SEGS_BUCKETS)
        values = np.zeros(0) if column is None else table[column]
        made[metric] = histogram.of_values(unit, scale, values[~np.isnan(values)])
    return made
