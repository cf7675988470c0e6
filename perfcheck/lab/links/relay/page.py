"""A page of memory in which the relay notes how its queues are, to be looked at without asking it."""

from __future__ import annotations

import mmap
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO, Final

PAGE_BYTES: Final = 4096
_NOTE: Final = struct.Struct("=10Q")
"""Of each direction: bytes that wait, packets received, dropped by the queue, dropped by the policer, lost."""

Note = tuple[int, int, int, int, int]


class QueuePage:
    """The page, shared by way of a file without a name."""

    def __init__(self, fd: int) -> None:
        """Map the file's first page; the descriptor is not needed any more."""
        self._memory = mmap.mmap(fd, PAGE_BYTES)

    @classmethod
    def create(cls) -> tuple[QueuePage, BinaryIO]:
        """Return a page of zeros, and its file, to be handed to the other process and closed."""
        file = os.fdopen(os.memfd_create("queues"), "r+b")
        file.truncate(PAGE_BYTES)
        return cls(file.fileno()), file

    def write(self, notes: Sequence[Note]) -> None:
        """Note both directions; a reader may see one of them from before."""
        (first, second) = notes
        _NOTE.pack_into(self._memory, 0, *first, *second)

    def read(self) -> tuple[Note, Note]:
        """Return what was noted last."""
        noted = _NOTE.unpack_from(self._memory)
        return noted[:5], noted[5:]

    def close(self) -> None:
        """Let go of the page."""
        self._memory.close()
