"""The owner of a journal, and whether that process still runs, across PID, time and mount namespaces."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Mapping
from dataclasses import dataclass

from perfcheck.system.processes import ProcessId, View, boot_id, identify, myself


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that a journal belongs to, in this boot.

    `locked` says that it holds an flock(2) on the journal, which the kernel drops when it dies. `view` is
    None in journals of versions that did not write it.
    """

    process: ProcessId
    boot: str
    view: View | None = None
    locked: bool = False

    @classmethod
    def current(cls, *, locked: bool) -> Owner:
        """Return this process as an owner."""
        return cls(process=myself(), boot=boot_id(), view=View.own(), locked=locked)

    def alive(self, journal: int) -> bool:
        """Whether the owner of this open journal still runs, so that its lab must not be touched.

        The lock is asked first: a pid of another PID namespace says nothing here. A process that the owner
        has forked may keep the lock after it, so where the pid can be read it has the last word.
        """
        if self.locked and lock_is_free(journal):
            return False
        if self.same_boot() and self.same_processes():
            return identify(self.process.pid) == self.process
        return self.locked or self.same_boot()

    def same_boot(self) -> bool:
        """Whether what the owner made in the kernel can still be there."""
        return self.boot == boot_id()

    def same_processes(self) -> bool:
        """Whether the pids and start times that the owner noted mean the same processes here."""
        return self.same_boot() and (self.view is None or self.view.same_processes())

    def mounts_elsewhere(self) -> int | None:
        """Return a process in the owner's mount namespace where that is another one than this one and still exists."""
        return self.view.mounts_elsewhere() if self.view is not None and self.same_boot() else None

    def header(self) -> Mapping[str, object]:
        """Return what a journal's first line holds."""
        owner: dict[str, object] = {
            "pid": self.process.pid, "start_ticks": self.process.start_ticks, "boot": self.boot, "locked": self.locked
        }  # fmt: skip
        if self.view is not None:
            owner |= {"pidns": self.view.pid, "timens": self.view.time, "mntns": self.view.mount}
        return {"owner": owner}

    @classmethod
    def parse(cls, value: object) -> Owner | None:
        """Read a header's value, or None where it is none."""
        match value:
            case {"pid": int(pid), "start_ticks": int(start_ticks), "boot": str(boot), **rest}:
                process = ProcessId(pid=pid, start_ticks=start_ticks)
                return cls(process=process, boot=boot, view=_view(rest), locked=rest.get("locked") is True)
        return None


def _view(rest: object) -> View | None:
    match rest:
        case {"pidns": int(pid), "timens": int(time), "mntns": int(mount)}:
            return View(pid=pid, time=time, mount=mount)
    return None


def lock(fd: int) -> bool:
    """Lock an open file for as long as this process lives; False where its file system knows no such locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lock_is_free(fd: int) -> bool:
    """Whether nobody holds the lock on an open file; a file system without locks has nobody who holds one."""
    try:
        # Shared, so that two who ask at the same time do not take each other for a holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in {errno.EAGAIN, errno.EACCES}
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True
