"""Reads the table of symbols that a kernel carries (kallsyms) out of its vmlinux, without booting it.

The table has no header. It is found by what it must contain, and is believed only where all its parts agree. Their
order has changed between releases; the parts are (scripts/kallsyms.c in the kernel's tree):

- token table: 256 strings, and token index: where each begins, 2 bytes each.
- names: for each symbol its length in tokens (1 byte; 2 where the first one is above 127), then its tokens.
- number of symbols, in front of the names.
- markers: where each 256th name begins, 4 bytes each.
- offsets, 4 bytes each, and the address that they are relative to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from perfcheck.errors import LabError

_DIGITS: Final = b"".join(b"%d\0" % digit for digit in range(10))
"""Tokens 48 to 57 of each table: all digits are in use in some name, so that each is a token of its own."""
_TOKENS: Final = 256
_ALIGNMENT: Final = 8
_A_MARKER: Final = 256
_FEWEST: Final = 1_000
_MOST: Final = 4_000_000
_LOWEST_BASE: Final = 0xFFFFFFFF80000000
_END: Final = 1 << 64


def kallsyms_of(vmlinux: bytes) -> str:
    """Return what /proc/kallsyms lists of the kernel itself, at the addresses that it is linked for (nokaslr).

    LabError where the kernel has no table of symbols, or one that is not understood.
    """
    for at in _occurrences(vmlinux, _DIGITS):
        tokens = _token_table(vmlinux, at)
        if tokens is None:
            continue
        for names in _name_tables(vmlinux, tokens):
            addresses = _addresses(vmlinux, tokens, names)
            if addresses is not None:
                return _listed(addresses, names.expanded(vmlinux, tokens))
    raise LabError(
        "the kernel's table of symbols cannot be read: it was built without CONFIG_KALLSYMS, or has another format"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _TokenTable:
    start: int
    end: int
    """Behind the index."""
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _NameTable:
    count_at: int
    starts: Sequence[int]
    """Where each name's tokens begin, behind its length."""
    ends: Sequence[int]

    def expanded(self, vmlinux: bytes, table: _TokenTable) -> Iterator[bytes]:
        """Return each symbol's type, in one character, and its name behind it."""
        tokens = table.tokens
        for start, end in zip(self.starts, self.ends, strict=True):
            yield b"".join([tokens[token] for token in vmlinux[start:end]])


def _occurrences(content: bytes, wanted: bytes) -> Iterator[int]:
    at = content.find(wanted)
    while at >= 0:
        yield at
        at = content.find(wanted, at + 1)


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT


def _token_table(vmlinux: bytes, digits_at: int) -> _TokenTable | None:
    """Return the table that has the digits here; None where the index behind it does not agree."""
    start = digits_at
    for _ in range(ord("0")):
        start = vmlinux.rfind(b"\0", 0, start - 1) + 1
        if start <= 0:
            return None
    tokens = []
    end = start
    for _ in range(_TOKENS):
        stop = vmlinux.find(b"\0", end)
        if stop < 0:
            return None
        tokens.append(vmlinux[end:stop])
        end = stop + 1
    index, offset = [], 0
    for token in tokens:
        index.append(offset)
        offset += len(token) + 1
    if offset > 0xFFFF:
        return None
    packed = struct.pack(f"<{_TOKENS}H", *index)
    index_at = _aligned(end)
    if vmlinux[index_at : index_at + len(packed)] != packed:
        return None
    return _TokenTable(start=start, end=index_at + len(packed), tokens=tuple(tokens))


def _name_tables(vmlinux: bytes, tokens: _TokenTable) -> Iterator[_NameTable]:
    """Return the tables of names in front of the tokens whose markers agree; there should be one."""
    # Only what lies in front can be one, and it cannot be larger than so.
    first = max(0, tokens.start - _MOST * 16) // _ALIGNMENT * _ALIGNMENT
    last = tokens.start // _ALIGNMENT * _ALIGNMENT
    words = memoryview(vmlinux)[first:last].cast("Q")
    for word, count in enumerate(words):
        if _FEWEST <= count <= _MOST:
            table = _names_from(vmlinux, first + word * _ALIGNMENT, count, tokens.start)
            if table is not None:
                yield table


def _names_from(vmlinux: bytes, count_at: int, count: int, limit: int) -> _NameTable | None:
    first = at = count_at + _ALIGNMENT
    starts, ends, markers = [], [], []
    for number in range(count):
        if number % _A_MARKER == 0:
            markers.append(at - first)
        length = vmlinux[at]
        at += 1
        if length > 127:
            length = length & 127 | vmlinux[at] << 7
            at += 1
        if length == 0 or at + length > limit:
            return None
        starts.append(at)
        at += length
        ends.append(at)
    packed = struct.pack(f"<{len(markers)}I", *markers)
    markers_at = _aligned(at)
    if vmlinux[markers_at : markers_at + len(packed)] != packed:
        return None
    return _NameTable(count_at=count_at, starts=starts, ends=ends)


def _addresses(vmlinux: bytes, tokens: _TokenTable, names: _NameTable) -> list[int] | None:
    """Return the symbols' addresses. The offsets lie in front of the names, and from Linux 6.4 on behind the tokens."""
    count = len(names.starts)
    size = 4 * count
    behind = _aligned(tokens.end)
    base_in_front = names.count_at - _ALIGNMENT
    for offsets_at, base_at in (
        (behind, _aligned(behind + size)),
        (base_in_front - _aligned(size), base_in_front),
    ):
        if offsets_at < 0 or base_at + 8 > len(vmlinux):
            continue
        (base,) = struct.unpack_from("<Q", vmlinux, base_at)
        if base < _LOWEST_BASE:
            continue
        offsets = struct.unpack_from(f"<{count}i", vmlinux, offsets_at)
        for addresses in (_with_absolute(base, offsets), [base + (offset & 0xFFFFFFFF) for offset in offsets]):
            if _believable(addresses):
                return addresses
    return None


def _with_absolute(base: int, offsets: Sequence[int]) -> list[int]:
    """Return addresses where an offset of 0 or above is an address itself (up to Linux 6.14: per-CPU variables)."""
    return [offset if offset >= 0 else base - 1 - offset for offset in offsets]


def _believable(addresses: Sequence[int]) -> bool:
    """Whether the symbols are in the order of their addresses, as they must be, and most are the kernel's."""
    in_kernel = sum(_LOWEST_BASE <= address < _END for address in addresses)
    ordered = all(before <= after for before, after in pairwise(addresses))
    return ordered and in_kernel * 2 > len(addresses)


def _listed(addresses: Sequence[int], names: Iterator[bytes]) -> str:
    return "".join(
        f"{address:016x} {name[:1].decode('ascii', 'replace')} {name[1:].decode('ascii', 'replace')}\n"
        for address, name in zip(addresses, names, strict=True)
    )
