"""Builds the table of symbols that kernels carry, as scripts/kallsyms.c of several releases lays it out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BASE: Final = 0xFFFFFFFF81000000
_ALIGNMENT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What differs between releases."""

    offsets_first: bool
    """In front of the names (up to Linux 6.3), else behind the tokens."""
    sequences_between: bool
    """A table that names are sorted by lies between markers and tokens (6.2 and 6.3)."""
    absolute: bool
    """Offsets of 0 and above are addresses (up to 6.14)."""


LAYOUTS: Final = {
    "6.1": Layout(offsets_first=True, sequences_between=False, absolute=True),
    "6.2": Layout(offsets_first=True, sequences_between=True, absolute=True),
    "6.4": Layout(offsets_first=False, sequences_between=False, absolute=True),
    "6.15": Layout(offsets_first=False, sequences_between=False, absolute=False),
}

Listed = tuple[int, str, str]
"""Address, type, name."""


def vmlinux(symbols: Sequence[Listed], layout: Layout, *, in_front: bytes = b"\x7fELF" + bytes(60)) -> bytes:
    """Return bytes with the table of these symbols among others. Each character is a token, and some pairs are."""
    tokens = _tokens(symbols)
    offsets = [_offset(address, layout) for address, _, _ in symbols]
    placed = _aligned(struct.pack(f"<{len(offsets)}I", *offsets)) + struct.pack("<Q", BASE)
    names, markers = bytearray(), []
    for number, (_, kind, name) in enumerate(symbols):
        if number % 256 == 0:
            markers.append(len(names))
        encoded = _encoded(kind + name, tokens)
        length = len(encoded)
        names += bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        names += encoded
    parts = [in_front]
    if layout.offsets_first:
        parts.append(placed)
    parts += [struct.pack("<Q", len(symbols)), bytes(names), struct.pack(f"<{len(markers)}I", *markers)]
    if layout.sequences_between:
        parts.append(bytes(3 * len(symbols)))
    table = b"".join(token.encode() + b"\0" for token in tokens)
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token) + 1
    parts += [table, struct.pack("<256H", *starts)]
    if not layout.offsets_first:
        parts.append(placed)
    parts.append(b"\xcc" * 64)
    return b"".join(_aligned(part) for part in parts)


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


def _aligned(part: bytes) -> bytes:
    return part + bytes(-len(part) % _ALIGNMENT)
