"""Reads of a BPF iterator at many ticks."""

from __future__ import annotations

import os
from collections.abc import Callable

from perfcheck.collect.series.source import BATCH


class LiveReads:
    """Runs an iterator that writes nothing, at each `read`.

    The kernel lets an iterator's descriptor be read through once. To open and close BATCH of them together costs less
    than one at each tick, when nothing of it is in the CPU's caches.
    """

    def __init__(self, open_one: Callable[[], int]) -> None:
        """Take what opens a descriptor; nothing is open yet."""
        self._open_one = open_one
        self._fds: list[int] = []
        self._used = 0

    def read(self) -> None:
        """Run the iterator's program for each element; OSError as the kernel says it."""
        if self._used == len(self._fds):
            self.close()
            for _ in range(BATCH):
                self._fds.append(self._open_one())
        fd = self._fds[self._used]
        self._used += 1
        os.read(fd, 1)

    def close(self) -> None:
        """Close the descriptors; safe to call twice."""
        fds, self._fds, self._used = self._fds, [], 0
        for fd in fds:
            os.close(fd)
