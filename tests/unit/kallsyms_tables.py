"""Builds the table of symbols that kernels carry, as scripts/kallsyms.c of several releases lays it out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BASE: Final = 0xFFFFFFFF81000000
LOADED_AT: Final = 0xFFFFFFFF82000000
"""The address of the file's first byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What differs between releases."""

    offsets_first: bool
    """In front of the names (up to Linux 6.3), else behind the tokens."""
    sequences_between: bool
    """A table that names are sorted by lies between markers and tokens (6.2 and 6.3)."""
    absolute: bool
    """Offsets of 0 and above are addresses (up to 6.14)."""
    from_themselves: bool = False
    """An offset counts from where it lies itself, and there is no other address (7.3)."""
    alignment: int = 8


LAYOUTS: Final = {
    "6.1": Layout(offsets_first=True, sequences_between=False, absolute=True),
    "6.2": Layout(offsets_first=True, sequences_between=True, absolute=True),
    "6.4": Layout(offsets_first=False, sequences_between=False, absolute=True),
    "6.15": Layout(offsets_first=False, sequences_between=False, absolute=False),
    "7.3": Layout(offsets_first=False, sequences_between=False, absolute=False, from_themselves=True, alignment=4),
}

Listed = tuple[int, str, str]
"""Address, type, name."""


def vmlinux(symbols: Sequence[Listed], layout: Layout, *, in_front: bytes = b"") -> bytes:
    """Return a file with the table of these symbols among others. Each character is a token, and some pairs are."""
    tokens = _tokens(symbols)
    names, markers = _names(symbols, tokens)
    written = _Written(layout.alignment, _elf_header())
    written.add(in_front)
    if layout.offsets_first:
        _add_offsets(written, symbols, layout)
    written.add(struct.pack("<I", len(symbols)))
    written.add(names)
    written.add(struct.pack(f"<{len(markers)}I", *markers))
    if layout.sequences_between:
        written.add(bytes(3 * len(symbols)))
    written.add(b"".join(token.encode() + b"\0" for token in tokens))
    written.add(struct.pack("<256H", *_starts(tokens)))
    if not layout.offsets_first:
        _add_offsets(written, symbols, layout)
    written.add(b"\xcc" * 64)
    return bytes(written.content)


class _Written:
    """A file whose parts begin at multiples of an alignment."""

    def __init__(self, alignment: int, content: bytes) -> None:
        self._alignment = alignment
        self.content = bytearray(content)

    def add(self, part: bytes) -> int:
        """Add a part, and return where it begins."""
        self.content += bytes(-len(self.content) % self._alignment)
        self.content += part
        return len(self.content) - len(part)


def _elf_header() -> bytes:
    """Return a header that has the whole file loaded as one segment."""
    header = b"\x7fELF\x02\x01".ljust(0x20, b"\0") + struct.pack("<Q", 0x40)
    header = header.ljust(0x36, b"\0") + struct.pack("<HH", 56, 1)
    return header.ljust(0x40, b"\0") + struct.pack("<IIQQQQQQ", 1, 5, 0, LOADED_AT, 0, 1 << 30, 1 << 30, 8)


def _add_offsets(written: _Written, symbols: Sequence[Listed], layout: Layout) -> None:
    own = LOADED_AT + written.add(b"")
    if layout.from_themselves:
        offsets = [address - own - 4 * number for number, (address, _, _) in enumerate(symbols)]
        written.add(struct.pack(f"<{len(offsets)}i", *offsets))
    else:
        written.add(struct.pack(f"<{len(symbols)}I", *(_offset(address, layout) for address, _, _ in symbols)))
        written.add(struct.pack("<Q", BASE))


def _names(symbols: Sequence[Listed], tokens: Sequence[str]) -> tuple[bytes, list[int]]:
    """Return the table of names, and where each 256th one begins."""
    names, markers = bytearray(), []
    for number, (_, kind, name) in enumerate(symbols):
        if number % 256 == 0:
            markers.append(len(names))
        encoded = _encoded(kind + name, tokens)
        length = len(encoded)
        names += bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        names += encoded
    return bytes(names), markers


def _starts(tokens: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token) + 1
    return starts


def _tokens(symbols: Sequence[Listed]) -> list[str]:
    """Return 256 tokens: a character for each that is printable, and pairs of letters for what is left."""
    letters = sorted({character for _, kind, name in symbols for character in kind + name} | set("abcdefghijklmnop"))
    pairs = iter([first + second for first in letters for second in letters] + [f"~{n}" for n in range(256)])
    return [chr(code) if 33 <= code < 127 else next(pairs) for code in range(256)]


def _encoded(text: str, tokens: Sequence[str]) -> bytes:
    by_text = {token: number for number, token in enumerate(tokens)}
    encoded, at = [], 0
    while at < len(text):
        length = 2 if text[at : at + 2] in by_text and len(text) - at > 1 else 1
        encoded.append(by_text[text[at : at + length]])
        at += length
    return bytes(encoded)


def _offset(address: int, layout: Layout) -> int:
    if not layout.absolute:
        return address - BASE
    return (BASE - 1 - address) & 0xFFFFFFFF if address >= BASE else address
