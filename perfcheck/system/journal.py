"""The cleanup journal: what a lab makes is noted before it is made, so that it can be undone after a SIGKILL too.

One file a lab, `<run directory>/<tag>.journal`, one JSON object a line: a header that names the
owner, then one note for each thing. A note is one write(2): that survives the death of the writer, which
is all that is asked of it, for what a power cut leaves to undo is nothing but files; only
those notes are forced to the disk.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, get_args

from perfcheck.errors import LabError
from perfcheck.system.processes import ProcessId, boot_id, identify
from perfcheck.system.rundir import RUN_DIR_VARIABLE, TAG, check_trusted, make_run_dir, run_dir
from perfcheck.system.signals import deferred_signals
from perfcheck.system.undo import Entry, Kind, Undone, undo_all

SUFFIX: Final = ".journal"
_BIRTH_SUFFIX: Final = ".new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that a journal belongs to, in this boot."""

    tag: str
    process: ProcessId
    boot: str

    def alive(self) -> bool:
        """Whether the owner still runs, so that its lab must not be touched."""
        return self.boot == boot_id() and identify(self.process.pid) == self.process


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

    def __init__(self, path: Path, tag: str, fd: int) -> None:
        """Take an open journal; see `create`."""
        self.path = path
        self.tag = tag
        self._fd = fd
        self._entries: list[Entry] = []

    @classmethod
    def create(cls, tag: str, directory: Path | None = None) -> Self:
        """Open a new journal owned by this process; LabError where one of this tag exists."""
        if not TAG.fullmatch(tag):
            raise ValueError(f"a tag is 6 to 12 lower-case letters and digits, got {tag!r}")
        path = make_run_dir(directory or run_dir()) / f"{tag}{SUFFIX}"
        me = identify(os.getpid())
        assert me is not None  # noqa: S101 - we run
        owner = Owner(tag=tag, process=me, boot=boot_id())
        # Born whole under another name: a journal without a header would be a dead one to a `clean` beside us.
        birth = path.with_name(f"{tag}.{me.pid}.{me.start_ticks}{_BIRTH_SUFFIX}")
        fd = os.open(birth, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _append(fd, _header_line(owner), path)
            os.link(birth, path)
        except FileExistsError:
            os.close(fd)
            raise LabError(f"{path} exists already: another lab has the tag {tag}") from None
        except BaseException:
            os.close(fd)
            raise
        finally:
            birth.unlink(missing_ok=True)
        return cls(path, tag, fd)

    def note(self, kind: str, name: str, **detail: str) -> None:
        """Write that `name` is about to be made.

        Kinds and names: `netns` its name under /run/netns, `device` an interface in the runner's own
        namespace, `file` an absolute path (an empty directory at undo counts too), `process` the
        command (with `pid` and `start` once it runs), `sysctl` a host-wide key with `old` and `new`.
        Names of namespaces, devices and files must carry the tag: nothing else is ever removed.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"expected one of {', '.join(get_args(Kind))}, got {kind!r}")
        entry = Entry(kind=kind, name=name, detail=detail)
        entry.validate(self.tag)
        if kind == "file" and os.path.lexists(name):
            raise LabError(f"{name} exists already and is not this lab's: nothing was changed")
        _append(self._fd, _note_line(entry), self.path)
        if kind == "file":
            os.fdatasync(self._fd)
        self._entries.append(entry)

    def undo(self) -> tuple[Undone, ...]:
        """Undo everything noted, latest first; what failed stays noted. Signals are held back meanwhile."""
        with deferred_signals():
            outcomes = undo_all(self._entries, self.tag, same_boot=True)
            failed = {(outcome.kind, outcome.name) for outcome in outcomes if outcome.outcome == "failed"}
            self._entries = [entry for entry in self._entries if (entry.kind, entry.name) in failed]
            return outcomes

    def close(self) -> tuple[Undone, ...]:
        """Undo everything and remove the file, unless something could not be undone; safe to call twice."""
        if self._fd < 0:
            return ()
        with deferred_signals():
            outcomes = self.undo()
            os.close(self._fd)
            self._fd = -1
            if not self._entries:
                self.path.unlink(missing_ok=True)
            return outcomes

    def __enter__(self) -> Self:
        """Give the journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo everything; LabError where something is left and no other error is on its way."""
        failed = [str(outcome) for outcome in self.close() if outcome.outcome == "failed"]
        if failed and error is None:
            raise LabError(f"the lab could not be undone: {'; '.join(failed)}. Try `perfcheck clean` as root")


def _append(fd: int, line: bytes, path: Path) -> None:
    """Write a line whole; LabError where it does not fit: what is not noted must not be made."""
    try:
        whole = os.write(fd, line) == len(line)
        reason = os.strerror(errno.ENOSPC)
    except OSError as error:
        whole, reason = False, error.strerror or str(error)
    if not whole:
        raise LabError(
            f"the journal {path} cannot be written: {reason}. Nothing is made without it: make room there, or set "
            f"{RUN_DIR_VARIABLE}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanReport:
    """What `clean` did: things undone (or why not), tags of labs that are alive, files it could not read."""

    undone: tuple[Undone, ...] = ()
    alive: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    failed: tuple[Undone, ...] = field(default=())


def clean(directory: Path | None = None) -> CleanReport:
    """Undo what runs that are dead have left behind; never raises for what the journals hold.

    Unavailable where others than this user may write to the directory.
    """
    where = directory or run_dir()
    if where.is_dir():
        check_trusted(where)
    undone: list[Undone] = []
    alive: list[str] = []
    unreadable: list[str] = []
    for path in _listed(where):
        if path.name.endswith(_BIRTH_SUFFIX):
            _remove_stillborn(path)
        elif path.name.endswith(SUFFIX) and TAG.fullmatch(tag := path.name.removesuffix(SUFFIX)):
            try:
                contents = parse(path.read_bytes(), tag)
            except OSError as problem:
                unreadable.append(f"{path}: {problem.strerror}")
                continue
            if contents.owner is not None and contents.owner.alive():
                alive.append(tag)
                continue
            undone += _undo_dead(path, tag, contents)
    failed = tuple(outcome for outcome in undone if outcome.outcome == "failed")
    return CleanReport(
        undone=tuple(outcome for outcome in undone if outcome.outcome == "undone"),
        alive=tuple(alive), unreadable=tuple(unreadable), failed=failed,
    )  # fmt: skip


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
        if "owner" in value and owner is None and not entries:
            owner = _parse_owner(value["owner"], tag)
        elif (entry := _parse_entry(value, tag)) is not None:
            entries.append(entry)
    return Contents(owner=owner, entries=tuple(entries))


def _parse_owner(value: object, tag: str) -> Owner | None:
    match value:
        case {"pid": int(pid), "start_ticks": int(start_ticks), "boot": str(boot)}:
            return Owner(tag=tag, process=ProcessId(pid=pid, start_ticks=start_ticks), boot=boot)
    return None


def _parse_entry(value: Mapping[str, object], tag: str) -> Entry | None:
    match value:
        case {"kind": str(kind), "name": str(name), **rest} if kind in get_args(Kind):
            detail = {key: text for key, text in rest.items() if isinstance(text, str)}
            entry = Entry(kind=kind, name=name, detail=detail)
            with contextlib.suppress(ValueError):
                entry.validate(tag)
                return entry
    return None


def _header_line(owner: Owner) -> bytes:
    process = owner.process
    return _line({"owner": {"pid": process.pid, "start_ticks": process.start_ticks, "boot": owner.boot}})


def _note_line(entry: Entry) -> bytes:
    return _line({"kind": entry.kind, "name": entry.name, **entry.detail})


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _listed(directory: Path) -> Iterable[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return ()


def _remove_stillborn(path: Path) -> None:
    parts = path.name.removesuffix(_BIRTH_SUFFIX).split(".")
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        process = ProcessId(pid=int(parts[1]), start_ticks=int(parts[2]))
        if identify(process.pid) != process:
            path.unlink(missing_ok=True)


def _undo_dead(path: Path, tag: str, contents: Contents) -> tuple[Undone, ...]:
    same_boot = contents.owner is not None and contents.owner.boot == boot_id()
    with deferred_signals():
        outcomes = undo_all(contents.entries, tag, same_boot=same_boot)
        if all(outcome.outcome != "failed" for outcome in outcomes):
            path.unlink(missing_ok=True)
        return outcomes
