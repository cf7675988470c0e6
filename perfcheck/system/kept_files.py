"""Files that can be made again, kept between runs where nobody else could have written them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from perfcheck.system.files import replace_file


def folder(name: str) -> Path:
    """Return where files of this kind are kept: below $XDG_CACHE_HOME/perfcheck, else beside the BPF programs."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "perfcheck" / name
    root = Path("/var/cache/perfcheck") if os.geteuid() == 0 else Path.home() / ".cache" / "perfcheck"
    return root / name


def read(place: Path) -> bytes | None:
    """Return what was kept; None where there is nothing, or where others could have written it."""
    try:
        return place.read_bytes() if _private(place.parent) and _private(place) else None
    except OSError:
        return None


def keep(place: Path, content: bytes, *, mode: int) -> None:
    """Keep a file, unless others may write to its folder; OSError as it came."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _private(place.parent):
        return
    replace_file(place, content, mode=mode, durable=False)


def _private(path: Path) -> bool:
    """Whether only we can have written it: what is kept is run as root, loaded into QEMU, or put into reports."""
    status = path.lstat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
