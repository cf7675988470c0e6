"""Frames of the connection with an agent: a header as JSON and a payload of bytes, each after its length."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from typing import Any, Final

from perfcheck.errors import LabError

LARGEST_BYTES: Final = 256 << 20
_LENGTHS: Final = struct.Struct(">II")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message: what it says, and bytes that are not JSON."""

    header: dict[str, Any]
    payload: bytes = b""


def write_frame(fd: int, frame: Frame) -> None:
    """Write a frame whole; OSError where nobody reads any more. One writer at a time."""
    header = json.dumps(frame.header, separators=(",", ":")).encode()
    rest = memoryview(_LENGTHS.pack(len(header), len(frame.payload)) + header + frame.payload)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_frame(fd: int) -> Frame | None:
    """Read the next frame; None at the end of the stream. LabError for what is no frame."""
    lengths = read_exactly(fd, _LENGTHS.size)
    if lengths is None:
        return None
    header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    if header_bytes + payload_bytes > LARGEST_BYTES:
        raise LabError(f"a message of {header_bytes + payload_bytes} bytes came, more than {LARGEST_BYTES}")
    header, payload = read_exactly(fd, header_bytes), read_exactly(fd, payload_bytes)
    if header is None or payload is None:
        return None
    try:
        said = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise LabError(f"a message came that is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise LabError("a message came that is not a JSON object")
    return Frame(header=said, payload=payload)


def read_exactly(fd: int, count: int) -> bytes | None:
    """Read so many bytes; None where the stream ends before."""
    parts = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
