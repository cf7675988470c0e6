"""Files that are complete or absent: after a crash at any moment, a reader sees the old content or the new."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

UNFINISHED: Final = ".unfinished-"
"""How the names of files begin that a writer has not finished."""


def replace_file(path: Path, content: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Write the content beside the file, wait until it is on the disk, then rename it to `path`; OSError as it came.

    `durable`: whether to wait for the disk. What can be made again at any time needs no waiting.
    """
    with replacing(path, mode=mode, durable=durable) as descriptor, open(descriptor, "wb", closefd=False) as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path, *, mode: int | None = 0o644, durable: bool = True) -> Iterator[int]:
    """Yield an open file that takes the path's place, once the block ends without an error and it is on the disk.

    It has no name until then, where the file system allows that: a writer that is killed leaves nothing.
    `mode` None: that of the file whose place it takes, else what the umask leaves, as for any file that is written.
    """
    if mode is None and path.is_file():
        mode = stat.S_IMODE(path.stat().st_mode)
    descriptor, unfinished = _open_unfinished(path.parent, 0o666 if mode is None else 0o600)
    try:
        yield descriptor
        if mode is not None:
            os.fchmod(descriptor, mode)
        if durable:
            os.fsync(descriptor)
        if unfinished is None:
            _give_name(descriptor, path)
        else:
            unfinished.replace(path)
    except BaseException:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    if durable:
        sync_folder(path.parent)


def _open_unfinished(folder: Path, mode: int) -> tuple[int, Path | None]:
    """Open a file without a name, or one with a name that says that it is unfinished; the umask takes from `mode`."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode), None
    except OSError as lacking:
        # EISDIR: a kernel that takes the flag for O_DIRECTORY.
        if lacking.errno not in {errno.EOPNOTSUPP, errno.EISDIR}:
            raise
    unfinished = folder / f"{UNFINISHED}{os.urandom(6).hex()}"
    return os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode), unfinished


def _give_name(descriptor: int, path: Path) -> None:
    """Give a file that has no name this one, in place of what has it."""
    try:
        _link(descriptor, path)
    except FileExistsError:
        # No call does both at once, so that there are some microseconds in which a writer can still leave a file.
        unfinished = path.with_name(f"{UNFINISHED}{os.urandom(6).hex()}")
        _link(descriptor, unfinished)
        try:
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def _link(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a folder's descriptor does Python call linkat(2), which can follow the link in /proc.
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_report(path: Path, content: bytes) -> None:
    """Write a file that the user named: whole or not at all, unless it is a device, a pipe or standard output.

    A link stays one, and a device stays a device. OSError as it came.
    """
    with writing_report(path) as stream:
        stream.write(content)


@contextmanager
def writing_report(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose content becomes the file that the user named, as `write_report` does."""
    if is_written_in_place(path):
        # No O_CREAT: a device that has gone is not replaced by a file. Standard output may hold something already.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "wb") as stream:
            yield stream
    else:
        with (
            replacing(Path(os.path.realpath(path)), mode=None) as descriptor,
            open(descriptor, "wb", closefd=False) as stream,
        ):
            yield stream


def require_report_writable(path: Path) -> None:
    """Raise OSError unless `write_report` can write there; makes the folder if need be."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not is_written_in_place(path):
        require_writable(Path(os.path.realpath(path)).parent)
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def is_written_in_place(path: Path) -> bool:
    """Whether a path that the user named is a device, a pipe or standard output, which is not to be replaced."""
    # What /dev/stdout leads to may be a regular file, which somebody else has open.
    if Path(os.path.realpath(path.parent)).is_relative_to("/dev") or path.resolve().is_relative_to("/proc"):
        return path.exists()
    return path.exists() and not path.is_file()


def require_writable(folder: Path) -> None:
    """Make the folder if need be, and raise OSError unless a file can be made in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
