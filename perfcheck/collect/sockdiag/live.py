"""The TCP connections of a live machine by sock_diag(7) alone, where BPF cannot be used.

There is no RTT of single segments, no kind of a retransmission and no time in a congestion state; those columns are
empty. A connection that opens and ends between two looks is told by the kernel's notice of its end, with its totals.
The notice comes when the socket has given its port back: the row's local port is 0, and a filter that asks for one does
not let it pass; nor does one that asks for a process.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect import declared
from perfcheck.collect.base import histogram
from perfcheck.collect.sockdiag.collector import COUNTERS, gauges_of, inflight_segs, key_of
from perfcheck.collect.sockdiag.host import HostSockets, require_sock_diag
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
from perfcheck.system.socket_owners import Owner, comm_of, owners_of, processes_of, sockets_of

LACKS: Final = "RTT of single segments, kinds of retransmissions, resets, times of congestion states"
UNSEEN: Final = "connections that open and end between two looks"
_TOTALS: Final = {
    "total_bytes_acked": "bytes_acked", "total_bytes_received": "bytes_received",
    "total_retrans_segs": "total_retrans", "total_segs_out": "segs_out", "total_data_segs_out": "data_segs_out",
}  # fmt: skip
_ESTABLISHED: Final = 1
_SOCKET_ID: Final = struct.Struct("=2s2s16s16s")


_Where = tuple[int, int]
"""A namespace's inode and a socket's cookie."""


@dataclass(slots=True)
class _Known:
    """A connection at the latest look; `before`: it was there before the first one; `opened`: it was told as opened."""

    look: TcpLook
    first_ns: int
    info: Mapping[str, int]
    before: bool
    opened: bool
    owner: Owner | None = None
    asked: bool = False


class PolledTcp:
    """Looks at the connections of the scope's namespaces that pass a filter."""

    declared = declared.SOCKDIAG

    def __init__(self, wanted: FlowFilter) -> None:
        """Open nothing yet."""
        self._wanted = wanted
        self._any_ends = all(end.is_any for end in (wanted.source, wanted.target, wanted.local, wanted.remote))
        self._by_task = wanted.pid is not None or wanted.comm is not None
        self._hosts: list[tuple[HostSockets, int, str]] = []
        self._known: dict[_Where, _Known] = {}
        self._there: frozenset[_Where] = frozenset()
        # Ended without a notice, which may still come: those since the latest look, and those of the one before.
        self._gone: set[_Where] = set()
        self._gone_before: set[_Where] = set()
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
        require_sock_diag()

    def open(self) -> None:
        """Nothing is needed before `begin`."""

    def begin(self, scope: Scope) -> None:
        """Look for the first time."""
        self.close()
        with NetnsThread() as namespaces:
            for host, path in scope.netns_paths.items():
                try:
                    opened = namespaces.inside(path, functools.partial(HostSockets, host))
                except PermissionError as refused:
                    raise Unavailable(
                        f"network namespace {host}", f"to enter it is refused ({refused.strerror})", "run as root"
                    ) from None
                self._hosts.append((opened, scope.namespaces[host], path))
                self._names[scope.namespaces[host]] = host
        self._looked_ns = now_ns()
        looks = [(netns, look) for host, netns, _ in self._hosts for look in host.looks()]
        self._there = frozenset((netns, look.cookie) for netns, look in looks)
        for where, look in self._wanted_of(looks).items():
            self._known[where] = _Known(look, self._looked_ns, look.info, before=True, opened=True)
        self._find_owners()

    @property
    def connections(self) -> int:
        """How many connections were there at the latest look."""
        return len(self._known)

    @property
    def notified(self) -> bool:
        """Whether the kernel tells of sockets that end."""
        return all(host.notified for host, _, _ in self._hosts)

    def _wanted_of(self, looks: Iterable[tuple[int, TcpLook]]) -> dict[_Where, TcpLook]:
        """Return the connections that pass the filter."""
        chosen = {netns: self._chosen(path) for _, netns, path in self._hosts}
        found = {}
        for netns, look in looks:
            held = chosen[netns]
            if (held is None or look.cookie in held) and self._passes(look):
                found[netns, look.cookie] = look
        return found

    def _passes(self, look: TcpLook) -> bool:
        return self._any_ends or self._wanted.passes_ends(key_of("", look))

    def _chosen(self, path: str) -> set[int] | None:
        """Return the cookies of the sockets of the processes that are wanted; None: of all."""
        if self._wanted.pid is None and self._wanted.comm is None:
            return None
        pids = processes_of(self._wanted.pid, self._wanted.comm)
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
            alive = self._wanted_of((netns, look) for host, netns, _ in self._hosts for look in host.looks())
            ended = self._ended(alive)
        except OSError as error:
            raise CollectError(f"sock_diag failed: {error}") from error
        fresh = [self._take(where, look, now) for where, look in (*alive.items(), *ended.items())]
        self._find_owners()
        rows = [(where, look, False) for where, look in alive.items()]
        rows += [(where, look, True) for where, look in ended.items()]
        table = self._table(rows, began_ns, now)
        for where, look in alive.items():
            self._known[where].info = look.info
        for where in ended:
            self._known.pop(where, None)
        lost = sum(host.lost for host, _, _ in self._hosts)
        before_lost, self._lost = self._lost, lost
        return Read(
            flows=table, histograms=_sampled(table), began_ns=began_ns, ended_ns=now, opened=sum(fresh),
            ended=len(ended), refused=lost - before_lost,
        )  # fmt: skip

    def _take(self, where: _Where, look: TcpLook, now: int) -> bool:
        """Know a connection as it is now; return whether it was opened since the last look."""
        there = where in self._there  # it may belong to the process that is wanted since now only
        known = self._known.setdefault(where, _Known(look, now, {}, before=there, opened=there))
        if look.local[1]:
            known.look = look  # a notice of the end has no local port any more
        fresh = not known.opened and _was_established(look)
        known.opened = known.opened or fresh
        return fresh

    def _ended(self, alive: Mapping[_Where, TcpLook]) -> dict[_Where, TcpLook]:
        found = {}
        for host, netns, _ in self._hosts:
            for look in host.notices():
                where = (netns, look.cookie)
                if where in self._known or (where not in self._gone | self._gone_before and self._is_news(look)):
                    found[where] = look
        self._gone_before, self._gone = self._gone, set()
        for where, known in self._known.items():
            if where not in alive and where not in found:
                found[where] = known.look
                self._gone.add(where)
        return found

    def _is_news(self, look: TcpLook) -> bool:
        """Whether a notice is of a connection that no look saw, which was established, and which the filter wants."""
        return not self._by_task and look.remote[1] != 0 and _was_established(look) and self._passes(look)

    def _table(self, rows: list[tuple[_Where, TcpLook, bool]], began_ns: int, now: int) -> FlowTable:
        table = FlowTable.empty(len(rows), self._names)
        columns = dict(table.columns)
        for row, (where, look, closed) in enumerate(rows):
            known = self._known[where]
            _fill(columns, row, look, known)
            _name(columns, row, known.look, where[0])
            columns["closed"][row] = closed
            columns["established_ns"][row] = known.first_ns if known.opened and not known.before else 0
            columns["elapsed_us"][row] = (now - began_ns) // 1000
            if known.owner is not None:
                columns["pid"][row], columns["comm"][row] = known.owner.pid, known.owner.comm
        _keep_within(columns)
        return table

    def _find_owners(self) -> None:
        """Name the processes of connections that are new; /proc is not read for the others."""
        new = {where: known for where, known in self._known.items() if known.owner is None and not known.asked}
        if not new:
            return
        for known in new.values():
            known.asked = True
        if self._wanted.pid is not None:
            owner = Owner(pid=self._wanted.pid, comm=comm_of(self._wanted.pid))
            for known in new.values():
                known.owner = owner
            return
        inodes: dict[_Where, int] = {}
        with NetnsThread() as namespaces:
            for _, netns, path in self._hosts:
                found = namespaces.inside(path, lambda: list(socket_rows()))
                inodes |= {(netns, cookie): inode for _, _, cookie, inode in found if inode and (netns, cookie) in new}
        owners = owners_of(set(inodes.values()))
        for where, inode in inodes.items():
            new[where].owner = owners.get(inode)

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
        self._hosts, self._known, self._gone, self._gone_before = [], {}, set(), set()


def _was_established(look: TcpLook) -> bool:
    """Whether the handshake was over: the kernel counts it as a segment delivered, and the SYN as a byte."""
    info = look.info
    return info["state"] == _ESTABLISHED or info.get("delivered", 0) > 0 or info.get("bytes_acked", 0) > 0


def _fill(columns: Mapping[str, npt.NDArray[Any]], row: int, look: TcpLook, known: _Known) -> None:
    info, before = look.info, known.info
    for name, source in COUNTERS.items():
        if source in info:
            columns[name][row] = (info[source] - before.get(source, 0)) % BEYOND[source]
    for name, source in _TOTALS.items():
        columns[name][row] = info.get(source, 0)
    for name, value in gauges_of(info).items():
        columns[name][row] = value
    columns["srtt_us"][row] = info["rtt"]
    columns["inflight_segs"][row] = inflight_segs(look.glance)


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
