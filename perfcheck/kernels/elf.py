"""Finds a section of a 64-bit little-endian ELF file, such as the kernel's types in vmlinux."""

from __future__ import annotations

import struct
from typing import Final

_IDENT: Final = b"\x7fELF\x02\x01"
_SECTIONS_AT: Final = 0x28
_COUNTS_AT: Final = 0x3A
_HEADER: Final = struct.Struct("<IIQQQQ")
_MOST_SECTIONS: Final = 10_000


def section(elf: bytes, name: str) -> bytes | None:
    """Return the content of the first section of this name, or None; ValueError where it is not such a file."""
    if not elf.startswith(_IDENT):
        raise ValueError("not a 64-bit ELF file")
    try:
        (headers_at,) = struct.unpack_from("<Q", elf, _SECTIONS_AT)
        size, count, names = struct.unpack_from("<HHH", elf, _COUNTS_AT)
        if count == 0:
            return None
        if size < _HEADER.size or count > _MOST_SECTIONS or names >= count:
            raise ValueError("a damaged ELF file: wrong table of sections")
        sections = [_HEADER.unpack_from(elf, headers_at + index * size) for index in range(count)]
    except (struct.error, OverflowError):
        raise ValueError("a damaged ELF file: its table of sections is cut off") from None
    table = _content(elf, sections[names])
    wanted = name.encode() + b"\0"
    for header in sections:
        if table[header[0] : header[0] + len(wanted)] == wanted:
            return _content(elf, header)
    return None


def _content(elf: bytes, header: tuple[int, ...]) -> bytes:
    _, _, _, _, offset, size = header
    if offset + size > len(elf):
        raise ValueError("a damaged ELF file: a section is cut off")
    return elf[offset : offset + size]
