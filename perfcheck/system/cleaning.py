"""Removes what dead runs left behind: at each start, and by `perfcheck clean`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import Unavailable
from perfcheck.system.clock import wait_until
from perfcheck.system.journal import BIRTH_SUFFIX, SUFFIX, parse
from perfcheck.system.owner import lock_is_free
from perfcheck.system.processes import myself
from perfcheck.system.rundir import TAG, check_trusted, run_dir
from perfcheck.system.signals import deferred_signals
from perfcheck.system.undo import Undone, undo_all

AGENT_SUFFIX: Final = ".agent"
"""Ends the name of the folder that an agent of another machine's perfcheck was sent to (remote/bootstrap.py)."""
LARGEST_JOURNAL_BYTES: Final = 16 << 20
OTHERS_TIMEOUT_S: Final = 30.0
"""How long another `clean` is waited for; without its lock, two of them do the same work, which harms nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanReport:
    """What `clean` did: things undone (or why not), tags of labs that are alive, files it could not read."""

    undone: tuple[Undone, ...] = ()
    alive: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    failed: tuple[Undone, ...] = ()


class _Found:
    """What is gathered for a CleanReport."""

    def __init__(self) -> None:
        self.outcomes: list[Undone] = []
        self.alive: list[str] = []
        self.unreadable: list[str] = []

    def report(self) -> CleanReport:
        return CleanReport(
            undone=tuple(outcome for outcome in self.outcomes if outcome.outcome == "undone"),
            failed=tuple(outcome for outcome in self.outcomes if outcome.outcome == "failed"),
            alive=tuple(self.alive), unreadable=tuple(self.unreadable),
        )  # fmt: skip


def clean(directory: Path | None = None) -> CleanReport:
    """Undo what runs that are dead have left behind; never raises for what it finds.

    What cannot be read, and a directory where others than this user may write, are in the report.
    """
    where = directory or run_dir()
    found = _Found()
    if not os.path.lexists(where):
        return found.report()
    try:
        check_trusted(where)
        myself()
        with _alone(where):
            for path in sorted(where.iterdir()):
                _clean_one(path, found)
    except Unavailable as problem:
        found.unreadable.append(str(problem))
    except OSError as problem:
        found.unreadable.append(f"{where}: {problem.strerror}")
    return found.report()


def _clean_one(path: Path, found: _Found) -> None:
    tag = path.name.removesuffix(SUFFIX)
    if path.name.endswith(AGENT_SUFFIX):
        _clean_copy(path)
        return
    born = path.name.endswith(BIRTH_SUFFIX)
    if not born and (tag == path.name or not TAG.fullmatch(tag)):
        return
    try:
        with _opened(path) as fd:
            if born:
                if lock_is_free(fd):
                    path.unlink(missing_ok=True)
            else:
                _clean_journal(fd, path, tag, found)
    except FileNotFoundError:
        return
    except OSError as problem:
        found.unreadable.append(f"{path}: {problem.strerror or problem}")


def _clean_copy(path: Path) -> None:
    """Remove the copy of perfcheck that an agent ran from, where that agent is dead: it held a lock on the folder."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstat(fd).st_uid == os.geteuid() and lock_is_free(fd):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


def _clean_journal(fd: int, path: Path, tag: str, found: _Found) -> None:
    with open(fd, "rb", closefd=False) as file:
        contents = parse(file.read(LARGEST_JOURNAL_BYTES), tag)
    if contents.owner is not None and contents.owner.alive(fd):
        found.alive.append(tag)
        return
    if contents.owner is None and contents.entries:
        raise OSError("it names no owner, so nothing in it was undone: check what it lists, then remove the file")
    with deferred_signals():
        outcomes = undo_all(contents.entries, tag, contents.owner)
        found.outcomes += outcomes
        if all(outcome.outcome != "failed" for outcome in outcomes):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file of this user's; OSError for what is none: a link, a pipe, a device, another user's, too long."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise OSError("this is not a journal: not a regular file of this user's")
        if status.st_size > LARGEST_JOURNAL_BYTES:
            raise OSError(f"this is not a journal: {status.st_size} bytes")
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process at a time undo; the next one then finds what this one has left."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def free() -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    try:
        wait_until(free, timeout_s=OTHERS_TIMEOUT_S, interval_s=0.02)
        yield
    finally:
        os.close(fd)
