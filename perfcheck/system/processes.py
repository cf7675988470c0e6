"""Processes by pid and start time: finds those of a lab and ends them through pidfds.

A lab's process is identified by its note in the journal, by the tag in its environment, by the lab's control
group, or by its network namespace.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import Unavailable
from perfcheck.system.clock import now_ns
from perfcheck.system.commands import TAG_VARIABLE
from perfcheck.system.netns import Mark, mark_of

TERM_GRACE_S: Final = 1.0
KILL_GRACE_S: Final = 5.0
FORKED_ROUNDS: Final = 8
"""How often processes are looked for again that came while the others were killed."""

_STATE: Final = 0
_STARTTIME: Final = 19
"""Indices in /proc/PID/stat after the command name (proc(5) fields 3 and 22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process for sure: pids are used again, a pid with its start time (clock ticks since boot) is not."""

    pid: int
    start_ticks: int


def identify(pid: int) -> ProcessId | None:
    """Return the running process of this pid, or None where there is none (a zombie has ended)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rfind(b")") + 2 :].split()
    if len(fields) <= _STARTTIME or fields[_STATE] in {b"Z", b"X"}:
        return None
    return ProcessId(pid=pid, start_ticks=int(fields[_STARTTIME]))


def myself() -> ProcessId:
    """Return this process; Unavailable where /proc belongs to another PID namespace, and so names other processes."""
    found = identify(os.getpid())
    if found is None or str(Path("/proc/self").readlink()) != str(os.getpid()):
        raise Unavailable(
            "/proc", "it shows the processes of another PID namespace", "mount it in this one: unshare --mount-proc"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The namespaces that decide what a pid, a start time and a path mean, as inode numbers; 0 without such a kind."""

    pid: int
    time: int
    mount: int

    @classmethod
    def own(cls) -> View:
        """Return those of this process."""
        return cls(pid=_namespace("self", "pid"), time=_namespace("self", "time"), mount=_namespace("self", "mnt"))

    def same_processes(self) -> bool:
        """Whether pids and start times of this view are those that this process sees."""
        mine = View.own()
        return (self.pid, self.time) == (mine.pid, mine.time)

    def mounts_elsewhere(self) -> int | None:
        """Return a process that keeps another mount namespace of this view alive, or None."""
        if self.mount == View.own().mount:
            return None
        return next((pid for pid in _pids() if _namespace(str(pid), "mnt") == self.mount), None)


def _namespace(pid: str, kind: str) -> int:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except OSError:
        return 0


def _pids() -> Iterator[int]:
    """Yield the pids of all processes but this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def boot_id() -> str:
    """Return the kernel's random identifier of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def tagged(tag: str) -> Iterator[ProcessId]:
    """Yield all processes whose environment carries the lab's tag, this one excepted."""
    wanted = f"{TAG_VARIABLE}={tag}".encode()
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and (found := identify(pid)) is not None:
            yield found


def pids_inside(netns_inode: int) -> Iterator[int]:
    """Yield the pids of all processes but this one whose network namespace has this inode number."""
    yield from (pid for pid in _pids() if _namespace(str(pid), "net") == netns_inode)


def name_of(pid: int) -> str | None:
    """Return the short name of a process (comm of proc(5)); None where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def inside(marks: Collection[Mark]) -> Iterator[ProcessId]:
    """Yield all processes that run in one of the network namespaces, whatever name it has or no longer has."""
    by_inode: Mapping[int, Mark] = {mark.inode: mark for mark in marks}
    for pid in _pids() if by_inode else ():
        mark = by_inode.get(_namespace(str(pid), "net"))
        found = identify(pid)
        if mark is None or found is None:
            continue
        with contextlib.suppress(OSError):
            if mark_of(f"/proc/{pid}/ns/net") == mark and identify(pid) == found:
                yield found


def end(find: Callable[[], Sequence[ProcessId]]) -> tuple[tuple[ProcessId, ...], tuple[ProcessId, ...]]:
    """End all processes that `find` gives: SIGTERM, then SIGKILL; returns (ended, still there).

    `find` is asked again after each round, since a process may have forked meanwhile.
    """
    seen: dict[ProcessId, None] = {}
    rounds = [(signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, KILL_GRACE_S)]
    for number, grace_s in (*rounds, *([(signal.SIGKILL, 1.0)] * FORKED_ROUNDS)):
        found = find()
        if not found:
            break
        seen |= dict.fromkeys(found)
        _signal_and_wait(found, number, grace_s)
    left = set(find())
    return tuple(process for process in seen if process not in left), tuple(left)


def _signal_and_wait(processes: Sequence[ProcessId], number: signal.Signals, grace_s: float) -> None:
    poll = select.poll()
    waiting: set[int] = set()
    with contextlib.ExitStack() as stack:
        for process in processes:
            fd = _open_pidfd(process)
            if fd is None:
                continue
            stack.callback(os.close, fd)
            # Another user's process is reported as left, and not by an exception.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(fd, number)
                poll.register(fd, select.POLLIN)
                waiting.add(fd)
        deadline_ns = now_ns() + round(grace_s * 1e9)
        while waiting and (left_ms := (deadline_ns - now_ns()) / 1e6) > 0:
            for fd, _ in poll.poll(left_ms):
                poll.unregister(fd)
                waiting.discard(fd)


def _open_pidfd(process: ProcessId) -> int | None:
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return None
    # Only now is the pid held; what it meant before may have ended in between. /proc may be another namespace's.
    if _pid_of(fd) != process.pid or identify(process.pid) != process:
        os.close(fd)
        return None
    return fd


def _pid_of(pidfd: int) -> int | None:
    """Return the pid that /proc has for the process of a pidfd."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii").splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return None
