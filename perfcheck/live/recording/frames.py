"""Frames: a recording is one after the other, each with its lengths and a checksum.

A frame is a header of 24 bytes (`FRAME`), a compressed JSON text, and compressed bytes of columns. The checksum covers
all of it, so that a torn or damaged frame is never taken for a whole one. What is read is bounded before it is read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

MAGIC: Final = b"PCf1"
FRAME: Final = struct.Struct("<4sIIIII")
"""Magic, stored and real length of the JSON text, stored and real length of the columns, CRC-32 of the rest."""
_CHECKED: Final = struct.Struct("<4sIIII")

MAX_TEXT_BYTES: Final = 16 << 20
MAX_DATA_BYTES: Final = 160 << 20
"""Columns of about 200,000 connections, uncompressed."""
_STORED_SLACK: Final = 1 << 16
"""What does not compress becomes larger by a few bytes a block."""


class DamagedFrame(Exception):  # noqa: N818 - does not leave this room
    """Bytes that are no whole frame: `place` is the first, `reason` what is wrong."""

    def __init__(self, place: int, reason: str) -> None:
        """Keep both."""
        super().__init__(reason)
        self.place = place
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The content of one frame, and the bytes of the file that it has (`place` to `end`)."""

    text: bytes
    data: bytes
    place: int
    end: int


def pack_frame(text: bytes, data: bytes = b"") -> bytes:
    """Return a frame; ValueError where the content is larger than a reader takes."""
    if len(text) > MAX_TEXT_BYTES or len(data) > MAX_DATA_BYTES:
        raise ValueError(f"{len(text)} and {len(data)} bytes are too many for one frame")
    # Columns have runs of equal bytes and little else: run lengths alone take less than half of the time.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    packed = packer.compress(data) + packer.flush() if data else b""
    packed_text = zlib.compress(text, 1)
    checked = _CHECKED.pack(MAGIC, len(packed_text), len(text), len(packed), len(data))
    crc = zlib.crc32(packed, zlib.crc32(packed_text, zlib.crc32(checked)))
    return b"".join((checked, struct.pack("<I", crc), packed_text, packed))


def read_frames(stream: BinaryIO) -> Iterator[Frame]:
    """Yield the frames of a file from its begin; a torn end is passed over, DamagedFrame says what else is wrong.

    A writer that was killed leaves a part of a frame, and a machine that lost power may leave zeros.
    """
    place = 0
    while True:
        head = stream.read(FRAME.size)
        if len(head) < FRAME.size or not any(head):
            return
        frame = _frame(stream, head, place)
        if frame is None:
            return
        yield frame
        place = frame.end


def _frame(stream: BinaryIO, head: bytes, place: int) -> Frame | None:
    """Return the frame behind a header, or None where the file ends in it."""
    magic, text_stored, text_size, data_stored, data_size, crc = FRAME.unpack(head)
    if magic != MAGIC:
        raise DamagedFrame(place, "not a recording of perfctl" if place == 0 else "damaged: no frame begins here")
    for stored, size, limit in ((text_stored, text_size, MAX_TEXT_BYTES), (data_stored, data_size, MAX_DATA_BYTES)):
        if size > limit or stored > size + _STORED_SLACK:
            raise DamagedFrame(place, f"damaged: a frame of {max(size, stored)} bytes, expected at most {limit}")
    packed = stream.read(text_stored + data_stored)
    if len(packed) < text_stored + data_stored:
        return None
    if zlib.crc32(packed, zlib.crc32(head[: _CHECKED.size])) != crc:
        raise DamagedFrame(place, "damaged: the checksum is wrong")
    view = memoryview(packed)
    return Frame(
        text=_unpacked(view[:text_stored], text_size, place), data=_unpacked(view[text_stored:], data_size, place),
        place=place, end=place + FRAME.size + len(packed),
    )  # fmt: skip


def _unpacked(packed: memoryview, size: int, place: int) -> bytes:
    """Return what was compressed; never more than was announced."""
    if not packed and size == 0:
        return b""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, size + 1)
    except zlib.error:
        raise DamagedFrame(place, "damaged: what is compressed cannot be read") from None
    if len(content) != size or not unpacker.eof:
        raise DamagedFrame(place, f"damaged: the content is not the {size} bytes that it says")
    return content
