"""Collectors: what measures while traffic runs. Each one's names stand in its module's docstring or the catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Literal

from perfcheck.errors import Unavailable

if TYPE_CHECKING:
    from perfcheck.ebpf.run_stats import RunClock
    from perfcheck.model.seams import Collector
    from perfcheck.system.checks import Check


Mode = Literal["summary", "detail", "both"]


def collectors(
    layers: Literal["all"] | Collection[str] = "all", mode: Mode = "summary", clock: RunClock | None = None
) -> tuple[Collector, ...]:
    """Make the collectors of these layers, the BPF core first; each says by `check()` whether it can measure here.

    Their programs share `clock`, or one that is made for them. In mode `detail` the TCP core and what needs no BPF
    measures beside the packets' paths, in `both` all does.
    """
    from perfcheck.collect.base.collector import BpfCollector
    from perfcheck.collect.detail.collector import DetailCollector
    from perfcheck.collect.ip.function_times import FunctionTimesCollector
    from perfcheck.collect.ip.ovs import MODULE, OvsCollector
    from perfcheck.collect.sockdiag.collector import SockdiagCollector
    from perfcheck.collect.socket.collector import SocketCollector
    from perfcheck.collect.tcp.collector import TcpCollector
    from perfcheck.ebpf.check import check_bpf
    from perfcheck.ebpf.run_stats import RunClock, Timed

    made = [make() for make, serves in _table().items() if layers == "all" or not serves.isdisjoint(layers)]
    # Without its module nothing of Open vSwitch is there to be measured: a run lacks nothing.
    if not MODULE.exists():
        made = [one for one in made if not isinstance(one, OvsCollector)]
    # Nor does it where the kernel does not trace functions: no other hook shows these times.
    made = [one for one in made if not isinstance(one, FunctionTimesCollector) or _passes(one.check)]
    # Counts are all that the core is checked against, and two looks make a difference.
    if any(isinstance(one, TcpCollector) for one in made) and _passes(check_bpf):
        made = [SockdiagCollector(counts_only=True) if isinstance(one, SockdiagCollector) else one for one in made]
    if mode == "detail":
        made = [one for one in made if not isinstance(one, BpfCollector | SocketCollector)]
    if mode != "summary":
        made.append(DetailCollector())
    clock = RunClock() if clock is None else clock
    for one in made:
        if isinstance(one, Timed):
            one.timed_by(clock)
    return tuple(made)


def prepare(layers: Literal["all"] | Collection[str] = "all", mode: Mode = "summary") -> None:
    """Begin to compile the BPF programs of these layers side by side, where they are not in the cache.

    Returns at once: a collector's `open` waits for what it needs. Imports little before, for the same reason.
    """
    from perfcheck.collect import drop_reasons
    from perfcheck.collect.base import sources
    from perfcheck.ebpf import cache, functions
    from perfcheck.ebpf import check as bpf_check

    with contextlib.suppress(Unavailable):
        bpf_check.check_bpf()
        enumerators = {drop_reasons.LABEL: drop_reasons.ENUMERATORS}
        cache.prepare(*sources.groups(layers, mode), enumerators=enumerators)
        if mode != "detail" and (layers == "all" or "ip" in layers):
            functions.way_to(functions.FUNCTIONS[0])
            cache.prepare(sources.TIMES)


def doctor_checks() -> tuple[Check, ...]:
    """Try what the collectors need, part by part, then each collector under its own name (MetricSpec.needs)."""
    from perfcheck.collect.doctor import all_checks

    made = collectors("all", "both")
    left_out = [one for make in _table() if (one := make()).name not in {other.name for other in made}]
    return all_checks((*made, *left_out))


def _passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except Unavailable:
        return False
    return True


def _table() -> Mapping[Callable[[], Collector], frozenset[str]]:
    """All collectors, with the layers that each has figures of."""
    from perfcheck.collect.cpu import CpuCollector
    from perfcheck.collect.drops import DropsCollector
    from perfcheck.collect.ip.conntrack import ConntrackCollector
    from perfcheck.collect.ip.function_times import ConntrackTimesCollector, RouteTimesCollector
    from perfcheck.collect.ip.ovs import OvsCollector
    from perfcheck.collect.ip.routes import IpCollector
    from perfcheck.collect.kernel.machine import MachineCollector
    from perfcheck.collect.kernel.netlink import NetlinkCollector
    from perfcheck.collect.kernel.snmp import HostCountersCollector
    from perfcheck.collect.nic import NicCollector
    from perfcheck.collect.qdisc import QdiscCollector
    from perfcheck.collect.sockdiag.collector import SockdiagCollector
    from perfcheck.collect.socket.collector import SocketCollector
    from perfcheck.collect.tcp.collector import TcpCollector

    return {
        TcpCollector: frozenset({"tcp"}),
        SockdiagCollector: frozenset({"tcp"}),
        HostCountersCollector: frozenset({"socket", "tcp", "udp", "ip"}),
        SocketCollector: frozenset({"socket"}),
        DropsCollector: frozenset({"socket", "udp", "ip", "qdisc", "nic"}),
        IpCollector: frozenset({"ip"}),
        RouteTimesCollector: frozenset({"ip"}),
        ConntrackCollector: frozenset({"ip"}),
        ConntrackTimesCollector: frozenset({"ip"}),
        OvsCollector: frozenset({"ip"}),
        QdiscCollector: frozenset({"qdisc"}),
        NetlinkCollector: frozenset({"ip", "qdisc", "nic"}),
        NicCollector: frozenset({"nic"}),
        CpuCollector: frozenset({"cpu"}),
        MachineCollector: frozenset({"nic", "cpu"}),
    }
