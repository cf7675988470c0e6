"""What an agent's machine and its interface are; read without anything but Python and iproute2."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from perfcheck.agent.requests import Description, InterfaceFacts
from perfcheck.errors import LabError
from perfcheck.system import commands, ethtool, ethtool_settings
from perfcheck.system.environment import describe_machine

DEVICES: Final = Path("/proc/thread-self/net/dev")
VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
COUNTERS: Final = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo", "rx_frame", "rx_compressed", "rx_multicast",
    "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo", "tx_colls", "tx_carrier", "tx_compressed",
)  # fmt: skip
"""Columns of /proc/net/dev."""
_SOCKETS: Final = {"tcp": ("0A", ("tcp", "tcp6")), "udp": ("07", ("udp", "udp6"))}
"""State in /proc/net/tcp and udp of sockets that take traffic from anybody, and the files (proc_net(5))."""
_IP_TIMEOUT_S: Final = 10.0


def describe(ifname: str | None, address: str | None) -> Description:
    """Return the machine's fingerprint and its interface; LabError where there is no such interface."""
    environment = describe_machine(Path("/"))
    ifname = ifname or _with_address(address or "")
    return Description(
        environment=environment, interface=interface(ifname), cpus=tuple(sorted(os.sched_getaffinity(0)))
    )


def _with_address(address: str) -> str:
    """Return the name of the interface that has an address; LabError where none has it."""
    done = commands.run(["ip", "-j", "addr", "show"], timeout_s=_IP_TIMEOUT_S, error=LabError)
    for link in json.loads(done.stdout):
        if any(each.get("local") == address for each in link.get("addr_info", [])):
            return str(link["ifname"])
    raise LabError(f"no interface has the address {address}")


def interface(ifname: str) -> InterfaceFacts:
    """Return an interface as it is; LabError where there is none of this name."""
    link = _link(ifname)
    flags = link.get("flags", [])
    return InterfaceFacts(
        name=ifname,
        up="UP" in flags,
        carrier="LOWER_UP" in flags,
        mtu=int(link.get("mtu", 0)),
        mac=str(link.get("address", "")),
        driver=ethtool.driver(ifname) or "",
        offloads=" ".join(ethtool.offloads_on(ifname)) or "none",
        qdisc=str(link.get("qdisc", "none")),
        speed_mbit=ethtool_settings.speed_mbit(ifname),
        addresses=tuple(
            str(each["local"]) for each in link.get("addr_info", [])
            if "local" in each and each.get("scope") not in {"link", "host"}
        ),
    )  # fmt: skip


def has_carrier(ifname: str) -> bool:
    """Whether the interface's link is up now."""
    flags = _link(ifname).get("flags", [])
    return "UP" in flags and "LOWER_UP" in flags


def _link(ifname: str) -> Mapping[str, Any]:
    if ifname not in _devices():
        have = ", ".join(sorted(name for name in _devices() if name != "lo")) or "none"
        raise LabError(f"there is no interface {ifname}; it has {have}")
    done = commands.run(["ip", "-j", "addr", "show", "dev", ifname], timeout_s=_IP_TIMEOUT_S, error=LabError)
    (link,) = [each for each in json.loads(done.stdout) if each]
    found: Mapping[str, Any] = link
    return found


def counters(ifname: str) -> dict[str, int]:
    """Return an interface's counters by the kernel's names."""
    found = _devices().get(ifname)
    if found is None:
        raise LabError(f"there is no interface {ifname} any more")
    return dict(zip(COUNTERS, map(int, found), strict=True))


def _devices() -> dict[str, list[str]]:
    lines = DEVICES.read_text(encoding="ascii").splitlines()[2:]
    return {name.strip(): rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def listening(port: int, protocol: str) -> bool:
    """Whether something listens on the port, over IPv4 or IPv6."""
    state, files = _SOCKETS[protocol]
    for file in files:
        try:
            lines = Path("/proc/thread-self/net", file).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] == state and int(fields[1].rpartition(":")[2], 16) == port:
                return True
    return False


def kernel_types_digest() -> str | None:
    """Return a digest of the kernel's BTF, as the cache of compiled programs has it; None without BTF."""
    try:
        return hashlib.blake2b(VMLINUX.read_bytes(), digest_size=12).hexdigest()
    except OSError:
        return None
