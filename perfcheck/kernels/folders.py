"""The store's folder, and unfinished work in it: a folder that its maker has locked, and that outlives no process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perfcheck.errors import Unavailable
from perfcheck.system.files import UNFINISHED

STORE_VARIABLE: Final = "PERFCHECK_KERNELS"
"""Another folder than the user's for the kernels."""
_OWN: Final = Path("perfcheck")
_FIX: Final = f"free space there, or set {STORE_VARIABLE} to a folder that you can write"


def store_folder() -> Path:
    """Return $PERFCHECK_KERNELS, else $XDG_DATA_HOME/perfcheck/kernels, else the one in ~/.local/share."""
    own = os.environ.get(STORE_VARIABLE)
    if own:
        return Path(own).absolute()
    return _base("XDG_DATA_HOME", ".local/share") / _OWN / "kernels"


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/perfcheck, else ~/.cache/perfcheck."""
    return _base("XDG_CACHE_HOME", ".cache") / _OWN


def environments_folder() -> Path:
    """Return where images of this machine's environment are kept."""
    return cache_folder() / "guest-images"


def _base(variable: str, under_home: str) -> Path:
    value = os.environ.get(variable)
    # The specification of these variables says that a relative path is to be ignored.
    if value and Path(value).is_absolute():
        return Path(value)
    try:
        return Path.home() / under_home
    except RuntimeError:
        raise Unavailable("a home folder", "this user has none", f"set HOME, {variable} or {STORE_VARIABLE}") from None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Let an OSError of the block say that the store cannot be written, and what to do."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if isinstance(error.filename, str) else ""
        raise Unavailable(
            f"the kernel store {folder}", f"it cannot be written: {error.strerror or error}{where}", _FIX
        ) from None


@contextmanager
def unfinished_work(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder`, removed afterwards whatever happens.

    It stays locked until then: `remove_unfinished` leaves the work of a living process alone.
    """
    path, lock = _begin(folder)
    try:
        yield path
    finally:
        remove_tree(path)
        os.close(lock)


def _begin(folder: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        lock = _locked(path, fcntl.LOCK_EX)
        # In the moment before it was locked, another process may have taken it for a dead one's.
        if lock is not None:
            if path.exists():
                return path, lock
            os.close(lock)


def remove_unfinished(folder: Path) -> tuple[str, ...]:
    """Remove what dead processes left of their work; return the names. OSError where something cannot be removed."""
    removed = []
    try:
        found = sorted(folder.glob(f"{UNFINISHED}*"))
    except OSError:
        return ()
    for path in found:
        lock = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is None:
            continue
        try:
            remove_tree(path)
        finally:
            os.close(lock)
        removed.append(path.name)
    return tuple(removed)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it; nothing where it is gone already."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a kernel's folder from being removed while the block runs."""
    lock = _locked(folder, fcntl.LOCK_SH)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def only_user(folder: Path) -> Iterator[bool]:
    """Keep others from using a kernel's folder while the block runs; yields False where somebody does."""
    lock = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _locked(folder: Path, operation: int) -> int | None:
    """Lock a folder; None where somebody else has it, or it is gone. Its lock is free when the process dies."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
