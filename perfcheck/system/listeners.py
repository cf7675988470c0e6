"""Sockets that listen in a network namespace, made to listen with a longer queue than their programs asked for."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perfcheck.system.netns import inode_of
from perfcheck.system.processes import pids_inside

LONGEST_BACKLOG: Final = 65535
"""The kernel caps it at net.core.somaxconn."""
_PIDFD_GETFD: Final = 438
"""System call number, the same on all architectures (include/uapi/asm-generic/unistd.h)."""


def lengthen_backlogs(netns_path: str, backlog: int = LONGEST_BACKLOG) -> int:
    """Call listen(2) again for each TCP socket that listens in the namespace; return how many.

    A copy of the program's own descriptor is used (pidfd_getfd(2), Linux 5.6), so the program notices nothing. What
    ends meanwhile, or is another user's to debug, is left as it is.
    """
    lengthened = 0
    for pid in pids_inside(inode_of(netns_path)):
        for listener in _listeners(pid):
            with listener:
                listener.listen(backlog)
                lengthened += 1
    return lengthened


def _listeners(pid: int) -> Iterator[socket.socket]:
    """Yield the sockets of a process that listen for TCP connections, as descriptors of this process."""
    try:
        numbers = [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir() if _is_socket(entry)]
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        for number in numbers:
            copied = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, number, 0)
            if copied < 0:
                continue
            one = socket.socket(fileno=copied)
            if _listens(one):
                yield one
            else:
                one.close()
    finally:
        os.close(pidfd)


def _is_socket(entry: Path) -> bool:
    with contextlib.suppress(OSError):
        return str(entry.readlink()).startswith("socket:")
    return False


def _listens(one: socket.socket) -> bool:
    if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
        return False
    with contextlib.suppress(OSError):
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    return False
