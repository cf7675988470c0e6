"""The directory of the machine's journals and of the measuring lock."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from perfcheck.errors import Unavailable

RUN_DIR_VARIABLE: Final = "PERFCHECK_RUN_DIR"
"""Another directory than /run/perfcheck; runs with different ones do not see one another."""

TAG: Final = re.compile(r"[0-9a-z]{6,12}")


def new_tag() -> str:
    """Make a random tag for a lab: 8 hexadecimal digits, short enough for interface names."""
    return secrets.token_hex(4)


def run_dir() -> Path:
    """Return the directory's path, whether it exists or not."""
    return Path(os.environ.get(RUN_DIR_VARIABLE) or "/run/perfcheck")


def make_run_dir(directory: Path) -> Path:
    """Make the directory, readable by its owner alone; Unavailable where it cannot be made or trusted."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise Unavailable(
            str(directory), f"it cannot be created: {problem.strerror}", f"run as root, or set {RUN_DIR_VARIABLE}"
        ) from None
    check_trusted(directory)
    return directory


def check_trusted(directory: Path) -> None:
    """Raise Unavailable where others may write: they could have a privileged undo remove what was never made."""
    try:
        status = directory.stat()
        _check_way(directory)
    except OSError as problem:
        raise Unavailable(
            str(directory), f"it cannot be used: {problem.strerror}", f"run as root, or set {RUN_DIR_VARIABLE}"
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise Unavailable(str(directory), "it is not a directory", f"remove it, or set {RUN_DIR_VARIABLE}")
    me = os.geteuid()
    if me not in {status.st_uid, 0}:
        raise Unavailable(
            str(directory), f"it belongs to user {status.st_uid}, but this process runs as user {me}",
            f"run as {'root (sudo)' if status.st_uid == 0 else 'that user'}, or set {RUN_DIR_VARIABLE}",
        )  # fmt: skip
    if status.st_uid != me or status.st_mode & 0o022:
        raise _untrusted(directory, f"it belongs to user {status.st_uid} with mode {status.st_mode & 0o777:o}")


def _check_way(directory: Path) -> None:
    """Raise Unavailable where others could put another directory in this one's place."""
    trusted = {0, os.geteuid()}
    for path in (directory.absolute(), *directory.absolute().parents):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) and status.st_uid not in trusted:
            raise _untrusted(directory, f"{path} is a symbolic link of user {status.st_uid}")
    for path in directory.resolve().parents:
        status = path.stat()
        if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
            raise _untrusted(directory, f"{path} has mode {status.st_mode & 0o7777:o}")


def _untrusted(directory: Path, why: str) -> Unavailable:
    return Unavailable(
        str(directory), f"{why}: others may write there",
        f"remove it, or set {RUN_DIR_VARIABLE} to a directory of your own",
    )  # fmt: skip
