"""Sysctls through /proc/sys, in the calling thread's network namespace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perfcheck.errors import LabError

if TYPE_CHECKING:
    from perfcheck.model.seams import UndoLog

ROOT: Final = Path("/proc/sys")


def path_of(key: str) -> Path:
    """Return the file of `net.ipv4.tcp_rmem` (or `net/ipv4/conf/eth0.5/rp_filter`); ValueError for what is no key."""
    parts = key.split("/") if "/" in key else key.split(".")
    if len(parts) < 2 or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise ValueError(f"expected a sysctl such as net.ipv4.tcp_rmem, got {key!r}")
    return ROOT.joinpath(*parts)


def tokens(value: str) -> tuple[str, ...]:
    """Return a value's words: `4096 16384` and `4096<TAB>16384` are the same to the kernel."""
    return tuple(value.split())


def read(key: str) -> tuple[str, ...] | None:
    """Return the value's words, or None where there is no such sysctl or it cannot be read."""
    try:
        return tokens(path_of(key).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def write(key: str, value: str) -> None:
    """Write a value in one write(2), whose OSError is the kernel's own answer."""
    fd = os.open(path_of(key), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def set_host_wide(undo: UndoLog, key: str, value: str, *, permitted: bool) -> None:
    """Change a sysctl of the whole machine until the undo; LabError unless the user has permitted such changes."""
    if not permitted:
        raise LabError(
            f"{key} is not per network namespace: setting it would change the whole machine, so it was refused."
            f" To measure with it, set it before the run: sysctl -w {key}='{value}'"
        )
    old = read(key)
    if old is None:
        raise LabError(f"there is no sysctl {key} on this machine, or it cannot be read")
    if old == tokens(value):
        return
    undo.note("sysctl", key, old=" ".join(old), new=value)
    try:
        write(key, value)
    except OSError as problem:
        raise LabError(f"{key}={value} was refused by the kernel: {problem.strerror}") from None
    now = read(key)
    if now is not None and now != tokens(value):
        # An undo takes another value than the noted one for somebody else's.
        undo.note("sysctl", key, old=" ".join(old), new=" ".join(now))
