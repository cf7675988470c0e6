"""Reads a BPF ring buffer with records of one size as an array: one copy, and no call for each record.

The kernel's layout (kernel/bpf/ringbuf.c): a page with the consumer's position, a page with the producer's, and the
data. The data is mapped twice in a row, so a record that wraps around is contiguous. Each record has a header of
8 bytes (length and two bits, page offset) and is padded to 8 bytes. If the record size is a power of two, a
position is the number of a record times that size, and the headers form a column.
"""

from __future__ import annotations

import mmap
import threading
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

HEADER_BYTES: Final = 8
BUSY: Final = 1 << 31
"""The record is still being written (BPF_RINGBUF_BUSY_BIT)."""
DISCARD: Final = 1 << 30
"""The record is to be skipped (BPF_RINGBUF_DISCARD_BIT)."""
_LENGTH: Final = DISCARD - 1


class RingLayoutError(ValueError):
    """The ring's records are not of the size that was told."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was taken at once: the records that count, and the consumer's position after them."""

    records: npt.NDArray[Any]
    position: int


class RecordRing:
    """The arithmetic of the ring over any memory; `data` has the ring's bytes twice, one after the other."""

    def __init__(self, data: npt.NDArray[np.uint8], record: np.dtype[Any]) -> None:
        """Take the memory and the type of a record; RingLayoutError where its size with the header is no power of 2."""
        stride = HEADER_BYTES + -(-record.itemsize // 8) * 8
        size_bytes = len(data) // 2
        if stride & (stride - 1) or size_bytes % stride:
            raise RingLayoutError(f"records of {record.itemsize} bytes do not fill a ring of {size_bytes} evenly")
        self.stride_bytes: Final = stride
        self.size_bytes: Final = size_bytes
        self._length = record.itemsize
        framed = np.dtype(
            {
                "names": ["header", "record"],
                "formats": ["<u4", record],
                "offsets": [0, HEADER_BYTES],
                "itemsize": stride,
            }
        )
        self._slots: npt.NDArray[Any] = data.view(framed)
        self._headers = data.view("<u4")[:: stride // 4]
        self._fence = threading.Lock()

    def take(self, consumed: int, produced: int, most: int | None = None) -> Batch:
        """Copy the records between the positions, up to the first that is still being written; `most` bounds them."""
        first = consumed % self.size_bytes // self.stride_bytes
        wanted = (produced - consumed) // self.stride_bytes
        if most is not None:
            wanted = min(wanted, most)
        headers = self._headers[first : first + wanted].copy()
        # What a header says is finished must not be read before the header: a lock is a barrier on every machine.
        with self._fence:
            pass
        busy = np.flatnonzero(headers & BUSY)
        if busy.size:
            wanted = int(busy[0])
            headers = headers[:wanted]
        if wanted and int((headers & _LENGTH).max()) != self._length:
            raise RingLayoutError(f"a record has {int((headers & _LENGTH).max())} bytes, not {self._length}")
        slots = self._slots[first : first + wanted]["record"]
        discarded = (headers & DISCARD) != 0
        records = slots[~discarded] if discarded.any() else slots.copy()
        return Batch(records=records, position=consumed + wanted * self.stride_bytes)


class MappedRing:
    """A ring in the kernel, mapped; one reader."""

    def __init__(self, fd: int, size_bytes: int, record: np.dtype[Any]) -> None:
        """Map the map of this descriptor; OSError where the kernel refuses."""
        page = mmap.PAGESIZE
        self._consumer_page = mmap.mmap(fd, page)
        self._shared = mmap.mmap(fd, page + 2 * size_bytes, prot=mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_page, "<u8", 1)
        self._producer = np.frombuffer(self._shared, "<u8", 1)
        self._ring = RecordRing(np.frombuffer(self._shared, np.uint8, 2 * size_bytes, page), record)
        self._position = int(self._consumer[0])
        self.record: Final = record

    @property
    def capacity(self) -> int:
        """How many records it holds."""
        return self._ring.size_bytes // self._ring.stride_bytes

    def waiting(self) -> int:
        """How many records wait to be taken."""
        return (int(self._producer[0]) - self._position) // self._ring.stride_bytes

    def take(self, most: int | None = None) -> npt.NDArray[Any]:
        """Take what is finished, at most `most` records, and free its room."""
        batch = self._ring.take(self._position, int(self._producer[0]), most)
        self._position = batch.position
        self._consumer[0] = batch.position
        return batch.records

    def skip(self) -> int:
        """Throw away what is finished; gives how many records."""
        return len(self.take())
