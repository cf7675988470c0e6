"""Files that can be made again, kept between runs where nobody else could have written them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from perfcheck.system.files import replace_file


def root() -> Path:
    """Return the cache's folder: $XDG_CACHE_HOME/perfcheck, else /var/cache/perfcheck for root, else ~/.cache's."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "perfcheck"
    return Path("/var/cache/perfcheck") if os.geteuid() == 0 else Path.home() / ".cache" / "perfcheck"


def folder(name: str) -> Path:
    """Return where files of this kind are kept, below the cache's folder."""
    return root() / name


def read(place: Path) -> bytes | None:
    """Return what was kept; None where there is nothing, or where others could have written it."""
    try:
        return place.read_bytes() if is_private(place.parent) and is_private(place) else None
    except OSError:
        return None


def keep(place: Path, content: bytes, *, mode: int) -> None:
    """Keep a file, unless others may write to its folder; OSError as it came."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(place.parent):
        return
    replace_file(place, content, mode=mode, durable=False)


def is_private(path: Path) -> bool:
    """Return whether only we can have written it: what is kept is run as root, loaded into the kernel, or shown."""
    status = path.lstat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
