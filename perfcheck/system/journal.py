"""The cleanup journal: what a lab creates is noted before it is created, so that it can be undone even after SIGKILL.

Each lab has one file, `<run directory>/<tag>.journal`, with one JSON object on each line: a header that names the
owner, then one note for each thing. A note is one write(2), which survives the death of the writer. It need not
survive a power cut: after that there is nothing to undo. The owner keeps the file locked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, get_args

from perfcheck.errors import LabError
from perfcheck.system.owner import Owner, lock
from perfcheck.system.rundir import RUN_DIR_VARIABLE, TAG, make_run_dir, run_dir
from perfcheck.system.signals import deferred_signals
from perfcheck.system.undo import Entry, Kind, Undone, undo_all

SUFFIX: Final = ".journal"
BIRTH_SUFFIX: Final = ".new"
_BIRTHS: Final = 10
"""How often a journal is begun again that a `clean` removed in the moment before it was locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What could be read of a journal; `owner` is None where the header could not."""

    owner: Owner | None
    entries: tuple[Entry, ...]


class Journal:
    """A lab's journal; implements model.seams.UndoLog. Leaving the `with` block undoes everything and removes it.

    Example:
        >>> with Journal.create(new_tag()) as journal:      # doctest: +SKIP
        ...     journal.note("netns", f"pc-{journal.tag}-client")
    """

    def __init__(self, path: Path, tag: str, fd: int, owner: Owner) -> None:
        """Take an open journal; see `create`."""
        self.path = path
        self.tag = tag
        self._fd = fd
        self._owner = owner
        self._entries: list[Entry] = []

    @classmethod
    def create(cls, tag: str, directory: Path | None = None) -> Self:
        """Open a new journal owned by this process; LabError where one of this tag exists."""
        if not TAG.fullmatch(tag):
            raise ValueError(f"a tag is 6 to 12 lower-case letters and digits, got {tag!r}")
        path = make_run_dir(directory or run_dir()) / f"{tag}{SUFFIX}"
        for _ in range(_BIRTHS):
            with contextlib.suppress(FileNotFoundError):
                fd, owner = _born(path)
                return cls(path, tag, fd, owner)
        raise LabError(f"the journal {path} cannot be created: another process removes files in {path.parent}")

    def note(self, kind: str, name: str, **detail: str) -> None:
        """Write that `name` is about to be made.

        Kinds and names: `netns` its name under /run/netns (with the kernel's marks of it), `process` the
        command (with `pid` and `start` once it runs), `sysctl` a host-wide key with `old` and `new`, `cgroup`
        the path of a control group, `folder` that of a guest's or a tree's files (each with its `inode` once it is
        made), `setting` what was set of which device or module (with what it was `before`), `command` what undoes a
        command of the file's. Names of namespaces, groups and folders carry the tag: nothing else is ever removed.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"expected one of {', '.join(get_args(Kind))}, got {kind!r}")
        entry = Entry(kind=kind, name=name, detail=detail)
        entry.validate(self.tag)
        _append(self._fd, _note_line(entry), self.path)
        self._entries.append(entry)

    def undo(self) -> tuple[Undone, ...]:
        """Undo everything noted, latest first; all stays noted where something failed. Signals are held back."""
        with deferred_signals():
            outcomes = undo_all(self._entries, self.tag, self._owner)
            if all(outcome.outcome != "failed" for outcome in outcomes):
                self._entries = []
            return outcomes

    def close(self) -> tuple[Undone, ...]:
        """Undo everything and remove the file, unless something could not be undone; safe to call twice."""
        if self._fd < 0:
            return ()
        with deferred_signals():
            outcomes = self.undo()
            if not self._entries:
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1
            return outcomes

    def keep(self) -> None:
        """Close the file and leave all as it is noted, for a later undo; nothing is undone here any more."""
        if self._fd >= 0:
            self._entries = []
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo everything; LabError where something is left and no other error is on its way."""
        failed = [str(outcome) for outcome in self.close() if outcome.outcome == "failed"]
        if failed and error is None:
            raise LabError(f"the lab could not be undone: {'; '.join(failed)}. Try `perfcheck clean` as root")


def _born(path: Path) -> tuple[int, Owner]:
    """Make the file, locked and with its header; FileNotFoundError where a `clean` took it for a dead one's.

    Born whole under another name: a journal without a header would be a dead one to a `clean` beside us.
    """
    birth = path.with_name(f"{path.stem}.{os.urandom(6).hex()}{BIRTH_SUFFIX}")
    fd = os.open(birth, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        owner = Owner.current(locked=lock(fd))
        _append(fd, _line(owner.header()), path)
        os.link(birth, path)
    except FileExistsError:
        os.close(fd)
        raise LabError(f"{path} exists already: another lab has the tag {path.stem}") from None
    except BaseException:
        os.close(fd)
        raise
    finally:
        birth.unlink(missing_ok=True)
    return fd, owner


def _append(fd: int, line: bytes, path: Path) -> None:
    """Write a line whole; LabError where it does not fit: what is not noted must not be made."""
    try:
        whole = os.write(fd, line) == len(line)
        reason = os.strerror(errno.ENOSPC)
    except OSError as error:
        whole, reason = False, error.strerror or str(error)
    if not whole:
        raise LabError(
            f"the journal {path} cannot be written: {reason}. No lab is built without it: free space there, or set "
            f"{RUN_DIR_VARIABLE}"
        )


def parse(text: bytes, tag: str) -> Contents:
    """Read what can be read of a journal: torn or foreign lines and notes that are not valid are passed over."""
    owner: Owner | None = None
    entries: list[Entry] = []
    for line in text.split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict):
            continue
        if "owner" in value and owner is None:
            owner = Owner.parse(value["owner"])
        elif (entry := _parse_entry(value, tag)) is not None:
            entries.append(entry)
    return Contents(owner=owner, entries=tuple(entries))


def _parse_entry(value: Mapping[str, object], tag: str) -> Entry | None:
    match value:
        case {"kind": str(kind), "name": str(name), **rest} if kind in get_args(Kind):
            detail = {key: text for key, text in rest.items() if isinstance(text, str)}
            entry = Entry(kind=kind, name=name, detail=detail)
            with contextlib.suppress(ValueError):
                entry.validate(tag)
                return entry
    return None


def _note_line(entry: Entry) -> bytes:
    return _line({"kind": entry.kind, "name": entry.name, **entry.detail})


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
