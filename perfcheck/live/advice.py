"""Advice from an interval: what to change, from which value to which, why, and what bounds it.

Each advice has an id that stays the same over intervals, runs and versions. Only sysctls of `ALLOWED` are ever changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.bottleneck import Mask, bdp_bytes, bottlenecks
from perfcheck.live.sysctls import OWN, Sysctls, path_of_host
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.model.units import format_value, whole_pct

RMEM: Final = "net.ipv4.tcp_rmem"
WMEM: Final = "net.ipv4.tcp_wmem"
SOMAXCONN: Final = "net.core.somaxconn"
SYN_BACKLOG: Final = "net.ipv4.tcp_max_syn_backlog"
CONNTRACK: Final = "net.netfilter.nf_conntrack_max"
NETDEV_BUDGET: Final = "net.core.netdev_budget"
NETDEV_BACKLOG: Final = "net.core.netdev_max_backlog"
SLOW_START: Final = "net.ipv4.tcp_slow_start_after_idle"
ALLOWED: Final = frozenset({RMEM, WMEM, SOMAXCONN, SYN_BACKLOG, CONNTRACK, NETDEV_BUDGET, NETDEV_BACKLOG, SLOW_START})
"""The only sysctls that perfctl changes."""
_HOST_WIDE: Final = frozenset({CONNTRACK, NETDEV_BUDGET, NETDEV_BACKLOG})
"""Of the whole machine, and changed in its first namespace only."""
LARGEST: Final[Mapping[str, int]] = {
    RMEM: 64 << 20, WMEM: 64 << 20, SOMAXCONN: 65535, SYN_BACKLOG: 65535, CONNTRACK: 4 << 20, NETDEV_BUDGET: 4800,
    NETDEV_BACKLOG: 100_000,
}  # fmt: skip
"""No advice raises a sysctl beyond this."""
ROOM: Final = 4
"""A buffer of this many BDPs: half is the kernel's overhead, and the rate was measured while the window limited it."""
_BACKLOG_LEAST: Final = 4096
_TABLE_FULL_PCT: Final = 90.0
_WAITING_PCT: Final = 20.0
_THROTTLED_PCT: Final = 5.0
_SQUEEZED_PER_S: Final = 10.0
_RESTART_SEGS: Final = 10.0
"""The initial window, to which slow start after idle returns."""
_CONNTRACK_ENTRY_BYTES: Final = 320
_MOST_ROWS: Final = 1000
_TOLD_BY_PEER: Final = -1
"""A sender's row whose receiver's row says the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A sysctl, its value now and the advised one, as sysctl(8) writes them."""

    key: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What could be done about a cause; `changes` is empty where no sysctl of this machine helps.

    `netns` is the namespace's name in `FlowTable.hosts`. `bound` says what the new value rests on.
    """

    id: str
    cause: str
    reason: str
    action: str
    bound: str = ""
    changes: tuple[Change, ...] = ()
    netns: str = OWN

    def lines(self) -> tuple[str, ...]:
        """Return the advice as lines for a person."""
        where = "" if self.netns == OWN else f" (namespace {self.netns})"
        changes = tuple(f"  {each.key}: {each.old} -> {each.new}" for each in self.changes)
        return (f"{self.id}{where}: {self.reason}", f"  {self.action}", *changes,
                *((f"  bound: {self.bound}",) if self.bound else ()))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One namespace of an interval, as the makers of advice look at it."""

    name: str
    flows: FlowTable
    names: npt.NDArray[Any]
    short_windows: FlowTable
    """Connections, of any namespace, that this one's receive window limits."""
    far_windows: FlowTable
    """Connections of this namespace that the receive window of another machine limits."""
    metrics: Mapping[str, float]
    causes: frozenset[str]
    seconds: float
    read: Callable[[str], tuple[str, ...] | None]

    def has(self, cause: str) -> bool:
        return cause in self.causes or bool((self.names == cause).any())

    def rows(self, cause: str) -> FlowTable:
        """The connections that have this bottleneck; all where only the diagnosis names it."""
        found = self.names == cause
        return self.flows.where(found) if found.any() or cause not in self.causes else self.flows

    def metric(self, name: str) -> float:
        found = self.metrics.get(name, 0.0)
        return found if math.isfinite(found) else 0.0


