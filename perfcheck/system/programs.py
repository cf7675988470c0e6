"""Small C programs of perfcheck's own, compiled on this machine and kept.

They run in the lab's hosts and in guests, so they are static: nothing else has to be there. Plugins are loaded by QEMU.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.system import commands, kept_files

LOAD: Final = Path(__file__).parent / "programs" / "load.c"
"""The client and server of traffic by `load`."""
COMPILER: Final = ("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra")
PROGRAM: Final = ("-static",)
PLUGIN: Final = ("-shared", "-fPIC", "-fvisibility=hidden")
_INCLUDED: Final = re.compile(rb'^#include "([a-z_]+\.h)"', re.MULTILINE)
_FOLDER: Final = "programs"
_TIMEOUT_S: Final = 60.0


def cache_folder() -> Path:
    """Return where compiled programs are kept: below $XDG_CACHE_HOME/perfcheck, else beside the BPF programs."""
    return kept_files.folder(_FOLDER)


def kept_as(source: Path) -> str:
    """Return the path of a compiled program in perfcheck's cache on any machine."""
    return f"{_FOLDER}/{place_of(source).name}"


def place_of(source: Path, how: tuple[str, ...] = PROGRAM) -> Path:
    """Return where what a source is compiled to is kept, there or not; the name stands for all that it is made of."""
    digest = hashlib.blake2b(" ".join((*COMPILER, *how)).encode(), digest_size=12)
    for part in _parts(source):
        digest.update(part)
    return cache_folder() / f"{source.stem}-{digest.hexdigest()}"


def require(source: Path) -> None:
    """Raise Unavailable where a program is neither kept nor can be compiled."""
    if kept_files.read(place_of(source)) is None:
        _compiler()


def built(source: Path, how: tuple[str, ...] = PROGRAM, *, scratch: Path | None = None) -> bytes:
    """Return what a source is compiled to; Unavailable without a C compiler.

    A cache that cannot be written only costs time. All that the compiler writes goes to the folder `scratch`, where
    one is given.
    """
    place = place_of(source, how)
    kept = kept_files.read(place)
    if kept is None:
        kept = _compiled(source, how, scratch)
        with contextlib.suppress(OSError):
            kept_files.keep(place, kept, mode=0o700)
    return kept


def executable(source: Path) -> Path:
    """Return the file of a compiled program; Unavailable without a C compiler, or where it cannot be kept."""
    place = place_of(source)
    if kept_files.read(place) is None:
        made = _compiled(source, PROGRAM)
        try:
            kept_files.keep(place, made, mode=0o700)
        except OSError as problem:
            raise _not_kept(place, str(problem.strerror)) from None
        if kept_files.read(place) is None:
            raise _not_kept(place, "others may write there")
    if not os.access(place, os.X_OK):
        # Whoever put it there need not have kept its mode.
        place.chmod(0o700)
    return place


def _parts(source: Path) -> list[bytes]:
    """Return a source and the headers beside it that it includes, each once."""
    waiting, seen = [source.name], dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name] = (source.parent / name).read_bytes()
            waiting += [found.decode() for found in _INCLUDED.findall(seen[name])]
    return list(seen.values())


def _not_kept(place: Path, why: str) -> Unavailable:
    return Unavailable(
        f"the program {place.name.partition('-')[0]}", f"it cannot be kept in {place.parent}: {why}",
        "set XDG_CACHE_HOME to a folder of your own",
    )  # fmt: skip


def _compiler() -> str:
    try:
        return commands.find(COMPILER[0])
    except Unavailable:
        raise Unavailable("a C compiler", "gcc is not in PATH", "apt-get install gcc libc6-dev") from None


def _compiled(source: Path, how: tuple[str, ...], scratch: Path | None = None) -> bytes:
    argv = [_compiler(), *COMPILER[1:], *how]
    with tempfile.TemporaryDirectory(prefix="perfcheck-cc.", dir=scratch) as folder:
        out = Path(folder) / "program"
        commands.run(
            [*argv, "-o", str(out), str(source)], timeout_s=_TIMEOUT_S, env={**os.environ, "TMPDIR": folder},
            error=LabError,
        )  # fmt: skip
        return out.read_bytes()
