"""The small C programs that run in a guest, and the plugin that QEMU loads: compiled on the host and kept."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.system import commands
from perfcheck.system.files import replace_file

SOURCES: Final = Path(__file__).parent / "programs"
COMPILER: Final = ("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra")
_PROGRAM: Final = ("-static",)
_PLUGIN: Final = ("-shared", "-fPIC", "-fvisibility=hidden")
_TIMEOUT_S: Final = 60.0
_INCLUDED: Final = re.compile(rb'^#include "([a-z_]+\.h)"', re.MULTILINE)


def cache_folder() -> Path:
    """Return where compiled programs are kept: $XDG_CACHE_HOME/perfcheck, else as the BPF programs are."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "perfcheck" / "guest-programs"
    root = Path("/var/cache/perfcheck") if os.geteuid() == 0 else Path.home() / ".cache" / "perfcheck"
    return root / "guest-programs"


def program(name: str) -> bytes:
    """Return a program of `programs/`, compiled as a static one; Unavailable without a C compiler."""
    return _compiled(SOURCES / f"{name}.c", _PROGRAM)


def plugin(name: str) -> bytes:
    """Return a plugin for QEMU, compiled from `programs/` as a shared object; Unavailable without a C compiler."""
    return _compiled(SOURCES / f"{name}.c", _PLUGIN)


def _compiled(source: Path, how: tuple[str, ...]) -> bytes:
    """Return what the source is compiled to, from where it is kept if it was compiled before."""
    kept = cache_folder() / f"{source.stem}-{_key(source, how)}"
    stored = _stored(kept)
    if stored is not None:
        return stored
    built = _built(source, how)
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(kept.parent):
            replace_file(kept, built, mode=0o700, durable=False)
    except OSError:
        # A cache that cannot be written only costs time.
        return built
    return built


def _key(source: Path, how: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(" ".join((*COMPILER, *how)).encode(), digest_size=12)
    for part in _parts(source):
        digest.update(part)
    return digest.hexdigest()


def _parts(source: Path) -> list[bytes]:
    """Return a source and the headers beside it that it includes, each once."""
    waiting, seen = [source.name], dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name] = (source.parent / name).read_bytes()
            waiting += [found.decode() for found in _INCLUDED.findall(seen[name])]
    return list(seen.values())


def _stored(kept: Path) -> bytes | None:
    try:
        return kept.read_bytes() if _is_ours(kept.parent) and _is_ours(kept) else None
    except OSError:
        return None


def _is_ours(path: Path) -> bool:
    """Whether only we can have written it: what lies there is run by a guest, or loaded into QEMU."""
    status = path.lstat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _built(source: Path, how: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="perfcheck-cc.") as folder:
        out = Path(folder) / "program"
        try:
            commands.run([*COMPILER, *how, "-o", str(out), str(source)], timeout_s=_TIMEOUT_S, error=LabError)
        except Unavailable:
            raise Unavailable("a C compiler", "gcc is not in PATH", "apt-get install gcc libc6-dev") from None
        return out.read_bytes()
