"""Files that a command writes: each is of one option, and none is a file that it reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from perfcheck.errors import UsageError


def require_apart(written: Mapping[str, Path | None], read: Iterable[Path] = ()) -> None:
    """Raise UsageError where two options name one file, or one of them a file that is read.

    `written` are the files by option, None where it is not given. Devices, pipes and `-` may be named more than once.
    """
    kept = {os.path.realpath(path) for path in read}
    seen: dict[str, str] = {}
    for option, path in written.items():
        if path is None or str(path) == "-" or _is_stream(path):
            continue
        place = os.path.realpath(path)
        if place in kept:
            raise UsageError(f"{option} {path}: would take the place of a file that is read; name another file")
        if place in seen:
            raise UsageError(f"{option} {path}: {seen[place]} writes to the same file; name another file")
        seen[place] = option


def _is_stream(path: Path) -> bool:
    """Return whether there is something else than a file; what cannot be looked up is told where it is opened."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
