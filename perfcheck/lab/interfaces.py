"""What the hosts' interfaces are, for the fingerprint: driver, offloads and queueing discipline."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from perfcheck.lab.links.offloads import SIOCETHTOOL

if TYPE_CHECKING:
    from pyroute2 import IPRoute

_GET_DRIVER: Final = 0x03
_DRIVER_SIZE: Final = 196
"""struct ethtool_drvinfo (linux/ethtool.h): u32 cmd, char driver[32], and what is not read here."""

_GET_FEATURE: Final = {"rx": 0x14, "tx": 0x16, "sg": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
"""ETHTOOL_G* commands by ethtool(8)'s short names; rx and tx are the checksums."""


def qdiscs(ip: IPRoute) -> Mapping[str, str]:
    """Return the root queueing discipline of each interface of the namespace; loopback is none of the lab's."""
    found = {link.get_attr("IFLA_IFNAME"): link.get_attr("IFLA_QDISC") or "none" for link in ip.get_links()}
    return {name: qdisc for name, qdisc in found.items() if name != "lo"}


def ethtool(ifname: str) -> Mapping[str, str]:
    """Return driver and offloads (those that are on) of an interface of the calling thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        driver = _ask(control, ifname, struct.pack(f"I{_DRIVER_SIZE - 4}x", _GET_DRIVER))
        features = {name: _ask(control, ifname, struct.pack("II", get, 0)) for name, get in _GET_FEATURE.items()}
    on = [name for name, answer in features.items() if answer is not None and struct.unpack("II", answer)[1]]
    known = {} if driver is None else {"driver": driver[4:36].split(b"\0", 1)[0].decode(errors="replace")}
    return known | {"offloads": " ".join(on) or "none"}


def _ask(control: socket.socket, ifname: str, question: bytes) -> bytes | None:
    """Return the driver's answer, as long as the question; None where it has none."""
    value = ctypes.create_string_buffer(question, len(question))
    with suppress(OSError):
        fcntl.ioctl(control.fileno(), SIOCETHTOOL, struct.pack("16sP16x", ifname.encode(), ctypes.addressof(value)))
        return value.raw
    return None
