"""Folders for what is made on the way to a guest's files: they go with a journal, so that a kill leaves none behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfcheck.errors import LabError
from perfcheck.system import Journal, new_tag
from perfcheck.system.undo import FOLDER_PREFIX


def guest_folder(journal: Journal) -> Path:
    """Make a folder for files of a guest; the journal's undo removes it, after a kill the next run's."""
    folder = Path(tempfile.gettempdir()) / f"{FOLDER_PREFIX}{journal.tag}"
    journal.note("folder", str(folder))
    try:
        folder.mkdir(mode=0o700)
        journal.note("folder", str(folder), inode=str(folder.lstat().st_ino))
    except OSError as error:
        raise LabError(
            f"{folder}: cannot make a folder for a guest: {error.strerror}; set TMPDIR to a folder that you can write"
        ) from error
    return folder


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder, removed afterwards; LabError where what is written there, or read for it, fails."""
    with Journal.create(new_tag()) as journal:
        folder = guest_folder(journal)
        try:
            yield folder
        except OSError as error:
            where = error.filename if isinstance(error.filename, str) else folder
            raise LabError(
                f"{where}: cannot make a guest's files: {error.strerror or error}; free space in {folder.parent}, or "
                "set TMPDIR to another folder"
            ) from error
