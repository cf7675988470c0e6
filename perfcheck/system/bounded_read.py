"""Reading a file that somebody else wrote: never more than a limit, never a device, never waiting for a writer."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from perfcheck.errors import UnreadableFile

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK_BYTES: Final = 1 << 20


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; UnreadableFile says why there is none.

    Symbolic links are followed. What they lead to is looked at before it is opened, since opening a
    device may already do something, and again afterwards. Files of /proc and /sys say that they are
    regular and empty, and some of them never end or wait for news: the limit holds for what was
    read, and nothing is waited for.
    """
    name = Path(path)
    descriptor = open_regular(name)
    try:
        if os.fstat(descriptor).st_size > limit:
            raise UnreadableFile(name, _too_large(limit))
        return _read(name, descriptor, limit)
    except OSError as error:
        raise UnreadableFile(name, _reason(error)) from None
    finally:
        os.close(descriptor)


def open_regular(path: str | os.PathLike[str]) -> int:
    """Return a descriptor that reads a regular file, for a caller that bounds what it reads; else UnreadableFile."""
    name = Path(path)
    try:
        _require_regular(name, name.stat())
        descriptor = os.open(name, _FLAGS)
    except OSError as error:
        raise UnreadableFile(name, _reason(error)) from None
    except ValueError:  # a NUL, or characters that no file name can have
        raise UnreadableFile(name, "not a valid file name") from None
    try:
        _require_regular(name, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_bounded_text(path: str | os.PathLike[str], limit: int) -> str:
    """Return the content as UTF-8 text; UnreadableFile where it is not, without a word of the content."""
    content = read_bounded(path, limit)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFile(Path(path), f"not UTF-8 text (byte {error.start + 1})") from None


def _read(name: Path, descriptor: int, limit: int) -> bytes:
    content = bytearray()
    while chunk := os.read(descriptor, min(_CHUNK_BYTES, limit + 1 - len(content))):
        content += chunk
        if len(content) > limit:
            raise UnreadableFile(name, _too_large(limit))
    return bytes(content)


def _require_regular(name: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableFile(name, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableFile(name, "not a regular file")


def _too_large(limit: int) -> str:
    return f"larger than {limit} bytes"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
