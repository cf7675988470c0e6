"""Builds a kernel's source tree: commands as argument lists, what they say in a file."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import BuildFailed, LabError, UsageError
from perfcheck.system import Journal, commands

BUILD_LIMIT_S: Final = 6 * 3600.0
"""Of one command; a build that asks a question has no input to wait for."""
_SHOWN_LINES: Final = 8
_SHOWN_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How a tree is built: commands that run in it one after the other, and where in it the result is.

    `configured`: whether they need a .config.
    """

    commands: tuple[tuple[str, ...], ...]
    result: Path = Path()
    configured: bool = False

    @classmethod
    def of(cls, texts: Sequence[str], result: Path | None) -> Self:
        """Parse commands by shell-word splitting, without a shell; without any it is the kernel's own build."""
        if result is not None and (result.is_absolute() or ".." in result.parts):
            raise UsageError(f"--built {result}: expected a path inside the tree, such as out or linux.deb")
        if not texts:
            jobs = f"-j{len(os.sched_getaffinity(0))}"
            own = (("make", "olddefconfig"), ("make", jobs, "bzImage", "modules"))
            return cls(commands=own, result=result or Path(), configured=True)
        return cls(commands=tuple(_words(text) for text in texts), result=result or Path())

    def __str__(self) -> str:
        """Return the commands as a person would write them."""
        return "; ".join(shlex.join(words) for words in self.commands)


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as wrong:
        raise UsageError(f"--build {text!r}: {wrong}") from None
    if not words:
        raise UsageError("--build: there is no command in it")
    return words


def build(how: Build, tree: Path, log: Path, journal: Journal) -> None:
    """Run the commands in the tree; BuildFailed where one fails, Unavailable where it is not installed.

    All processes that they start carry the journal's tag, and end with its undo.
    """
    for words in how.commands:
        try:
            status = _run(words, tree, log, journal)
        except OSError as error:
            raise LabError(f"{log}: a build's output cannot be kept: {error.strerror}") from None
        if status:
            how_it_ended = f"failed with status {status}" if status > 0 else f"was ended by signal {-status}"
            raise BuildFailed(f"`{shlex.join(words)}` {how_it_ended}: {' / '.join(_last_lines(log)) or 'no output'}")


def _run(words: Sequence[str], tree: Path, log: Path, journal: Journal) -> int:
    # A command with a slash is the tree's own.
    path = str(tree / words[0]) if "/" in words[0] else commands.find(words[0])
    journal.note("process", words[0])
    with log.open("wb") as said:
        try:
            process = subprocess.Popen(
                words, executable=path, cwd=tree, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                env=commands.tagged_environment(journal.tag), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise BuildFailed(f"`{shlex.join(words)}` cannot be started: {error.strerror}") from None
        try:
            return process.wait(BUILD_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise BuildFailed(f"`{shlex.join(words)}` did not end within {BUILD_LIMIT_S:.0f} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _last_lines(log: Path) -> Iterable[str]:
    with log.open("rb") as said:
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SHOWN_BYTES))
        lines = said.read().decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()][-_SHOWN_LINES:]
