"""The small C programs that run in a guest, compiled on the host and kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.system import commands
from perfcheck.system.files import replace_file

SOURCES: Final = Path(__file__).parent / "programs"
COMPILER: Final = ("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-static")
_TIMEOUT_S: Final = 60.0


def cache_folder() -> Path:
    """Return where compiled programs are kept: $XDG_CACHE_HOME/perfcheck, else as the BPF programs are."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "perfcheck" / "guest-programs"
    root = Path("/var/cache/perfcheck") if os.geteuid() == 0 else Path.home() / ".cache" / "perfcheck"
    return root / "guest-programs"


def program(name: str) -> bytes:
    """Return a program of `programs/`, compiled as a static one; Unavailable without a C compiler."""
    source = SOURCES / f"{name}.c"
    key = hashlib.blake2b(source.read_bytes() + " ".join(COMPILER).encode(), digest_size=12).hexdigest()
    kept = cache_folder() / f"{name}-{key}"
    try:
        return kept.read_bytes()
    except OSError:
        built = _compiled(source)
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(kept, built, mode=0o700, durable=False)
    except OSError:
        # A cache that cannot be written only costs time.
        return built
    return built


def _compiled(source: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="perfcheck-cc.") as folder:
        out = Path(folder) / "program"
        try:
            commands.run([*COMPILER, "-o", str(out), str(source)], timeout_s=_TIMEOUT_S, error=LabError)
        except Unavailable:
            raise Unavailable("a C compiler", "gcc is not in PATH", "apt-get install gcc libc6-dev") from None
        return out.read_bytes()
