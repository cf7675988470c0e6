"""Run records as JSON lines: one record a line, appended, never torn by a second writer or a kill."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perfcheck.errors import OutputError, Problem, RecordError, UnreadableFile, UsageError
from perfcheck.model.printable import code_point, unprintable
from perfcheck.model.record import RunRecord
from perfcheck.system.bounded_read import read_bounded_text
from perfcheck.system.json_bounds import json_fault
from perfcheck.system.printing import say_json
from perfcheck.version import VERSION

MAX_BYTES: Final = 256_000_000
MAX_LINE: Final = 16_000_000
"""A record of 1000 runs with all metrics has some 5 million characters."""
MAX_LINES: Final = 20_000
"""Of a file; records of real runs fill its bytes with fewer."""

_NAMES: Final = frozenset({"run_id", "started_at", "scenario.name", "scenario.title", "scenario.file"})
"""Texts of a record that name it; its other texts may be of several lines, and are made printable where they go."""

_MOST_PROBLEMS: Final = 5  # a file that is something else altogether has one in each line


class JsonLinesOutput:
    """Appends records to a file, or writes them to standard output where the path is None."""

    def __init__(self, path: Path | None) -> None:
        """Touch nothing until `open`."""
        self._path = path
        self._fd: int | None = None

    @property
    def name(self) -> str:
        """Name of the format."""
        return "jsonl"

    def open(self) -> None:
        """Open for appending; UsageError where the path cannot be written."""
        if self._path is None or self._fd is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"{self._path}: cannot write run records: {error.strerror}; name another file") from error

    def write(self, record: RunRecord) -> None:
        """Append one line and wait until it is on the disk; OutputError where that fails, the file being as before.

        The lock keeps writers of the same file apart.
        """
        if self._path is None:
            say_json(record.to_json())
            return
        if self._fd is None:
            raise UsageError(f"{self._path}: written to before it was opened")
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            _append(self._fd, (_missing_newline(self._fd) + record.to_json() + "\n").encode())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot write run records: {error.strerror}") from error
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read_records(path: Path) -> tuple[RunRecord, ...]:
    """Read a file of records; RecordError names each bad line, with what is wrong in it."""
    try:
        text = read_bounded_text(path, MAX_BYTES)
    except UnreadableFile as error:
        problem = Problem(file=str(path), line=1, column=1, path="", message=f"cannot read run records: {error.reason}")
        raise RecordError(problem) from None
    lines = text.count("\n") + 1
    if lines > MAX_LINES:
        raise RecordError(_problem_at(path, MAX_LINES + 1, "", f"expected at most {MAX_LINES:,} lines, got {lines:,}"))
    records = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(problems) >= _MOST_PROBLEMS:
            break
        fault = _fault(line)
        if fault is not None:
            problems.append(Problem(file=str(path), line=number, column=1, path="", message=fault))
            continue
        try:
            record = RunRecord.model_validate_json(line)
        except ValidationError as error:
            problems += _problems(path, number, error)
            continue
        wrong = list(_unshowable(record.model_dump(by_alias=True), ""))
        problems += [_problem_at(path, number, *each) for each in wrong[:3]]
        records.append(record)
    if not records and not problems:
        problems = [
            Problem(file=str(path), line=1, column=1, path="", message="expected run records, the file is empty")
        ]
    if problems:
        raise RecordError(*problems[:_MOST_PROBLEMS])
    return tuple(records)


def _fault(line: str) -> str | None:
    if len(line) > MAX_LINE:
        return f"expected a run record of at most {MAX_LINE:,} characters, got {len(line):,}"
    return json_fault(line)


def _problems(path: Path, line: int, error: ValidationError) -> list[Problem]:
    return [
        Problem(
            file=str(path), line=line, column=1, path=".".join(str(part) for part in detail["loc"]),
            message=_told(detail["type"], detail["msg"]),
        )
        for detail in error.errors(include_url=False, include_context=False, include_input=False)[:3]
    ]  # fmt: skip


def _unshowable(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield (where, why) of keys and names that cannot be shown."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            path = f"{where}.{key}" if where else str(key)
            if (character := unprintable(str(key))) is not None:
                yield path, f"expected a printable key, got the character {code_point(character)} in it"
            yield from _unshowable(inner, path)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _unshowable(inner, f"{where}[{index}]")
    elif where in _NAMES and isinstance(value, str) and (character := unprintable(value)) is not None:
        yield where, f"expected printable text, got the character {code_point(character)} in it"


def _problem_at(path: Path, line: int, where: str, message: str) -> Problem:
    return Problem(file=str(path), line=line, column=1, path=where, message=message)


def _told(kind: str, message: str) -> str:
    if kind == "json_invalid":
        return f"expected a run record as JSON ({message}); if a killed run left this line, delete it"
    if kind == "extra_forbidden":
        return f"unknown field: a newer perfcheck than this one ({VERSION}) may have written it, or it is misspelt"
    return message


def _missing_newline(fd: int) -> str:
    """Return the newline that a writer killed in mid-line left out, so that only its own line is lost."""
    try:
        size = os.fstat(fd).st_size
        return "\n" if size and os.pread(fd, 1, size - 1) != b"\n" else ""
    except OSError:
        return ""  # a pipe cannot be read back


def _append(fd: int, data: bytes) -> None:
    """Append all of the data, or none: what a full disk took of it is cut off again."""
    before = os.fstat(fd).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
        _sync(fd)
    except OSError:
        with suppress(OSError):  # a pipe cannot be cut
            os.ftruncate(fd, before)
        raise


def _sync(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe or a terminal has no disk below it
            raise
