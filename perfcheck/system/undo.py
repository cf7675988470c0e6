"""Undoes the notes of a journal: one function for each kind, and none fails if the thing is already gone.

A thing is undone only if it provably belongs to the lab: its name carries the tag, and the kernel's mark (a
namespace's cookie, a group's or a folder's inode number, a process's start time) is the noted one, in the boot of the
note. No path outside /run/netns, the control groups and the folders of guests and trees is ever removed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from perfcheck.errors import LabError, PerfcheckError
from perfcheck.model.printable import printable
from perfcheck.system import cgroup, commands, device_settings, netns, processes, sysctl
from perfcheck.system.netns import Mark
from perfcheck.system.owner import Owner
from perfcheck.system.processes import ProcessId

Kind = Literal["netns", "process", "sysctl", "cgroup", "folder", "setting", "command"]
FOLDER_PREFIX: Final = "perfcheck-guest-"
"""How the name of a folder begins that holds a guest's files; the lab's tag is the rest."""
TREE_PREFIX: Final = "perfcheck-tree-"
"""How the name of a folder begins in which kernels are built."""

_HOST: Final = r"[a-z0-9][a-z0-9_.-]{0,63}"
_SYSCTLS: Final = "net"
_COMMAND_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One note: the kind and name of a thing, and what undoing it needs."""

    kind: str
    name: str
    detail: Mapping[str, str] = field(default_factory=dict)

    def validate(self, tag: str) -> None:
        """Raise ValueError for a note that could make an undo reach beyond the lab of this tag."""
        if "\0" in self.name or not self.name:
            raise ValueError(f"expected a name, got {self.name!r}")
        if self.kind == "netns" and not re.fullmatch(f"pc-{tag}-{_HOST}", self.name):
            raise ValueError(f"expected the name of a namespace such as pc-{tag}-client, got {self.name!r}")
        if self.kind == "cgroup":
            path = Path(self.name)
            if not path.is_absolute() or ".." in path.parts or path.name != f"{cgroup.PREFIX}{tag}":
                raise ValueError(f"expected the path of a control group {cgroup.PREFIX}{tag}, got {self.name!r}")
        if self.kind == "folder":
            path = Path(self.name)
            names = {f"{prefix}{tag}" for prefix in (FOLDER_PREFIX, TREE_PREFIX)}
            if not path.is_absolute() or ".." in path.parts or path.name not in names:
                raise ValueError(f"expected the path of a folder {FOLDER_PREFIX}{tag}, got {self.name!r}")
        if self.kind == "sysctl":
            if sysctl.path_of(self.name).relative_to(sysctl.ROOT).parts[0] != _SYSCTLS:
                raise ValueError(f"expected a sysctl of {_SYSCTLS}.*, got {self.name!r}")
            if not {"old", "new"} <= self.detail.keys():
                raise ValueError(f"a note of the sysctl {self.name} needs its old and its new value")
        if self.kind == "setting":
            device_settings.check_note(self.name, self.detail)
        if self.kind == "command" and not shlex.split(self.name):
            raise ValueError(f"expected a command, got {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What became of one note."""

    kind: str
    name: str
    outcome: Literal["undone", "gone", "failed"]
    reason: str = ""

    def __str__(self) -> str:
        """Return one line for a person; what is not printable in a name is shown as an escape."""
        return f"{self.kind} {printable(self.name)}: {self.outcome}{f' ({self.reason})' if self.reason else ''}"


def undo_all(entries: Sequence[Entry], tag: str, owner: Owner | None) -> tuple[Undone, ...]:
    """Undo the notes of one lab, processes first (they hold the rest), then the latest first; never raises.

    Notes of another boot, or of nobody knows whom, name nothing that can still be the lab's.
    """
    same_boot = owner is not None and owner.same_boot()
    noted = [entry for entry in entries if entry.kind == "process"] if same_boot else []
    outcomes = _end_processes(noted, entries, tag, owner) if owner is not None and noted else []
    elsewhere = owner.mounts_elsewhere() if owner is not None else None
    for entry in reversed(entries):
        if entry.kind != "process":
            outcomes.append(_undo(entry, elsewhere) if same_boot else _of_another_boot(entry))
    return tuple(outcomes)


def _undo_command(entry: Entry) -> Undone:
    """Run a command of a host's `teardown`; one that fails is told, and is not tried again at each start."""
    try:
        commands.run(shlex.split(entry.name), timeout_s=_COMMAND_TIMEOUT_S, error=LabError)
    except PerfcheckError as problem:
        return Undone(kind=entry.kind, name=entry.name, outcome="gone", reason=str(problem))
    return Undone(kind=entry.kind, name=entry.name, outcome="undone")


def _undo(entry: Entry, elsewhere: int | None) -> Undone:
    if entry.kind == "command":
        return _undo_command(entry)
    try:
        done = _UNDO[entry.kind](entry)
    except (OSError, PerfcheckError, ValueError) as problem:
        return _failed(entry, problem)
    if not done and elsewhere is not None and entry.kind == "netns":
        # It is not in this mount namespace's /run, and its own is still there.
        reason = f"it is in the mount namespace of process {elsewhere}: run `perfcheck clean` there"
        return Undone(kind=entry.kind, name=entry.name, outcome="failed", reason=reason)
    return Undone(kind=entry.kind, name=entry.name, outcome="undone" if done else "gone")


def _of_another_boot(entry: Entry) -> Undone:
    """Remove the empty file of a namespace that is gone, and folders on a disk; all else ended with its boot."""
    try:
        done = (entry.kind == "netns" and netns.remove(entry.name, None)) or (
            entry.kind == "folder" and _undo_folder(entry)
        )
    except OSError as problem:
        return _failed(entry, problem)
    return Undone(kind=entry.kind, name=entry.name, outcome="undone" if done else "gone")


def _failed(entry: Entry, problem: Exception) -> Undone:
    reason = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
    return Undone(kind=entry.kind, name=entry.name, outcome="failed", reason=reason)


def _end_processes(noted: Sequence[Entry], entries: Sequence[Entry], tag: str, owner: Owner) -> list[Undone]:
    known: dict[ProcessId, str] = {}
    if owner.same_processes():
        # What a lab started is younger than its owner.
        known = {
            process: entry.name
            for entry in noted
            if (process := _noted_process(entry)) and process.start_ticks >= owner.process.start_ticks
        }
    groups = [group for entry in entries if (group := _group(entry)) is not None]
    marks = [mark for entry in entries if entry.kind == "netns" and (mark := Mark.of(entry.detail)) is not None]

    def find() -> tuple[ProcessId, ...]:
        found = {process for process in known if processes.identify(process.pid) == process}
        found |= set(processes.tagged(tag))
        for group in groups:
            found |= {process for pid in cgroup.members(group) if (process := processes.identify(pid))}
        if not groups:
            # With a group, who else is in a namespace was put there by somebody else.
            found |= set(processes.inside(marks))
        return tuple(found - {processes.identify(os.getpid())})

    ended, left = processes.end(find)
    name = {process: f"{known.get(process, 'command')} (pid {process.pid})" for process in (*ended, *left)}
    return [
        *(Undone(kind="process", name=name[process], outcome="undone") for process in ended),
        *(Undone(kind="process", name=name[process], outcome="failed", reason="SIGKILL did not end it")
          for process in left),
    ]  # fmt: skip


def _noted_process(entry: Entry) -> ProcessId | None:
    try:
        return ProcessId(pid=int(entry.detail["pid"]), start_ticks=int(entry.detail["start"]))
    except (KeyError, ValueError):
        return None


def _group(entry: Entry) -> Path | None:
    """Return the control group of a note, where it is the one that was made."""
    if entry.kind != "cgroup" or not entry.detail.get("inode", "").isdecimal():
        return None
    group = Path(entry.name)
    return group if cgroup.ours(group, int(entry.detail["inode"])) else None


def _undo_netns(entry: Entry) -> bool:
    return netns.remove(entry.name, Mark.of(entry.detail))


def _undo_cgroup(entry: Entry) -> bool:
    group = Path(entry.name)
    if "inode" in entry.detail:
        return _group(entry) is not None and cgroup.remove(group)
    # Killed before it could say which it was. Nothing has been put in it yet, and what is not empty stays.
    return cgroup.is_empty(group) and cgroup.remove(group)


def _undo_sysctl(entry: Entry) -> bool:
    # Somebody who has set another value since then meant it.
    if sysctl.read(entry.name) != sysctl.tokens(entry.detail["new"]):
        return False
    sysctl.write(entry.name, entry.detail["old"])
    return True


def _undo_folder(entry: Entry) -> bool:
    folder = Path(entry.name)
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if "inode" not in entry.detail:
        # Killed before it could say which it was: nothing is in it yet, and what is not empty is somebody else's.
        if any(folder.iterdir()):
            return False
        folder.rmdir()
        return True
    if entry.detail["inode"] != str(status.st_ino):
        return False
    shutil.rmtree(folder)
    return True


def _undo_setting(entry: Entry) -> bool:
    return device_settings.put_back(entry.name, device_settings.noted_state(entry.detail))


_UNDO: Final[Mapping[str, Callable[[Entry], bool]]] = {
    "netns": _undo_netns,
    "cgroup": _undo_cgroup,
    "sysctl": _undo_sysctl,
    "folder": _undo_folder,
    "setting": _undo_setting,
}

__all__ = ["FOLDER_PREFIX", "TREE_PREFIX", "Entry", "Kind", "Undone", "undo_all"]
