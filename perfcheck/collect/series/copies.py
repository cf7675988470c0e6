"""Copies of mapped memory, tick by tick, that are decoded together."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.series.source import BATCH

MOST_BYTES: Final = 1 << 22
"""Of one kind of copies: with many CPUs fewer ticks are decoded together."""
_GOOD_BYTES: Final = 1 << 20
"""To have more memory costs more than what is saved by decoding more than FEW_TICKS together."""
FEW_TICKS: Final = 16


class Copies:
    """Copies of all elements of a mapped array, which lie side by side."""

    def __init__(self, memory: npt.NDArray[Any]) -> None:
        """Take the array; nothing is copied yet."""
        self._memory = memory
        flat = memory.reshape(-1).view(np.uint8)
        size = max(flat.size, 1)
        room = min(max(_GOOD_BYTES // size, min(MOST_BYTES // size, FEW_TICKS), 1), BATCH)
        self._copied = np.empty((room, flat.size), np.uint8)
        touch(self._copied)
        # A memoryview copies bytes by fewer steps than an array, which counts where none of them is in the caches.
        self._bytes, self._rooms = flat.data, [row.data for row in self._copied]
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether there is no room for another copy."""
        return self._count == len(self._copied)

    def take(self) -> None:
        """Copy the array as it is now."""
        self._rooms[self._count][:] = self._bytes
        self._count += 1

    def taken(self) -> npt.NDArray[Any]:
        """Return the copies, the first index being the tick's; the next `take` writes over them."""
        count, self._count = self._count, 0
        return self._copied[:count].view(self._memory.dtype).reshape(count, *self._memory.shape)


def touch(memory: npt.NDArray[Any]) -> None:
    """Have the kernel give the pages of new memory now: all of them together cost a fraction of one at each tick."""
    memory.view(np.uint8).fill(0)
