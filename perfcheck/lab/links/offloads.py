"""Turning a device's offloads off, so that a packet is a packet: one at the MTU on the wire, as ethtool(8) -K does."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from typing import Final

from perfcheck.errors import LabError

SIOCETHTOOL: Final = 0x8946
FEATURES: Final = {"gro": 0x2C, "gso": 0x24, "tso": 0x1F, "sg": 0x19, "tx-checksumming": 0x17}
"""ETHTOOL_S* commands (linux/ethtool.h), in the order in which one feature depends on the next."""


def turn_offloads_off(ifname: str) -> None:
    """Turn segmentation and checksum offloads of a device of the calling thread's namespace off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for feature, command in FEATURES.items():
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP16x", ifname.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(control.fileno(), SIOCETHTOOL, request)
            except OSError as refused:
                if refused.errno == errno.EOPNOTSUPP:
                    continue
                raise LabError(f"{ifname}: turning {feature} off was refused: {refused.strerror}") from None
