"""Open vSwitch's kernel datapaths of the lab's hosts, over generic netlink: flow hits, upcalls, and upcalls lost.

It needs the kernel module: a machine without the module has no datapath to measure.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from perfcheck.collect import declared
from perfcheck.collect.base.collector import LookingCollector, Seen
from perfcheck.collect.sockdiag.tcp_info import NLMSG_DONE, NLMSG_ERROR, messages
from perfcheck.errors import CollectError, Unavailable
from perfcheck.system.netns import NetnsThread

MODULE: Final = Path("/sys/module/openvswitch")
_NETLINK_GENERIC: Final = 16
_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2
_OVS_DP_CMD_GET: Final = 3
_OVS_DP_ATTR_STATS: Final = 3
_OVS_DATAPATH_VERSION: Final = 2
_REQUEST: Final = 0x1
_DUMP: Final = 0x301
_MESSAGE: Final = struct.Struct("=IHHIIBBH")  # nlmsghdr and genlmsghdr
_GENL_BYTES: Final = 4
_OVS_HEADER_BYTES: Final = 4
_ATTRIBUTE: Final = struct.Struct("=HH")
_STATS: Final = struct.Struct("=4Q")  # struct ovs_dp_stats
_NAMES: Final = ("hits", "upcalls", "lost", "flows")
_RECEIVE_BYTES: Final = 1 << 16

Datapaths = Mapping[str, int]


class OvsCollector(LookingCollector[dict[str, Datapaths]]):
    """Reads the statistics of all datapaths of each host."""

    declared = declared.OVS

    def belongs_here(self) -> bool:
        """Whether the module is there: without it there is nothing to be measured, and a run lacks nothing."""
        return MODULE.exists()

    def check(self) -> None:
        """Raise Unavailable where the kernel has no Open vSwitch."""
        try:
            read()
        except OSError as error:
            raise Unavailable("Open vSwitch", error.strerror or str(error), "modprobe openvswitch") from error

    def look(self, namespaces: NetnsThread, paths: Mapping[str, str]) -> dict[str, Datapaths]:
        """Look at each host."""
        try:
            return {host: namespaces.inside(path, read) for host, path in paths.items()}
        except OSError as error:
            raise CollectError(f"Open vSwitch's counters cannot be read: {error}") from error

    def compare(self, before: dict[str, Datapaths], after: dict[str, Datapaths], length_ns: int) -> Seen:
        """Return the differences of all datapaths together, and how many flows there are at the end; none without."""
        del length_ns
        if not any(look["datapaths"] for look in after.values()):
            return Seen()
        metrics = {
            f"ip.ovs_{name}": float(sum(after[host][name] - before[host][name] for host in after))
            for name in ("hits", "upcalls", "lost")
        }
        return Seen(metrics={**metrics, "ip.ovs_flows": float(sum(look["flows"] for look in after.values()))})


def read() -> Datapaths:
    """Add up the datapaths of the calling thread's namespace; OSError (ENOENT) without the module."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as netlink:
        netlink.settimeout(1.0)
        family = family_of(netlink, "ovs_datapath")
        request = _MESSAGE.pack(
            _MESSAGE.size + _OVS_HEADER_BYTES, family, _DUMP, 0, 0, _OVS_DP_CMD_GET, _OVS_DATAPATH_VERSION, 0
        )
        netlink.send(request + bytes(_OVS_HEADER_BYTES))
        return summed(list(_answers(netlink)))


def summed(payloads: list[bytes]) -> Datapaths:
    """Add up datapaths, each as a payload of OVS_DP_CMD_GET's answer."""
    found = dict.fromkeys((*_NAMES, "datapaths"), 0)
    for payload in payloads:
        attributes = dict(_attributes(payload, _GENL_BYTES + _OVS_HEADER_BYTES))
        statistics = attributes.get(_OVS_DP_ATTR_STATS, b"")
        if len(statistics) < _STATS.size:
            continue
        found["datapaths"] += 1
        for name, value in zip(_NAMES, _STATS.unpack_from(statistics), strict=True):
            found[name] += value
    return found


def family_of(netlink: socket.socket, name: str) -> int:
    """Return the number under which the kernel knows a generic netlink family."""
    text = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), _CTRL_ATTR_FAMILY_NAME) + text + bytes(-len(text) % 4)
    netlink.send(
        _MESSAGE.pack(_MESSAGE.size + len(attribute), _GENL_ID_CTRL, _REQUEST, 0, 0, _CTRL_CMD_GETFAMILY, 1, 0)
        + attribute
    )
    (payload,) = (payload for _, payload in _checked(netlink.recv(_RECEIVE_BYTES)))
    return int.from_bytes(dict(_attributes(payload, _GENL_BYTES))[_CTRL_ATTR_FAMILY_ID], "little")


def _answers(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        for kind, payload in _checked(netlink.recv(_RECEIVE_BYTES)):
            if kind == NLMSG_DONE:
                return
            yield payload


def _checked(data: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, payload in messages(data):
        if kind == NLMSG_ERROR:
            number = -int.from_bytes(payload[:4], "little", signed=True)
            raise OSError(number, f"generic netlink: {os.strerror(number)}")
        yield kind, payload


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4
