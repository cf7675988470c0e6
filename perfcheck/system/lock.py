"""One measurement at a time on a machine: two pytest-xdist workers, two shells, two CI jobs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perfcheck.errors import Unavailable
from perfcheck.system.rundir import make_run_dir, run_dir

LOCK_NAME: Final = "measuring.lock"


@contextmanager
def measuring_lock(
    waiting: Callable[[str], None] | None = None, directory: Path | None = None, *, shared: bool = False
) -> Iterator[None]:
    """Hold the machine's measuring lock; `waiting` is told, once, for whom this has to wait.

    `shared`: with others that only keep CPUs busy and are not disturbed by it, such as guests whose time is counted.
    Who measures in real time waits for them, and they for it.

    An flock(2), so that it is free again when its holder dies. It is not inherited by the
    processes of a lab. Taking it twice in one process waits for ever.
    """
    path = make_run_dir(directory or run_dir()) / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise Unavailable(str(path), f"it cannot be opened: {problem.strerror}", "run as root") from None
    try:
        _take(fd, waiting, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _take(fd: int, waiting: Callable[[str], None] | None, kind: int) -> None:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting is not None:
            waiting(f"waiting for {_describe(os.pread(fd, 32, 0))} to finish measuring")
        fcntl.flock(fd, kind)


def _describe(holder: bytes) -> str:
    pid = holder.strip().decode(errors="replace")
    if not pid.isdecimal():
        return "another process"
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({b' '.join(argv).decode(errors='replace')[:80]})"