def advice_of(interval: Interval, sysctls: Sysctls, causes: Collection[str] = ()) -> tuple[Advice, ...]:
    """Return the advice for an interval, each id once a namespace; `causes` are those that a diagnosis has named."""
    return tuple(advice for seen in _namespaces(interval, sysctls, frozenset(causes))
                 for make in _MAKERS for advice in make(seen))  # fmt: skip


def _namespaces(interval: Interval, sysctls: Sysctls, causes: frozenset[str]) -> Iterator[_Seen]:
    flows = interval.flows
    limits = bottlenecks(flows).names
    limited = limits == "receive_window"
    owners = _window_owners(flows, limited)
    found = [int(each) for each in np.unique(flows["netns"])]
    named = {inode: flows.hosts.get(inode, OWN) for inode in found} or {0: OWN}
    for inode, name in named.items():
        path = path_of_host(name)
        # Without several namespaces the figures of the machine are those of the one.
        metrics = interval.hosts.get(name, interval.metrics if len(named) == 1 else {})

        def read(key: str, path: str = path) -> tuple[str, ...] | None:
            return sysctls.read(path, key)

        here = flows["netns"] == inode
        yield _Seen(
            name=name, flows=flows.where(here), names=limits[here], metrics=metrics, causes=causes,
            short_windows=flows.where(limited & (owners == inode)), seconds=interval.seconds, read=read,
            far_windows=flows.where(limited & here & (owners == 0)),
        )  # fmt: skip


def _receive_window(seen: _Seen) -> Iterator[Advice]:
    if len(seen.short_windows):
        yield _buffer(seen, seen.short_windows, RMEM, "RWND", "receive_window", "the receive window", "SO_RCVBUF")
    limited = seen.far_windows
    if len(limited):
        far = sorted({limited.key(row).remote for row in range(min(len(limited), _MOST_ROWS))})
        more = f" and {len(far) - 1} more" if len(far) > 1 else ""
        yield Advice(
            id="PC-RWND-PEER", cause="receive_window", netns=seen.name,
            reason=f"The receive window of {far[0]}{more} limits {_connections(len(limited))}.",
            action=f"Raise the third value of {RMEM} there; `perfctl tcp --apply` on that machine computes it.",
            bound=_bound(_largest_bdp(limited)),
        )  # fmt: skip


def _window_owners(flows: FlowTable, limited: Mask) -> npt.NDArray[np.int64]:
    """Return the namespace whose receive window limits each row; 0: none, or one of another machine.

    A receiver's row is its own. A sender's is that of the other end's row, where the table has it.
    """
    owners = np.zeros(len(flows), np.int64)
    if not limited.any():
        return owners
    near, far = _ends(flows, "local", "local_port"), _ends(flows, "remote", "remote_port")
    row_of = {ends: row for row, ends in enumerate(zip(near, far, strict=True))}
    receives = flows["bytes_received"] > flows["bytes_acked"]
    for row in np.flatnonzero(limited).tolist():
        peer = row_of.get((far[row], near[row]))
        if receives[row]:
            owners[row] = flows["netns"][row]
        elif peer is not None:
            owners[row] = _TOLD_BY_PEER if limited[peer] and receives[peer] else flows["netns"][peer]
    return owners


def _ends(flows: FlowTable, address: str, port: str) -> list[tuple[bytes, int]]:
    raw = np.ascontiguousarray(flows[address]).view("S16")  # bytes, which can be looked up
    return list(zip(raw.tolist(), flows[port].tolist(), strict=True))


def _send_buffer(seen: _Seen) -> Iterator[Advice]:
    if seen.has("send_buffer"):
        yield _buffer(seen, seen.rows("send_buffer"), WMEM, "SNDBUF", "send_buffer", "the send buffer", "SO_SNDBUF")


