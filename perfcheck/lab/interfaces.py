"""The hosts' interfaces for the fingerprint: driver, offloads and queueing discipline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from perfcheck.system import ethtool

if TYPE_CHECKING:
    from pyroute2 import IPRoute


def qdiscs(ip: IPRoute) -> Mapping[str, str]:
    """Return the root queueing discipline of each interface of the namespace; loopback is none of the lab's."""
    found = {link.get_attr("IFLA_IFNAME"): link.get_attr("IFLA_QDISC") or "none" for link in ip.get_links()}
    return {name: qdisc for name, qdisc in found.items() if name != "lo"}


def driver_and_offloads(ifname: str) -> Mapping[str, str]:
    """Return driver and offloads (those that are on) of an interface of the calling thread's namespace."""
    name = ethtool.driver(ifname)
    known = {} if name is None else {"driver": name}
    return known | {"offloads": " ".join(ethtool.offloads_on(ifname)) or "none"}
