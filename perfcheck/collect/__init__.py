"""Collectors measure while traffic runs. Their names are in the module's docstring or in the catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from perfcheck.collect.base.declaration import Declaration, Layers, Mode
from perfcheck.errors import Unavailable

if TYPE_CHECKING:
    from perfcheck.ebpf.run_stats import RunClock
    from perfcheck.model.seams import Collector
    from perfcheck.system.checks import Check


__all__ = ["Kind", "Layers", "Mode", "collectors", "compiled_for", "doctor_checks", "kinds", "prepare"]


@runtime_checkable
class Elsewhere(Protocol):
    """A collector of something that many machines do not have, and of which a run there lacks nothing."""

    def belongs_here(self) -> bool:
        """Whether this machine has it."""


class Kind(Protocol):
    """A class of collectors."""

    @property
    def declared(self) -> Declaration:
        """What it says of itself."""

    def __call__(self) -> Collector:
        """Make one."""


def collectors(
    layers: Layers = "all", mode: Mode = "summary", clock: RunClock | None = None, *, events: bool = False
) -> tuple[Collector, ...]:
    """Make the collectors of these layers, TCP's first; each says by `check()` whether it can measure here.

    Their programs share `clock`, or one that is made for them. In mode `detail` the TCP collector and what needs no BPF
    measures beside the packets' paths, in `both` all does. With `events` what is rare is told one by one, in any mode.
    """
    from perfcheck.collect.sockdiag.collector import SockdiagCollector
    from perfcheck.collect.tcp.collector import TcpCollector
    from perfcheck.ebpf.check import check_bpf
    from perfcheck.ebpf.run_stats import RunClock, Timed

    wanted = [make for make in kinds() if make.declared.serves(layers, mode)]
    made = [make() for make in wanted if events or not make.declared.on_request]
    made = [one for one in made if not isinstance(one, Elsewhere) or one.belongs_here()]
    # Counts are all that the TCP collector is checked against, and two looks make a difference.
    if any(isinstance(one, TcpCollector) for one in made) and _passes(check_bpf):
        made = [SockdiagCollector(counts_only=True) if isinstance(one, SockdiagCollector) else one for one in made]
    clock = RunClock() if clock is None else clock
    for one in made:
        if isinstance(one, Timed):
            one.timed_by(clock)
    return tuple(made)


def prepare(layers: Layers = "all", mode: Mode = "summary", *, events: bool = False) -> None:
    """Begin to compile the BPF programs of these layers side by side, where they are not in the cache.

    Returns at once: a collector's `open` waits for what it needs. Imports little before, for the same reason.
    """
    from perfcheck.collect import declared, drop_reasons
    from perfcheck.ebpf import cache
    from perfcheck.ebpf import check as bpf_check

    with contextlib.suppress(Unavailable):
        bpf_check.check_bpf()
        enumerators = {drop_reasons.LABEL: drop_reasons.ENUMERATORS}
        if events:
            enumerators[drop_reasons.MORE_LABEL] = drop_reasons.MORE_ENUMERATORS
        cache.prepare(*declared.texts(layers, mode, events=events), enumerators=enumerators)
        if declared.ROUTE_TIMES.serves(layers, mode):
            # Imports numpy.
            from perfcheck.ebpf import functions

            functions.attachment_to(functions.FUNCTIONS[0])
            cache.prepare(declared.TIMES_TEXT)


def compiled_for(
    types: Path, layers: Layers = "all", mode: Mode = "summary", *, events: bool = False
) -> Mapping[str, bytes]:  # fmt: skip
    """Compile all that these layers need on the kernel with these types (BTF); return its cache's files by name."""
    from perfcheck.collect import declared, drop_reasons
    from perfcheck.ebpf import cache, functions

    groups = list(declared.texts(layers, mode, events=events))
    if declared.ROUTE_TIMES.serves(layers, mode):
        groups.append(declared.TIMES_TEXT)
    enumerators = {drop_reasons.LABEL: drop_reasons.ENUMERATORS}
    if events:
        enumerators[drop_reasons.MORE_LABEL] = drop_reasons.MORE_ENUMERATORS
    instead = [(function.partition("/")[2],) for function in declared.DETAIL.instead.values()]
    return cache.files_for(types, groups, enumerators, [functions.FUNCTIONS, *instead])


def doctor_checks() -> tuple[Check, ...]:
    """Try what the collectors need, part by part, then each collector under its own name (MetricSpec.needs)."""
    from perfcheck.collect.doctor import all_checks

    made = collectors("all", "both", events=True)
    known = {one.name for one in made}
    left_out = [make() for make in kinds() if make.declared.name not in known]
    return all_checks((*made, *left_out))


def _passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except Unavailable:
        return False
    return True


def kinds() -> tuple[Kind, ...]:
    """Return all collectors, in the order in which they are begun and told."""
    from perfcheck.collect.cpu import CpuCollector
    from perfcheck.collect.detail.collector import DetailCollector
    from perfcheck.collect.drops import DropsCollector
    from perfcheck.collect.events.collector import EventsCollector
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

    return (
        TcpCollector, SockdiagCollector, HostCountersCollector, SocketCollector, DropsCollector, IpCollector,
        RouteTimesCollector, ConntrackCollector, ConntrackTimesCollector, OvsCollector, QdiscCollector,
        NetlinkCollector, NicCollector, CpuCollector, MachineCollector, DetailCollector, EventsCollector,
    )  # fmt: skip