def _buffer(seen: _Seen, flows: FlowTable, key: str, short: str, cause: str, what: str, option: str) -> Advice:
    """Return advice for the largest size of a buffer: four BDPs, of the connection that needs the most."""
    product = _largest_bdp(flows)
    reason = f"{what[0].upper()}{what[1:]} limits {_connections(len(flows))}."
    old = _numbers(seen.read(key))
    wanted = 0 if math.isnan(product) else min(_power_of_two(ROOM * product), LARGEST[key])
    if len(old) == 3 and wanted > old[2]:
        new = (old[0], old[1], wanted)
        change = Change(key=key, old=" ".join(map(str, old)), new=" ".join(map(str, new)))
        return Advice(id=f"PC-{short}-{_word(key)}", cause=cause, reason=reason, netns=seen.name, changes=(change,),
                      action=f"Raise the largest size of {what} (third value of {key}); new connections use it.",
                      bound=_bound(product))  # fmt: skip
    return Advice(
        id=f"PC-{short}-{option}", cause=cause, reason=reason, netns=seen.name, bound=_bound(product),
        action=f"{key} is not what limits: see whether the application sets {option}, and whether the path's rate and "
        "round trip are known.",
    )  # fmt: skip


def _largest_bdp(flows: FlowTable) -> float:
    products = bdp_bytes(flows)
    products = products[np.isfinite(products)]
    return float(products.max()) if len(products) else math.nan


def _bound(product: float) -> str:
    if math.isnan(product):
        return ""
    return (f"BDP {format_value(product, 'bytes')} (delivery rate x min RTT), times {ROOM}: half of a buffer is "
            "overhead, and the rate was measured while it was limited")  # fmt: skip


def _connections(number: int) -> str:
    return f"{number} connection{'s' if number != 1 else ''}"


def _power_of_two(least: float) -> int:
    return 1 << max(0, math.ceil(math.log2(max(1.0, least))))


def _numbers(words: tuple[str, ...] | None) -> tuple[int, ...]:
    """Return the numbers of a sysctl; none where it is absent or is no list of numbers."""
    if words is None or not all(word.isascii() and word.isdecimal() for word in words):
        return ()
    return tuple(int(word) for word in words)


def _word(key: str) -> str:
    return key.rpartition(".")[2].upper()


def _raised(seen: _Seen, key: str, least: int = 0) -> tuple[Change, ...]:
    """Return the change to twice the value, and to `least` at least; none where that is not allowed or not there."""
    old = _numbers(seen.read(key))
    if len(old) != 1 or (key in _HOST_WIDE and seen.name != OWN):
        return ()
    new = min(max(2 * old[0], least), LARGEST[key])
    return (Change(key=key, old=str(old[0]), new=str(new)),) if new > old[0] else ()


def _accept_backlog(seen: _Seen) -> Iterator[Advice]:
    overflows = seen.metric("socket.listen_overflows")
    if overflows < 1 and "accept_backlog" not in seen.causes:
        return
    yield Advice(
        id="PC-BACKLOG-SOMAXCONN", cause="accept_backlog", netns=seen.name,
        reason=f"The accept queue of a listening socket was full {overflows:.0f} times." if overflows >= 1 else
               "The accept queue of a listening socket was full.",
        action="Raise the limit of the queue, and the backlog that the application passes to listen(2); or accept "
               "faster.",
        changes=(*_raised(seen, SOMAXCONN, _BACKLOG_LEAST), *_raised(seen, SYN_BACKLOG, _BACKLOG_LEAST)),
        bound="the queue is the smaller of this and of listen(2)'s backlog; the application must listen again",
    )  # fmt: skip


def _conntrack(seen: _Seen) -> Iterator[Advice]:
    use, dropped = seen.metric("ip.conntrack_use_pct"), seen.metric("ip.conntrack_drop")
    early = seen.metric("ip.conntrack_early_drop")
    if use < _TABLE_FULL_PCT and dropped + early < 1 and "conntrack_full" not in seen.causes:
        return
    changes = _raised(seen, CONNTRACK)
    memory = sum(int(each.new) for each in changes) * _CONNTRACK_ENTRY_BYTES
    yield Advice(
        id="PC-CONNTRACK-NF_CONNTRACK_MAX", cause="conntrack_full", netns=seen.name,
        reason=f"The table of tracked connections is {whole_pct(use)} full, and {dropped + early:.0f} entries were "
        "dropped.",
        action="Raise the limit of the table, or track fewer connections (notrack).", changes=changes,
        bound=f"a full table of the new size takes about {format_value(memory, 'bytes')} of kernel memory"
              if changes else "",
    )  # fmt: skip


