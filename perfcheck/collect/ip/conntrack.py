"""Connection tracking of the lab's hosts, over nfnetlink: what was found, dropped, and how full the table is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from perfcheck.collect import declared
from perfcheck.collect.base.collector import LookingCollector, Seen
from perfcheck.collect.ip.ct_events import NewConnections
from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.errors import CollectError, Unavailable
from perfcheck.model.observation import Observation, ProgramCost, Scope
from perfcheck.system.netns import NetnsThread

_COUNTERS: Final = ("found", "invalid", "insert_failed", "drop", "early_drop", "error")

Tracked = Mapping[str, int]


class ConntrackCollector(LookingCollector[dict[str, Tracked]]):
    """Reads each host's counters of connection tracking and the fill of its table; counts new connections by BPF."""

    declared = declared.CONNTRACK

    def __init__(self) -> None:
        """Nothing is read before `begin`."""
        super().__init__()
        self._new: dict[str, NewConnections] = {}

    def begin(self, scope: Scope) -> None:
        """Listen to new connections, and look once the warm-up is over."""
        self._listen_no_more()
        # Without BPF, or the kernel's events (CONFIG_NF_CONNTRACK_EVENTS), the rest is still there.
        with contextlib.suppress(OSError, Unavailable), NetnsThread() as namespaces:
            lib = Libbpf()
            for host, path in scope.netns_paths.items():
                self._new[host] = namespaces.inside(path, lambda: NewConnections(lib))
        super().begin(scope)

    def program_ns(self) -> int:
        """Return the run time of the filters since they were loaded."""
        return sum(one.cost().run_ns for one in self._new.values())

    def do_less(self, share: float) -> str | None:
        """Return None: a filter counts all events or none."""
        del share
        return None

    def end(self) -> Observation:
        """Look again and give the differences, and what the filters cost."""
        costs = [one.cost() for one in self._new.values()]
        map_bytes = sum(one.map_bytes for one in self._new.values())
        seen = super().end()
        calls, run_ns = sum(one.calls for one in costs), sum(one.run_ns for one in costs)
        programs = (ProgramCost(program="conntrack/ct_new", calls=calls, run_ns=run_ns),) if costs else ()
        return replace(seen, overhead=replace(seen.overhead, programs=programs, map_bytes=map_bytes))

    def close(self) -> None:
        """Let go of the hosts; safe to call twice."""
        super().close()
        self._listen_no_more()

    def _listen_no_more(self) -> None:
        for one in self._new.values():
            one.close()
        self._new = {}

    def check(self) -> None:
        """Raise Unavailable where the kernel does not answer for connection tracking."""
        try:
            read()
        except Exception as error:
            raise Unavailable(
                "connection tracking's counters", _reason(error),
                "a kernel with CONFIG_NF_CT_NETLINK (modprobe nf_conntrack_netlink), as root",
            ) from error  # fmt: skip

    def look(self, namespaces: NetnsThread, paths: Mapping[str, str]) -> dict[str, Tracked]:
        """Look at each host."""
        try:
            found = {host: namespaces.inside(path, read) for host, path in paths.items()}
        except OSError as error:
            raise CollectError(f"connection tracking's counters cannot be read: {error}") from error
        return {
            host: {**look, "new": self._new[host].count()} if host in self._new else look
            for host, look in found.items()
        }

    def compare(self, before: dict[str, Tracked], after: dict[str, Tracked], length_ns: int) -> Seen:
        """Return the differences, of all hosts together."""
        del length_ns
        return Seen(metrics=dict(metrics_of(before, after)))


def _reason(error: Exception) -> str:
    """Return the kernel's word: netlink's errors carry it as a pair, with a positive number before it."""
    number = getattr(error, "code", None) or getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else str(error) or type(error).__name__


def read() -> Tracked:
    """Read the counters of the calling thread's namespace, all CPUs together, and the table's fill."""
    from pyroute2 import NFCTSocket

    with contextlib.closing(NFCTSocket()) as netlink:
        return counts_of(netlink.stat(), netlink.count())


def counts_of(per_cpu: list[Any], table: list[Any]) -> Tracked:
    """Add up the answers to IPCTNL_MSG_CT_GET_STATS_CPU, and name those to IPCTNL_MSG_CT_GET_STATS."""
    found = {
        name: sum(int(message.get_attr(f"CTA_STATS_{name.upper()}") or 0) for message in per_cpu) for name in _COUNTERS
    }
    (message,) = table
    found["entries"] = int(message.get_attr("CTA_STATS_GLOBAL_ENTRIES") or 0)
    found["max_entries"] = int(message.get_attr("CTA_STATS_GLOBAL_MAX_ENTRIES") or 0)
    return found


def metrics_of(before: Mapping[str, Tracked], after: Mapping[str, Tracked]) -> Iterator[tuple[str, float]]:
    """Return sums over the hosts; the table's use is the fullest host's, at the fuller of the two moments."""
    hosts = [host for host in after if host in before]
    for name in _COUNTERS:
        yield f"ip.conntrack_{name}", sum((after[host][name] - before[host][name]) % (1 << 32) for host in hosts)
    if all("new" in after[host] for host in hosts):
        yield "ip.conntrack_new", sum(after[host]["new"] - before[host]["new"] for host in hosts)
    most = {host: max(before[host]["entries"], after[host]["entries"]) for host in hosts}
    yield "ip.conntrack_entries", sum(most.values())
    used = [100 * most[host] / after[host]["max_entries"] for host in hosts if after[host]["max_entries"]]
    if used:
        yield "ip.conntrack_use_pct", max(used)
