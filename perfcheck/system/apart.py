"""Files that a command writes: each is of one option, and none is a file that it reads, or standard output unasked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
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


def require_files(written: Mapping[str, Path | None], streaming: Sequence[str] = ()) -> None:
    """Raise UsageError where an option that is not one of `streaming` names standard output as `-`.

    Else a file of this name would be made, and who waits for the output in a pipe would get none.
    """
    only = f"only {' and '.join(streaming)} writes to standard output ('-')" if streaming else "'-' is no file here"
    for option, path in written.items():
        if str(path) == "-" and option not in streaming:
            raise UsageError(f"{option} -: {only}; name a file")


def _is_stream(path: Path) -> bool:
    """Return whether there is something else than a file; what cannot be looked up is told where it is opened."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
