"""What a host's interfaces are given over rtnetlink: names are made by the emulators, the rest is set here."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from perfcheck.lab.topology import Link, Topology

if TYPE_CHECKING:
    from pyroute2 import IPRoute

_LOOPBACK_INDEX: Final = 1
_IFA_F_NODAD: Final = 0x02
_IFF_LOWER_UP: Final = 0x10000
_SETTLED: Final = _IFF_LOWER_UP | 0x40
"""IFF_LOWER_UP (carrier) and IFF_RUNNING (operational state up)."""
_RT_SCOPE_LINK: Final = 253
_RTPROT_KERNEL: Final = 2
_IPV6_CONNECTED_METRIC: Final = 256
"""Metric that the kernel gives to the route of an IPv6 address; with it a replace meets that route."""


class Carrier(Enum):
    """Whether a packet sent on an interface now would pass.

    PRESENT: the other end is up, but the kernel has not yet announced it. Before Linux 6.8 it may
    put that off for a second (net/core/link_watch.c), although packets pass within milliseconds.
    """

    ABSENT = auto()
    PRESENT = auto()
    SETTLED = auto()


def bring_loopback_up(ip: IPRoute) -> None:
    """Bring `lo` up, so that a host reaches itself."""
    ip.link("set", index=_LOOPBACK_INDEX, state="up")


def configure(ip: IPRoute, topology: Topology, host: str, congestion: str | None) -> None:
    """Return the host's interfaces MAC and IP addresses and bring them up; then neighbours and routes.

    Neighbours are permanent, so that a link's loss never hits ARP or neighbour discovery.
    `congestion` is set as a metric of every route where it is not None.
    """
    index_of = _indices(ip)
    for link in topology.links_of(host):
        _configure_end(ip, link, host, index_of[link.end_of(host).ifname], congestion)
    for route in topology.routes_of(host):
        options = _metrics(congestion)
        ip.route(
            "add", dst=route.subnet, gateway=route.via, oif=index_of[route.ifname],
            family=_family(route.via), **options,
        )  # fmt: skip


def carrier(ip: IPRoute, ifname: str) -> Carrier:
    """Look at one interface, by a request for it alone: from Linux 6.8 on that settles its pending link events."""
    (message,) = ip.link("get", ifname=ifname)
    if message["flags"] & _SETTLED == _SETTLED:
        return Carrier.SETTLED
    return Carrier.PRESENT if message["flags"] & _IFF_LOWER_UP else Carrier.ABSENT


def counters(ip: IPRoute, ifname: str) -> Mapping[str, int]:
    """Return an interface's counters (struct rtnl_link_stats64) by the kernel's own names."""
    (message,) = ip.link("get", ifname=ifname)
    stats = message.get_attr("IFLA_STATS64")
    return {name: int(value) for name, value in stats.items() if isinstance(value, int)}


def _indices(ip: IPRoute) -> Mapping[str, int]:
    return {message.get_attr("IFLA_IFNAME"): message["index"] for message in ip.get_links()}


def _configure_end(ip: IPRoute, link: Link, host: str, index: int, congestion: str | None) -> None:
    own, other = link.end_of(host), link.end_opposite(host)
    ip.link("set", index=index, address=own.mac, state="up")
    for subnet, address, neighbour in zip(link.subnets, own.addresses, other.addresses, strict=True):
        ip.addr("add", index=index, address=address, prefixlen=subnet.prefixlen, flags=_IFA_F_NODAD)
        ip.neigh("add", dst=neighbour, lladdr=other.mac, ifindex=index, state="permanent", family=_family(neighbour))
        if congestion is not None:
            options = (
                {"prefsrc": address, "scope": _RT_SCOPE_LINK}
                if subnet.version == 4
                else {"priority": _IPV6_CONNECTED_METRIC}
            )
            ip.route(
                "replace", dst=str(subnet), oif=index, proto=_RTPROT_KERNEL, family=_family(address),
                **options, **_metrics(congestion),
            )  # fmt: skip


def _metrics(congestion: str | None) -> Mapping[str, object]:
    return {} if congestion is None else {"metrics": {"cc_algo": congestion}}


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
