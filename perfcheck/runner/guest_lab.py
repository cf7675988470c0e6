"""A scenario's lab as steps of a guest's job: the same hosts, links, addresses and settings, made by programs there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from perfcheck.errors import LabError
from perfcheck.kernels.job import Step
from perfcheck.lab import settings
from perfcheck.lab.lab import NAT_RULES
from perfcheck.lab.topology import Link, Topology, lay_out
from perfcheck.model.scenario import Scenario
from perfcheck.system import sysctl

MODULES: Final = ("veth",)
CONGESTION_PATH: Final = str(sysctl.path_of(settings.CONGESTION_KEY))
ALLOWED_KEY: Final = "net.ipv4.tcp_allowed_congestion_control"
SETUP_S: Final = 30.0


def lay_out_in_guest(scenario: Scenario) -> Topology:
    """Return the scenario's lab on paper, as it is made in a guest."""
    return lay_out(scenario.hosts, scenario.links, ipv6=True)


def programs_of(scenario: Scenario) -> tuple[str, ...]:
    """Return the programs that the hosts' own commands run, which have to be in the guest."""
    return tuple(dict.fromkeys(_words(command)[0] for spec in scenario.hosts.values() for command in spec.setup))


def lab_steps(topology: Topology) -> tuple[Step, ...]:
    """Return the steps that make the hosts and plain links, and set the hosts up as the file says."""
    return (
        Step(kind="run", arguments=("modprobe", "-a", *MODULES)),
        *(step for name in topology.hosts for step in _host(topology, name)),
        *(_pair(link) for link in topology.links),
        *(step for name in topology.hosts for step in _network(topology, name)),
        *(step for name in topology.hosts for step in _settings(topology, name)),
    )


def _host(topology: Topology, name: str) -> Iterator[Step]:
    """Make a host; interfaces that come later take over what is written here."""
    yield Step(kind="run", arguments=("ip", "netns", "add", name))
    yield _ip(name, "link", "set", "lo", "up")
    spec = topology.hosts[name]
    for key, value in settings.defaults(spec).items():
        yield Step(kind="offer", netns=name, arguments=(str(sysctl.path_of(key)), value))
    for key, value in settings.file_sysctls(spec).items():
        if settings.is_inherited(key):
            yield Step(kind="write", netns=name, arguments=(str(sysctl.path_of(key)), value))


def _pair(link: Link) -> Step:
    first, second = link.ends
    peer = ("peer", "name", second.ifname, "netns", second.host)
    return Step(
        kind="run", arguments=("ip", "link", "add", first.ifname, "netns", first.host, "type", "veth", *peer)
    )  # fmt: skip


def _network(topology: Topology, name: str) -> Iterator[Step]:
    """Give a host's interfaces addresses and bring them up; then neighbours, which are permanent, and routes."""
    for link in topology.links_of(name):
        own, other = link.end_of(name), link.end_opposite(name)
        yield _ip(name, "link", "set", own.ifname, "address", own.mac, "up")
        for subnet, address, neighbour in zip(link.subnets, own.addresses, other.addresses, strict=True):
            no_detection = ("nodad",) if subnet.version == 6 else ()
            yield _ip(name, "addr", "add", f"{address}/{subnet.prefixlen}", "dev", own.ifname, *no_detection)
            yield _ip(name, "neigh", "add", neighbour, "lladdr", other.mac, "dev", own.ifname, "nud", "permanent")
    for route in topology.routes_of(name):
        yield _ip(name, "route", "add", route.subnet, "via", route.via, "dev", route.ifname)


def _settings(topology: Topology, name: str) -> Iterator[Step]:
    spec = topology.hosts[name]
    for key, value in settings.file_sysctls(spec).items():
        yield Step(kind="write", netns=name, arguments=(str(sysctl.path_of(key)), value))
    congestion = settings.wanted_congestion(spec)
    if congestion is not None:
        # A namespace may only choose what is allowed to everybody. The module of the name may be built in.
        yield Step(kind="run", arguments=("modprobe", "-q", f"tcp_{congestion}"), may_fail=True)
        yield Step(
            kind="write", arguments=(str(sysctl.path_of(ALLOWED_KEY)), f"reno cubic {congestion}"), may_fail=True
        )
        yield Step(kind="write", netns=name, arguments=(CONGESTION_PATH, congestion))
    links = [link for link in topology.links_of(name) if link.end_opposite(name).host in spec.nat]
    if links:
        devices = ", ".join(f'"{link.end_of(name).ifname}"' for link in links)
        yield Step(kind="run", netns=name, arguments=("nft", NAT_RULES.format(devices=devices)))
    for command in spec.setup:
        yield Step(kind="run", netns=name, arguments=tuple(_words(command)), timeout_s=SETUP_S)


def _ip(netns: str, *words: str) -> Step:
    return Step(kind="run", netns=netns, arguments=("ip", *words))


def _words(command: str) -> Sequence[str]:
    try:
        words = shlex.split(command)
    except ValueError as wrong:
        raise LabError(f"setup `{command}`: {wrong}") from None
    if not words:
        raise LabError("setup: there is no command to run")
    return words
