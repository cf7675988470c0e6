"""A folder of baselines: one writer at a time, and files that are written only where their text changes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perfcheck.system.files import UNFINISHED, replace_file


@contextmanager
def locked_folder(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a flock(2) on the folder; waits for whoever else holds it. `shared`: with other readers.

    A writer makes the folder if need be, and removes whatever a killed writer left unfinished.
    """
    if not shared:
        folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        for left in () if shared else folder.glob(f"{UNFINISHED}*"):
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def update_file(path: Path, text: str) -> None:
    """Write the text, unless the file has it already, so that any reader sees the old text or the new.

    The caller holds `locked_folder(path.parent)`.
    """
    content = text.encode()
    with suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return
    replace_file(path, content)
