"""A control group for each lab: its processes stay in it whatever they do to their environment, session or namespace.

It is a threaded group of version 2 below this process's own group, without controllers. So CPU time, memory and
limits are as before. One thread enters it, and the processes that this thread starts are born in it. No process has
to be moved, and none can escape before the move.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError
from perfcheck.model.seams import UndoLog
from perfcheck.system.clock import wait_until

PREFIX: Final = "pc-"
EMPTY_TIMEOUT_S: Final = 2.0
"""A process that has ended leaves its group a moment later than its parent is told."""


def make(undo: UndoLog) -> Path | None:
    """Make the lab's group and return it, or None where it cannot be had without changing how the lab runs."""
    parent = own_group()
    if parent is None or not _fit(parent):
        return None
    group = parent / f"{PREFIX}{undo.tag}"
    if group.exists():
        raise LabError(f"{group} exists already and is not this lab's: nothing was changed")
    undo.note("cgroup", str(group))
    try:
        group.mkdir(mode=0o755)
    except OSError:
        return None
    undo.note("cgroup", str(group), inode=str(group.stat().st_ino))
    try:
        _write(group / "cgroup.type", "threaded")
    except OSError:
        _abandon(group)
        return None
    with contextlib.suppress(OSError):
        # Pressure would be counted once more at each switch between tasks.
        _write(group / "cgroup.pressure", "0")
    return group


def enter(group: Path) -> Path | None:
    """Move the calling thread into the group and return it, or None where that was refused and the group is gone."""
    try:
        _write(group / "cgroup.threads", "0")
    except OSError:
        _abandon(group)
        return None
    return group


def _abandon(group: Path) -> None:
    """Remove a group that nothing was born in: where there is one, an undo looks for processes nowhere else."""
    with contextlib.suppress(OSError):
        group.rmdir()


def leave(group: Path) -> None:
    """Move the calling thread back to where its process is."""
    with contextlib.suppress(OSError):
        _write(group.parent / "cgroup.threads", "0")


def ours(group: Path, inode: int) -> bool:
    """Whether this is the group that was made, and not another in its place."""
    with contextlib.suppress(OSError):
        status = group.lstat()
        return status.st_ino == inode and any(status.st_dev == root.stat().st_dev for root, _ in _mounts())
    return False


def is_empty(group: Path) -> bool:
    """Whether this is a group of version 2 in which nothing runs and beneath which there is none."""
    with contextlib.suppress(OSError):
        within = any(group.lstat().st_dev == root.stat().st_dev for root, _ in _mounts())
        return within and list(_tree(group)) == [group] and not list(members(group))
    return False


def members(group: Path) -> Iterator[int]:
    """Yield the pids of the processes in the group and in those beneath it; some may have ended."""
    found: set[int] = set()
    for folder in _tree(group):
        with contextlib.suppress(OSError):
            for thread in (folder / "cgroup.threads").read_text(encoding="ascii").split():
                pid = _process_of(thread)
                if pid is not None and pid not in found:
                    found.add(pid)
                    yield pid


def remove(group: Path) -> bool:
    """Remove the group and those beneath it; False where there is none. OSError while something runs in it."""
    last: list[OSError] = []

    def removed() -> bool:
        last.clear()
        try:
            for folder in _tree(group):
                folder.rmdir()
        except FileNotFoundError:
            return not group.exists()
        except OSError as problem:
            last.append(problem)
            return problem.errno != errno.EBUSY
        return True

    if not group.exists():
        return False
    wait_until(removed, timeout_s=EMPTY_TIMEOUT_S, interval_s=0.005)
    if last:
        raise last[0]
    return True


def own_group() -> Path | None:
    """Return the directory of this process's own group of version 2, or None where none is mounted here."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            if line.startswith("0::/"):
                return _mounted(line.removeprefix("0::"))
    return None


def _mounted(path: str) -> Path | None:
    for point, root in _mounts():
        beneath = path.removeprefix(root.rstrip("/"))
        if (beneath != path or root == "/") and (point / beneath.lstrip("/")).is_dir():
            return point / beneath.lstrip("/")
    return None


def _mounts() -> Iterator[tuple[Path, str]]:
    """Yield mount point and root of each mount of version 2 (proc_pid_mountinfo(5))."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                fields = before.split()
                yield Path(fields[4]), fields[3]


def _fit(parent: Path) -> bool:
    """Whether a group beneath this one would have no controller, which would divide CPU time and memory anew."""
    try:
        controllers = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False
    return not controllers and os.access(parent, os.W_OK)


def _tree(group: Path) -> Iterator[Path]:
    """Yield the groups beneath this one, the deepest first, and then itself."""
    for folder, _, _ in os.walk(group, topdown=False):
        yield Path(folder)


def _process_of(thread: str) -> int | None:
    # 0 stands for a process that this PID namespace does not know.
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{thread}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    return None


def _write(file: Path, value: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
