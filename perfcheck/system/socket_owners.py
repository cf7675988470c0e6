"""Which processes hold which sockets, by the open files in /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "socket:["


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process; `comm` is the kernel's name of it, which may hold any byte but 0."""

    pid: int
    comm: bytes


def owners_of(inodes: Collection[int]) -> dict[int, Owner]:
    """Return the process of each socket, by the inode of its file: of several that share it, the one begun first.

    Sockets of processes that may not be looked at are left out. The scan ends when all are found.
    """
    wanted, found = set(inodes), dict[int, Owner]()
    for pid in processes():
        if not wanted:
            break
        held = wanted.intersection(sockets_of(pid))
        if held:
            owner = Owner(pid=pid, comm=comm_of(pid))
            found.update(dict.fromkeys(held, owner))
            wanted -= held
    return found


def processes() -> Iterator[int]:
    """Yield the numbers of all processes, the lowest first."""
    yield from sorted(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208


def sockets_of(pid: int) -> Iterator[int]:
    """Yield the inodes of a process's open sockets; none where it has ended or may not be looked at."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - as below
    except OSError:
        return
    for name in names:
        # The file may be closed meanwhile.
        with contextlib.suppress(OSError, ValueError):
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
            if target.startswith(_PREFIX):
                yield int(target[len(_PREFIX) : -1])


def comm_of(pid: int) -> bytes:
    """Return a process's name, at most 15 bytes; empty where it has ended."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:  # noqa: PTH123 - thousands of them, and a Path takes as long again
            return file.read().rstrip(b"\n")[:15]
    except OSError:
        return b""


def processes_of(pid: int | None, comm: str | None) -> list[int]:
    """Return the processes of that number and of that name; what is None lets all pass."""
    pids = processes() if pid is None else (pid,)
    return [one for one in pids if comm is None or comm_of(one) == comm.encode()[:15]]
