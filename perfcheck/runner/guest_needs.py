"""What of this machine a scenario's own commands need in a guest: programs, scripts and data that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels.machine_files import below
from perfcheck.model.scenario import Scenario
from perfcheck.system import commands

MOST_BYTES: Final = 256 << 20
"""Of all files that a scenario's commands name; they are in the guest's memory."""
_PLACE: Final = re.compile(r"/[^\s'\"=,;:]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Programs, which bring their libraries, and files."""

    programs: tuple[Path, ...]
    files: tuple[Path, ...]


def needs_of(scenario: Scenario, directory: Path) -> Needs:
    """Return what the commands of a scenario name; relative names are looked for in the folder in which they run.

    A program that is not installed here is left to the run, which then says so. LabError for more than a guest has
    room for.
    """
    programs: dict[Path, None] = {}
    files: dict[Path, None] = {}
    for command in _commands(scenario):
        words = shlex.split(command)
        if words and (program := _program(words[0], directory)) is not None:
            programs[program] = None
        for word in words[1:]:
            for named in _named(word, directory):
                files |= dict.fromkeys([named] if named.is_file() else below(named))
    files |= dict.fromkeys(Path(trace) for trace in _traces(scenario))
    size = sum(path.lstat().st_size for path in files)
    if size > MOST_BYTES:
        raise LabError(
            f"{scenario.label}: its commands name {size >> 20} MB of files, and a guest has room for "
            f"{MOST_BYTES >> 20} MB"
        )
    return Needs(programs=tuple(programs), files=tuple(files))


def _commands(scenario: Scenario) -> Iterator[str]:
    for host in scenario.hosts.values():
        yield from host.setup
    for entry in scenario.traffic:
        if entry.command is not None:
            yield entry.command.run
            if entry.command.server is not None:
                yield entry.command.server.run


def _traces(scenario: Scenario) -> Iterator[str]:
    for link in scenario.links:
        for spec in (link, link.forward, link.reverse):
            if spec is not None and spec.trace is not None and spec.trace.path:
                yield spec.trace.path


def _program(word: str, directory: Path) -> Path | None:
    if "/" in word:
        path = directory / word
        return path if path.is_file() else None
    try:
        return Path(commands.find(word))
    except Unavailable:
        return None


def _named(word: str, directory: Path) -> Iterator[Path]:
    """Yield files and folders that a word names: the word itself, or paths within it, as in `--config=/etc/x`."""
    whole = directory / word
    try:
        if word and whole.exists() and whole.resolve() not in (Path("/"), directory.resolve()):
            yield whole
            return
    except (OSError, ValueError):
        return
    for place in _PLACE.findall(word):
        path = Path(place)
        if path.is_file():
            yield path
