"""Sysctls that a user had perfctl change: noted before they are changed, and put back by `perfctl undo`.

Each advice that is applied has a journal of its own in `<run directory>/applied`, which outlives the command. It is no
lab's journal: `perfcheck clean` leaves that folder alone. After a new boot the kernel has its own values again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from perfcheck.errors import LabError, Unavailable, UnreadableFile
from perfcheck.live.advice import ALLOWED, Advice, Change
from perfcheck.live.sysctls import Sysctls, path_of_host
from perfcheck.system import clock
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.journal import SUFFIX, Journal, parse
from perfcheck.system.netns import NETNS_DIR, Mark
from perfcheck.system.rundir import TAG, check_trusted, make_run_dir, new_tag, run_dir
from perfcheck.system.signals import deferred_signals
from perfcheck.system.sysctl import tokens
from perfcheck.system.undo import Entry

FOLDER: Final = "applied"
_LARGEST_BYTES: Final = 1 << 20
_PROC: Final = Path("/proc")

Outcome = Literal["undone", "unchanged", "changed", "gone", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One sysctl that was changed; changes of one advice share an `id`. `order` rises from change to change."""

    id: str
    advice: str
    change: Change
    path: str
    mark: Mark | None
    at_ns: int
    order: int
    same_boot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What became of one change: `changed` is one that somebody else has changed since, and that is left alone."""

    applied: Applied
    outcome: Outcome
    reason: str = ""


def folder() -> Path:
    """Return the folder of the journals, whether it exists or not."""
    return run_dir() / FOLDER


def apply_advice(advice: Advice, sysctls: Sysctls, at_ns: int) -> str:
    """Carry out an advice and return the id by which it is undone; LabError says what was refused, and by whom.

    All values are noted before the first is changed. Where one is refused, those before it stay changed and noted.
    """
    for change in advice.changes:
        if change.key not in ALLOWED:
            raise LabError(f"{advice.id}: {change.key} is not among the sysctls that perfctl changes")
    path = path_of_host(advice.netns)
    mark = sysctls.mark(path)
    with _alone():
        _check_old(advice, sysctls, path)
        journal = Journal.create(new_tag(), folder())
        detail = {"advice": advice.id, "netns": path, "at": str(at_ns), **(mark.detail() if mark else {})}
        written = 0
        try:
            with deferred_signals():
                for order, change in enumerate(advice.changes, clock.now_ns()):
                    journal.note("sysctl", change.key, old=change.old, new=change.new, order=str(order), **detail)
                for order, change in enumerate(advice.changes, clock.now_ns()):
                    _write(sysctls, path, change)
                    written += 1
                    now = " ".join(sysctls.read(path, change.key) or ())
                    if now and tokens(now) != tokens(change.new):
                        # The kernel took another value, which an undo must not take for somebody else's.
                        journal.note("sysctl", change.key, old=change.old, new=now, order=str(order), **detail)
        finally:
            if not written:
                journal.path.unlink(missing_ok=True)
            journal.keep()
    return journal.tag


def _check_old(advice: Advice, sysctls: Sysctls, path: str) -> None:
    for change in advice.changes:
        now = sysctls.read(path, change.key)
        if now != tokens(change.old):
            raise LabError(f"{advice.id}: {change.key} is {' '.join(now or ()) or 'not there'} now, not {change.old}: "
                           "somebody else has changed it; look at the advice again")  # fmt: skip


def _write(sysctls: Sysctls, path: str, change: Change) -> None:
    try:
        sysctls.write(path, change.key, change.new)
    except PermissionError:
        raise Unavailable(f"changing {change.key}", "the kernel refuses it", "run as root") from None
    except OSError as problem:
        raise LabError(f"{change.key}={change.new} was refused by the kernel: {problem.strerror}") from None


def applied_changes() -> tuple[Applied, ...]:
    """Return the changes that can be undone, the earliest first; Unavailable where others may write the journals."""
    where = folder()
    try:
        where.lstat()
    except FileNotFoundError:
        return ()
    except OSError as problem:
        raise Unavailable(str(where), f"it cannot be read: {problem.strerror}", "run as root") from None
    check_trusted(where)
    found = [change for file in sorted(where.iterdir()) for change in _changes_of(file)]
    return tuple(sorted(found, key=lambda each: each.order))


def _changes_of(file: Path) -> Iterator[Applied]:
    tag = file.name.removesuffix(SUFFIX)
    if tag == file.name or not TAG.fullmatch(tag) or file.is_symlink():
        return
    try:
        contents = parse(read_bounded(file, _LARGEST_BYTES), tag)
    except UnreadableFile:
        return  # gone meanwhile, or not ours
    same_boot = contents.owner is not None and contents.owner.same_boot()
    latest = {entry.name: entry for entry in contents.entries if entry.kind == "sysctl" and entry.name in ALLOWED}
    for entry in latest.values():
        yield _applied(tag, entry, same_boot=same_boot)


def _applied(tag: str, entry: Entry, *, same_boot: bool) -> Applied:
    return Applied(
        id=tag, advice=entry.detail.get("advice", ""), path=entry.detail.get("netns", ""), mark=Mark.of(entry.detail),
        change=Change(key=entry.name, old=entry.detail["old"], new=entry.detail["new"]), same_boot=same_boot,
        at_ns=_number(entry.detail.get("at", "")), order=_number(entry.detail.get("order", "")),
    )  # fmt: skip


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


def undo_changes(chosen: Sequence[Applied], sysctls: Sysctls, *, force: bool = False) -> tuple[Undone, ...]:
    """Put back the old values, the latest change first, and return what became of each; what is done is forgotten.

    `force` puts back also what somebody else has changed since.
    """
    with _alone():
        known = set(applied_changes())  # another undo may have been faster
        latest_first = [each for each in sorted(chosen, key=lambda each: each.order, reverse=True) if each in known]
        with deferred_signals():
            outcomes = [_undo(each, sysctls, force=force) for each in latest_first]
            _forget(known - {each.applied for each in outcomes if each.outcome not in {"changed", "failed"}}, known)
    return tuple(outcomes)


def _undo(applied: Applied, sysctls: Sysctls, *, force: bool) -> Undone:
    change = applied.change
    if not applied.same_boot:
        return Undone(applied=applied, outcome="gone", reason="the machine has been started again since")
    try:
        path = _path_of(applied, sysctls)
        if path is None:
            return Undone(applied=applied, outcome="gone", reason="its network namespace is gone")
        now = sysctls.read(path, change.key)
        if now == tokens(change.old):
            return Undone(applied=applied, outcome="unchanged", reason="it has the old value already")
        if now is None:
            return Undone(applied=applied, outcome="failed", reason="it cannot be read; run as root")
        if now != tokens(change.new) and not force:
            return Undone(applied=applied, outcome="changed", reason=f"it is {' '.join(now)} now, not {change.new}: "
                          "changed since; --force puts the old value back anyway")  # fmt: skip
        sysctls.write(path, change.key, change.old)
    except OSError as problem:
        return Undone(applied=applied, outcome="failed", reason=problem.strerror or str(problem))
    except Unavailable as problem:
        return Undone(applied=applied, outcome="failed", reason=str(problem))
    return Undone(applied=applied, outcome="undone")


def _path_of(applied: Applied, sysctls: Sysctls) -> str | None:
    """Return a path of the noted namespace: where it was, or by whatever name or process it has today."""
    if applied.mark is None:
        return applied.path
    for place in (Path(applied.path), *_namespaces()):
        with contextlib.suppress(OSError):
            if place.stat().st_ino == applied.mark.inode and sysctls.mark(str(place)) == applied.mark:
                return str(place)
    return None


def _namespaces() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from NETNS_DIR.iterdir()
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            yield process / "ns/net"


def _forget(left: set[Applied], known: set[Applied]) -> None:
    """Remove the journals of which nothing is left; one that still has a change stays whole."""
    for tag in {each.id for each in known} - {each.id for each in left}:
        (folder() / f"{tag}{SUFFIX}").unlink(missing_ok=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time apply or undo."""
    make_run_dir(run_dir())
    descriptor = os.open(make_run_dir(folder()), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
