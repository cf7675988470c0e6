"""A TAP device in another network namespace.

Without offloads what is read from it is one packet at the MTU, its checksums complete; with them it may be a
super-packet behind a virtio header, which says what is still to be done.
"""

from __future__ import annotations

import _socket  # `socket` itself takes longer to import than the whole relay to start
import ctypes
import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

CLONE_NEWNET: Final = 0x40000000
TUNSETIFF: Final = 0x400454CA
TUNSETOFFLOAD: Final = 0x400454D0
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
TUN_F_CSUM: Final = 0x01
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04
TUN_F_TSO_ECN: Final = 0x08
SIOCSIFMTU: Final = 0x8922
SIOCSIFTXQLEN: Final = 0x8943
TX_QUEUE_PACKETS: Final = 10_000
"""A TAP has no back-pressure and drops silently when full: 500 lost 90 % of a burst of 5,000, this none."""


class Tap:
    """One end of the relay; the device goes when `fd` is closed."""

    __slots__ = ("_dev", "fd", "ifname")

    def __init__(self, netns_path: str, ifname: str, mtu: int, *, offloads: bool) -> None:
        """Make the device, down; needs CAP_SYS_ADMIN. OSError says what the kernel refused."""
        self.ifname = ifname
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(netns_path)
            try:
                self.fd = _make(ifname, mtu, offloads=offloads)
                self._dev = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _setns(home)
        finally:
            os.close(home)

    def counters(self) -> dict[str, int]:
        """Return the kernel's own counts of the device, by the names that `ip -s link` uses."""
        text = os.pread(self._dev, 65536, 0).decode()
        for line in text.splitlines():
            name, _, values = line.partition(":")
            if name.strip() == self.ifname:
                fields = [int(value) for value in values.split()]
                return {
                    "rx_packets": fields[1], "rx_errors": fields[2], "rx_dropped": fields[3],
                    "tx_packets": fields[9], "tx_errors": fields[10], "tx_dropped": fields[11],
                }  # fmt: skip
        return {}

    def close(self) -> None:
        """Remove the device."""
        os.close(self.fd)
        os.close(self._dev)


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _enter(netns_path: str) -> None:
    fd = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
    finally:
        os.close(fd)


def _make(ifname: str, mtu: int, *, offloads: bool) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        name = ifname.encode()
        fcntl.ioctl(
            fd, TUNSETIFF, struct.pack("16sH22x", name, IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if offloads else 0))
        )
        if offloads:
            fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
        control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
        try:
            fcntl.ioctl(control.fileno(), SIOCSIFMTU, struct.pack("16si20x", name, mtu))
            fcntl.ioctl(control.fileno(), SIOCSIFTXQLEN, struct.pack("16si20x", name, TX_QUEUE_PACKETS))
        finally:
            control.close()
    except BaseException:
        os.close(fd)
        raise
    return fd
