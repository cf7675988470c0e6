"""Sysctls of namespaces that are not there, for tests of advice and its undo."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from perfcheck.live.applied import applied_changes
from perfcheck.system.netns import Mark


@dataclass(slots=True, kw_only=True)
class FakeSysctls:
    """Values by path and key; a path without any is no namespace. `refused` keys cannot be written."""

    values: dict[tuple[str, str], str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    rounded: dict[str, str] = field(default_factory=dict)
    """What the kernel makes of a value."""
    noted_before: list[bool] = field(default_factory=list)
    """Of each write: whether it was in a journal."""
    cookie: int = 1

    def read(self, path: str, key: str) -> tuple[str, ...] | None:
        found = self.values.get((path, key))
        return None if found is None else tuple(found.split())

    def write(self, path: str, key: str, value: str) -> None:
        if key in self.refused:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.noted_before.append(any(each.change.key == key for each in applied_changes()))
        self.values[path, key] = self.rounded.get(value, value)

    def mark(self, path: str) -> Mark | None:
        if not any(there == path for there, _ in self.values):
            return None
        return Mark(inode=Path(path).stat().st_ino, cookie=self.cookie)
