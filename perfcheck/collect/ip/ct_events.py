"""Counts the connections that a host started to track, by the kernel's own events, in the kernel.

A netlink socket listens to new connections (NFNLGRP_CONNTRACK_NEW). Its BPF filter counts each message and lets
none into the socket. So nothing per connection reaches user space.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from typing import Final

from perfcheck.ebpf.libbpf import PROG_SOCKET_FILTER, Libbpf, RunCounters, map_memory

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_NFNLGRP_CONNTRACK_NEW: Final = 1
_SO_ATTACH_BPF: Final = 50
_MAP_ARRAY: Final = 2
_F_MMAPABLE: Final = 1 << 10
_COUNT: Final = struct.Struct("=Q")
_PSEUDO_MAP_VALUE: Final = 2
_INSTRUCTION: Final = struct.Struct("<BBhi")


def _counting(map_fd: int) -> bytes:
    """Return the filter: add 1 to the map's only value, keep nothing of the message."""
    code = (
        (0x18, _PSEUDO_MAP_VALUE << 4 | 1, 0, map_fd), (0, 0, 0, 0),  # r1 = address of the value
        (0xB7, 2, 0, 1),  # r2 = 1
        (0xDB, 2 << 4 | 1, 0, 0),  # lock *(u64 *)(r1 + 0) += r2
        (0xB7, 0, 0, 0),  # r0 = 0
        (0x95, 0, 0, 0),  # exit
    )  # fmt: skip
    return b"".join(_INSTRUCTION.pack(*one) for one in code)


class NewConnections:
    """Counts from now on what the calling thread's namespace begins to track; OSError where that is refused."""

    def __init__(self, lib: Libbpf) -> None:
        """Listen, in the calling thread's namespace."""
        self._lib = lib
        map_fd = lib.map_create(_MAP_ARRAY, "ct_new", 4, _COUNT.size, 1, _F_MMAPABLE)
        try:
            self.map_bytes: Final = map_memory(map_fd)
            self._memory = mmap.mmap(map_fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
            self._prog_fd = lib.prog_load("ct_new", _counting(map_fd), 0, 0, kind=PROG_SOCKET_FILTER)
        finally:
            os.close(map_fd)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        try:
            # Without an address of its own it would pass for the kernel, which does not hear its own events.
            self._socket.bind((0, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, self._prog_fd)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_CONNTRACK_NEW)
        except OSError:
            self.close()
            raise

    def count(self) -> int:
        """How many there were so far."""
        (count,) = _COUNT.unpack_from(self._memory)
        return int(count)

    def cost(self) -> RunCounters:
        """Run time and calls of the filter so far."""
        return self._lib.run_counters(self._prog_fd)

    def close(self) -> None:
        """Listen no more; safe to call twice."""
        self._socket.close()
        if self._prog_fd >= 0:
            os.close(self._prog_fd)
            self._prog_fd = -1
