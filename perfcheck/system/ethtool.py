"""What ethtool(8) reads and sets of a network device, by the same ioctl; all in the calling thread's namespace."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from perfcheck.errors import LabError

if TYPE_CHECKING:
    from pyroute2.ethtool.ioctl import IoctlEthtool

_SIOCETHTOOL: Final = 0x8946
_SET_FEATURE: Final = {"gro": 0x2C, "gso": 0x24, "tso": 0x1F, "sg": 0x19, "tx-checksumming": 0x17}
"""ETHTOOL_S* commands (linux/ethtool.h), in the order in which one feature depends on the next."""
_GET_FEATURE: Final = {"rx": 0x14, "tx": 0x16, "sg": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
"""ETHTOOL_G* commands by ethtool(8)'s short names; rx and tx are the checksums."""
_GET_DRIVER: Final = 0x03
_DRIVER_SIZE: Final = 196
"""struct ethtool_drvinfo (linux/ethtool.h): u32 cmd, char driver[32], and what is not read here."""


def turn_offloads_off(ifname: str) -> None:
    """Turn segmentation and checksum offloads off (`ethtool -K`), so that each packet on the wire is at most one MTU.

    LabError names the feature that the driver refuses to turn off; one that it does not have is left out.
    """
    with _control() as control:
        for feature, command in _SET_FEATURE.items():
            try:
                _ask(control, ifname, struct.pack("II", command, 0))
            except OSError as refused:
                if refused.errno == errno.EOPNOTSUPP:
                    continue
                raise LabError(f"{ifname}: turning {feature} off was refused: {refused.strerror}") from None


def driver(ifname: str) -> str | None:
    """Return the name of the device's driver (`ethtool -i`); None where it does not say."""
    with _control() as control, suppress(OSError):
        answer = _ask(control, ifname, struct.pack(f"I{_DRIVER_SIZE - 4}x", _GET_DRIVER))
        return answer[4:36].split(b"\0", 1)[0].decode(errors="replace")
    return None


def offloads_on(ifname: str) -> tuple[str, ...]:
    """Return the offloads that are on (`ethtool -k`), by ethtool's short names; rx and tx are the checksums."""
    on = []
    with _control() as control:
        for name, command in _GET_FEATURE.items():
            with suppress(OSError):
                if struct.unpack("II", _ask(control, ifname, struct.pack("II", command, 0)))[1]:
                    on.append(name)
    return tuple(on)


def statistics(ifname: str) -> Mapping[str, int] | None:
    """Return the driver's own counters (`ethtool -S`); None where it has none."""
    from pyroute2.ethtool.ioctl import EthtoolError

    with _device(ifname) as device, suppress(EthtoolError, OSError):
        return dict(device.get_statistics())
    return None


def active_features(ifname: str) -> frozenset[str] | None:
    """Return the kernel's names of the features that are on; None where the device does not say."""
    from pyroute2.ethtool.ioctl import EthtoolError

    with _device(ifname) as device, suppress(EthtoolError, OSError):
        return frozenset(name for name, active, *_ in device.get_features() if active)
    return None


def ask(ifname: str, question: bytes) -> bytes:
    """Return the driver's answer to a struct of linux/ethtool.h, as long as the question; OSError where it has none."""
    with _control() as control:
        return _ask(control, ifname, question)


def _control() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _ask(control: socket.socket, ifname: str, question: bytes) -> bytes:
    """Return the driver's answer, as long as the question; OSError where it has none."""
    value = ctypes.create_string_buffer(question, len(question))
    fcntl.ioctl(control.fileno(), _SIOCETHTOOL, struct.pack("16sP16x", ifname.encode(), ctypes.addressof(value)))
    return value.raw


@contextmanager
def _device(ifname: str) -> Iterator[IoctlEthtool]:
    from pyroute2.ethtool.ioctl import IoctlEthtool

    device = IoctlEthtool(ifname)
    try:
        yield device
    finally:
        device.close()
