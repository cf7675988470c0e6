"""Processes by pid and start time, found by the tag in their environment and ended through pidfds."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.system.clock import now_ns
from perfcheck.system.commands import TAG_VARIABLE

TERM_GRACE_S: Final = 1.0
KILL_GRACE_S: Final = 5.0

_STATE: Final = 0
_STARTTIME: Final = 19
"""Indices in /proc/PID/stat after the command name (proc(5) fields 3 and 22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process for sure: pids are used again, a pid with its start time (clock ticks since boot) is not."""

    pid: int
    start_ticks: int


def identify(pid: int) -> ProcessId | None:
    """Give the running process of this pid, or None where there is none (a zombie has ended)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rfind(b")") + 2 :].split()
    if len(fields) <= _STARTTIME or fields[_STATE] in {b"Z", b"X"}:
        return None
    return ProcessId(pid=pid, start_ticks=int(fields[_STARTTIME]))


def boot_id() -> str:
    """Give the kernel's random identifier of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def tagged(tag: str) -> Iterator[ProcessId]:
    """Yield all processes whose environment carries the lab's tag, this one excepted."""
    wanted = f"{TAG_VARIABLE}={tag}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and (found := identify(int(entry.name))) is not None:
            yield found


def end(find: Callable[[], Sequence[ProcessId]]) -> tuple[tuple[ProcessId, ...], tuple[ProcessId, ...]]:
    """End all processes that `find` gives: SIGTERM, then SIGKILL; returns (ended, still there).

    `find` is asked again after each round, since a process may have forked meanwhile.
    """
    seen: dict[ProcessId, None] = {}
    for number, grace_s in ((signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, KILL_GRACE_S), (signal.SIGKILL, 1.0)):
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
            with contextlib.suppress(ProcessLookupError):
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
    # Only now is the pid held; what it meant before may have ended in between.
    if identify(process.pid) != process:
        os.close(fd)
        return None
    return fd
