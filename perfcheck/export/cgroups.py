"""Names of cgroups by the number that sockets have of them: the inode of a folder below /sys/fs/cgroup."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from perfcheck.live.grouping import UNKNOWN

ROOT: Final = Path("/sys/fs/cgroup")
MOST_FOLDERS: Final = 20_000
AGAIN_S: Final = 10.0
"""Between two looks for a number that is not known: cgroups come and go."""
UNKNOWN_CGROUP: Final = UNKNOWN.replace("process", "cgroup")


class CgroupNames:
    """Looks the tree of cgroups through when a number comes up that is not known, but not at each interval."""

    def __init__(self, root: Path = ROOT) -> None:
        """Look at nothing yet."""
        self._root = root
        self._names: dict[int, str] = {}
        self._looked_s: float | None = None

    def __call__(self, number: int) -> str:
        """Return the path below the root as `/proc/PID/cgroup` has it, or that the cgroup is not known."""
        now_s = time.monotonic()
        if number not in self._names and (self._looked_s is None or now_s - self._looked_s >= AGAIN_S):
            self._looked_s = now_s
            self._names = self._found()
        return self._names.get(number, UNKNOWN_CGROUP)

    def _found(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for folder, below, _ in os.walk(self._root):
            below.sort()
            path = Path(folder)
            try:
                number = path.stat().st_ino
            except OSError:
                continue  # it was removed meanwhile
            found[number] = f"/{path.relative_to(self._root)}".removesuffix(".")
            if len(found) >= MOST_FOLDERS:
                break
        return found
