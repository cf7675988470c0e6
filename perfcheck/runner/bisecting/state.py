"""What a bisect keeps of its steps, so that it can go on after any end: JSON lines, each one whole write.

The file is locked while a bisect uses it. A last line that a kill or a full disk cut short is dropped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from perfcheck.errors import OutputError, UsageError
from perfcheck.model.bisection import BisectStep
from perfcheck.model.printable import ascii_json
from perfcheck.system.json_bounds import json_fault

MAX_BYTES: Final = 64 << 20
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _Header(BaseModel):
    """The first line: what the steps are of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    perfcheck_bisect: Literal[1]
    conditions: Mapping[str, str]


def default_path(key: Mapping[str, str]) -> Path:
    """Return where the state of these arguments is kept: below $XDG_STATE_HOME/perfcheck, else ~/.local/state's."""
    base = os.environ.get("XDG_STATE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local/state"
    name = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    return root / "perfcheck" / "bisect" / f"{name}.jsonl"


class BisectState:
    """An open state file: the steps that are done, and room for more."""

    def __init__(self, path: Path, descriptor: int, steps: tuple[BisectStep, ...]) -> None:
        """Take what `open` has read."""
        self.path = path
        self._descriptor = descriptor
        self._steps = list(steps)

    @classmethod
    @contextmanager
    def open(cls, path: Path, conditions: Mapping[str, str], *, restart: bool = False) -> Iterator[Self]:
        """Yield the state in a file, which is made if need be; `restart` drops the steps that it has.

        UsageError for a file that is none, of another bisect, or in use; and where it cannot be written.
        """
        descriptor = _opened(path)
        try:
            _take(descriptor, path)
            lines = _lines(descriptor, path)
            header = None if not lines else _header(lines[0], path)
            if header is None or restart:
                os.ftruncate(descriptor, 0)
                lines = []
                _append(descriptor, _Header(perfcheck_bisect=1, conditions=conditions).model_dump_json(), path)
            elif (changed := _first_difference(header.conditions, conditions)) is not None:
                raise UsageError(
                    f"{path}: the state of another bisect: {changed}; give --restart to begin again, or another --state"
                )
            yield cls(path, descriptor, tuple(_step(line, number, path) for number, line in enumerate(lines[1:], 2)))
        finally:
            os.close(descriptor)

    @property
    def steps(self) -> tuple[BisectStep, ...]:
        """All steps, in the order in which they were made."""
        return tuple(self._steps)

    def add(self, step: BisectStep) -> None:
        """Add a step, and wait until it is on the disk; one whose reason may pass is not written."""
        self._steps.append(step)
        if step.lasting:
            _append(self._descriptor, step.model_dump_json(), self.path)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, _FLAGS, 0o600)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid file name"
        raise UsageError(
            f"{path}: a bisect's state cannot be written: {reason}; give another file by --state"
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: not a regular file; give another file by --state")
    return descriptor


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{path}: another bisect is using this state; wait for it, or give another --state") from None


def _lines(descriptor: int, path: Path) -> list[str]:
    """Return the file's whole lines; what stands behind the last one is cut off."""
    size = os.fstat(descriptor).st_size
    if size > MAX_BYTES:
        raise UsageError(f"{path}: not the state of a bisect: larger than {MAX_BYTES} bytes")
    content = os.pread(descriptor, size, 0)
    whole = content[: content.rfind(b"\n") + 1]
    try:
        lines = whole.decode("ascii").split("\n")[:-1]
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not the state of a bisect: not ASCII text") from None
    if content and not lines and not b'{"perfcheck_bisect":'.startswith(content[:20]):
        raise UsageError(f"{path}: not the state of a bisect")
    os.ftruncate(descriptor, len(whole))
    return lines


def _header(line: str, path: Path) -> _Header:
    """Read the first line; a file that does not begin so is never overwritten."""
    fault = json_fault(line)
    try:
        if fault is None:
            return _Header.model_validate_json(line)
    except ValidationError:
        fault = "its first line does not say so"
    raise UsageError(f"{path}: not the state of a bisect: {fault}")


def _step(line: str, number: int, path: Path) -> BisectStep:
    fault = json_fault(line)
    try:
        if fault is None:
            return BisectStep.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    raise UsageError(f"{path}:{number}: damaged: {fault}; give --restart to begin again")


def _append(descriptor: int, text: str, path: Path) -> None:
    """Write a line whole; OutputError where it does not fit, the file being as before."""
    before = os.fstat(descriptor).st_size
    line = f"{ascii_json(text)}\n".encode()
    try:
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, before)
            raise OutputError(f"{path}: a step could not be kept: no space left on the device")
        os.fsync(descriptor)
    except OSError as error:
        raise OutputError(f"{path}: a step could not be kept: {error.strerror}") from None


def _first_difference(kept: Mapping[str, str], asked: Mapping[str, str]) -> str | None:
    """Say in what the arguments are not those of the state; None where they are."""
    for name in dict.fromkeys((*asked, *kept)):
        was, now = kept.get(name), asked.get(name)
        if was != now:
            return f"{name} was {was or 'not given'}, now it is {now or 'not given'}"
    return None