def _receive_queues(seen: _Seen) -> Iterator[Advice]:
    dropped = max(seen.metric("nic.softnet_dropped"), seen.metric("nic.drops_backlog"))
    squeezed = seen.metric("nic.softnet_squeezed")
    if dropped >= 1:
        yield Advice(
            id="PC-SOFTIRQ-NETDEV_MAX_BACKLOG", cause="softirq_contention", netns=seen.name,
            reason=f"{dropped:.0f} packets were dropped because the backlog of a CPU was full.",
            action="Raise the backlog, or spread receiving over more CPUs (RSS, RPS).",
            changes=_raised(seen, NETDEV_BACKLOG),
            bound="twice the value: a longer backlog absorbs bursts, it does not make a busy CPU faster",
        )  # fmt: skip
    if squeezed >= _SQUEEZED_PER_S * max(seen.seconds, 1e-3) or ("softirq_contention" in seen.causes and squeezed >= 1):
        yield Advice(
            id="PC-SOFTIRQ-NETDEV_BUDGET", cause="softirq_contention", netns=seen.name,
            reason=f"Receiving stopped {squeezed:.0f} times because its budget was used up.",
            action="Raise the budget of one softirq run, or spread receiving over more CPUs (RSS, RPS).",
            changes=_raised(seen, NETDEV_BUDGET),
            bound="twice the value: a longer run delays other work of the CPU",
        )  # fmt: skip


def _slow_start(seen: _Seen) -> Iterator[Advice]:
    flows = seen.flows
    restarted = (
        (flows["cwnd_min_segs"] <= _RESTART_SEGS) & (flows["cwnd_max_segs"] >= 2 * flows["cwnd_min_segs"])
        & (flows["retrans_segs"] == 0) & (flows["busy_us"] < flows["elapsed_us"]) & (flows["established_ns"] == 0)
    )  # fmt: skip
    if restarted.any() and _numbers(seen.read(SLOW_START)) == (1,):
        yield Advice(
            id="PC-CWND-TCP_SLOW_START_AFTER_IDLE", cause="congestion_window", netns=seen.name,
            reason=f"The congestion window of {_connections(int(restarted.sum()))} starts again after pauses, "
                   "without any loss.",
            action="Keep the window over pauses.", changes=(Change(key=SLOW_START, old="1", new="0"),),
            bound="a burst of one whole window follows each pause; the path's queues must hold it",
        )  # fmt: skip


def _applications(seen: _Seen) -> Iterator[Advice]:
    if seen.has("slow_reader"):
        yield Advice(
            id="PC-APP-READS_SLOWLY", cause="slow_reader", netns=seen.name,
            reason=f"Received data waits to be read on {_connections(len(seen.rows('slow_reader')))}.",
            action="Read faster: larger reads, more threads, less work between reads. A larger buffer does not help.",
        )  # fmt: skip
    if "application_limited" in seen.causes:  # many healthy connections have nothing to send
        yield Advice(
            id="PC-APP-SENDS_LITTLE", cause="application_limited", netns=seen.name,
            reason="The application has nothing to send most of the time on "
                   f"{_connections(len(seen.rows('application_limited')))}.",
            action="Offer more data at a time, or more connections. TCP does not limit.",
        )  # fmt: skip


def _processors(seen: _Seen) -> Iterator[Advice]:
    waiting, throttled = seen.metric("cpu.runq_wait_pct"), seen.metric("cpu.throttled_pct")
    if throttled > _THROTTLED_PCT:
        yield Advice(
            id="PC-CPU-QUOTA", cause="cpu_contention", netns=seen.name,
            reason=f"The control group was stopped by its CPU quota for {whole_pct(throttled)} of the time.",
            action="Raise cpu.max of the control group.",
        )  # fmt: skip
    elif waiting > _WAITING_PCT or "cpu_contention" in seen.causes:
        yield Advice(
            id="PC-CPU-WAIT", cause="cpu_contention", netns=seen.name,
            reason=f"Processes waited for a CPU for {whole_pct(waiting)} of the time." if waiting > 0 else
                   "Processes waited for a CPU.",
            action="Move other work to other CPUs (cpuset, nice), or add CPUs.",
        )  # fmt: skip


_MAKERS: Final[tuple[Callable[[_Seen], Iterator[Advice]], ...]] = (
    _receive_window, _send_buffer, _accept_backlog, _conntrack, _receive_queues, _slow_start, _applications,
    _processors,
)  # fmt: skip
