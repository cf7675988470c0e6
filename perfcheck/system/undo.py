"""Undoing what a journal notes: one function a kind, each fine with things that are already gone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from perfcheck.system import netns, processes, sysctl
from perfcheck.system.processes import ProcessId

Kind = Literal["netns", "device", "file", "process", "sysctl"]


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
        if self.kind in {"netns", "device", "file"} and tag not in self.name:
            raise ValueError(f"the name of a {self.kind} must carry the lab's tag {tag}, got {self.name!r}")
        if self.kind in {"netns", "device"} and "/" in self.name:
            raise ValueError(f"expected the name of a {self.kind} without a path, got {self.name!r}")
        if self.kind == "file" and (not self.name.startswith("/") or ".." in Path(self.name).parts):
            raise ValueError(f"expected an absolute path, got {self.name!r}")
        if self.kind == "sysctl":
            sysctl.path_of(self.name)
            if not {"old", "new"} <= self.detail.keys():
                raise ValueError(f"a note of the sysctl {self.name} needs its old and its new value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What became of one note."""

    kind: str
    name: str
    outcome: Literal["undone", "gone", "failed"]
    reason: str = ""

    def __str__(self) -> str:
        """Give one line for a person."""
        return f"{self.kind} {self.name}: {self.outcome}{f' ({self.reason})' if self.reason else ''}"


def undo_all(entries: Sequence[Entry], tag: str, *, same_boot: bool) -> tuple[Undone, ...]:
    """Undo the notes of one lab, processes first (they hold the rest), then the latest first; never raises OSError.

    Without `same_boot` a noted pid may mean another process by now, and only the tag in a process's
    environment tells that it is the lab's.
    """
    noted = [entry for entry in entries if entry.kind == "process"]
    outcomes = list(_end_processes(noted, tag, same_boot=same_boot)) if noted else []
    for entry in reversed(entries):
        if entry.kind != "process":
            outcomes.append(_undo(entry))
    return tuple(outcomes)


def _undo(entry: Entry) -> Undone:
    try:
        done = _UNDO[entry.kind](entry)
    except OSError as problem:
        return Undone(kind=entry.kind, name=entry.name, outcome="failed", reason=problem.strerror or str(problem))
    return Undone(kind=entry.kind, name=entry.name, outcome="undone" if done else "gone")


def _end_processes(noted: Sequence[Entry], tag: str, *, same_boot: bool) -> Sequence[Undone]:
    known = {process: entry.name for entry in noted if (process := _noted_process(entry))} if same_boot else {}

    def find() -> tuple[ProcessId, ...]:
        running = {process for process in known if processes.identify(process.pid) == process}
        return tuple(running | set(processes.tagged(tag)))

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


def _undo_netns(entry: Entry) -> bool:
    return netns.remove(entry.name)


def _undo_device(entry: Entry) -> bool:
    return netns.remove_device(entry.name)


def _undo_file(entry: Entry) -> bool:
    path = Path(entry.name)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
        return True
    return False


def _undo_sysctl(entry: Entry) -> bool:
    # Somebody who has set another value since then meant it.
    if sysctl.read(entry.name) != sysctl.tokens(entry.detail["new"]):
        return False
    sysctl.write(entry.name, entry.detail["old"])
    return True


_UNDO: Final[Mapping[str, Callable[[Entry], bool]]] = {
    "netns": _undo_netns,
    "device": _undo_device,
    "file": _undo_file,
    "sysctl": _undo_sysctl,
}

__all__ = ["Entry", "Kind", "Undone", "undo_all"]
