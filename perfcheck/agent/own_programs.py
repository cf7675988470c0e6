"""Small C programs of perfcheck's own on an agent's machine: in memory alone, so that they go with the agent.

They came over the connection, or are compiled by that machine's compiler. A link to them in the agent's folder gives
them their names. A file there could not be run: many systems mount /run with `noexec`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from perfcheck.agent.requests import PlaceProgram, Program, Ran, Run
from perfcheck.errors import LabError, PerfcheckError, Unavailable
from perfcheck.system import programs

USAGE: Final = 2
"""The status of a program that is given no words."""
_TRY_S: Final = 10.0
_MFD_ALLOW_SEALING: Final = 0x2
_MFD_EXEC: Final = 0x10
"""Since Linux 6.3; where vm.memfd_noexec is 1, a file in memory can be run only if it was made so (linux/memfd.h)."""
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_SOURCES: Final = {programs.LOAD.stem: programs.LOAD}


class OwnPrograms:
    """The programs of one agent; all are gone with `close`, and with the agent."""

    def __init__(self, folder: Path, run: Callable[[Run], Ran]) -> None:
        """Take the agent's folder; `run` runs a command of the agent's."""
        self._folder = folder
        self._run = run
        self._held: list[int] = []

    def place(self, request: PlaceProgram, content: bytes) -> Program:
        """Keep a program that was sent, or is compiled now; Unavailable where that cannot be, or it does not run."""
        source = _source(request.name)
        if request.digest is None:
            scratch = self._folder / "scratch"
            scratch.mkdir(exist_ok=True)
            content = programs.built(source, scratch=scratch)
        elif digest_of(content) != request.digest:
            raise LabError(f"the program {request.name} did not arrive as it was sent: start the run again")
        return self._kept(request.name, content)

    def close(self) -> None:
        """Free the programs' memory; safe to call twice."""
        while self._held:
            os.close(self._held.pop())

    def _kept(self, name: str, content: bytes) -> Program:
        held = _in_memory(name, content)
        self._held.append(held)
        link = self._folder / "programs" / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"/proc/{os.getpid()}/fd/{held}")
        self._try(name, link)
        return Program(path=str(link))

    def _try(self, name: str, link: Path) -> None:
        try:
            ran = self._run(Run(argv=(str(link),), timeout_s=_TRY_S))
        except PerfcheckError as error:
            why = error.why if isinstance(error, Unavailable) else str(error)
            raise _does_not_run(name, why) from None
        if ran.status != USAGE:
            said = (ran.stderr or ran.stdout).decode(errors="replace").strip()[-300:]
            how = f"signal {-ran.status}" if ran.status < 0 else f"status {ran.status}"
            raise _does_not_run(name, f"it ended with {how}{f': {said}' if said else ''}")


def digest_of(content: bytes) -> str:
    """Return what tells a program from any other."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def _source(name: str) -> Path:
    if name not in _SOURCES:
        raise LabError(f"perfcheck has no program {name!r:.40}")
    return _SOURCES[name]


def _in_memory(name: str, content: bytes) -> int:
    """Return a file in memory that can be run, and not be changed any more."""
    held = _memory_file(name)
    try:
        with open(held, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(held, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as problem:
        os.close(held)
        raise _does_not_run(name, f"there is no memory for it: {problem.strerror}") from None
    return held


def _memory_file(name: str) -> int:
    for flags in (_MFD_EXEC, 0):
        try:
            return os.memfd_create(name, os.MFD_CLOEXEC | _MFD_ALLOW_SEALING | flags)
        except OSError as problem:
            if problem.errno == errno.EACCES:
                raise Unavailable(
                    f"the program {name}", "the machine runs nothing from memory (vm.memfd_noexec = 2)",
                    "sysctl vm.memfd_noexec=1 there",
                ) from None  # fmt: skip
            if problem.errno != errno.EINVAL or not flags:
                raise _does_not_run(name, str(problem.strerror)) from None
    raise AssertionError("a file without flags is made or refused")


def _does_not_run(name: str, why: str) -> Unavailable:
    return Unavailable(f"the program {name}", f"it does not run: {why}", "apt-get install gcc libc6-dev there")
