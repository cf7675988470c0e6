"""Reads the table of symbols that a kernel carries (kallsyms) out of its vmlinux, without booting it.

The table has no header. It is found by what it must contain, and is believed only where all its parts agree. Their
order and alignment have changed between releases; the parts are (scripts/kallsyms.c in the kernel's tree):

- token table: 256 strings, and token index: where each begins, 2 bytes each.
- names: for each symbol its length in tokens (1 byte; 2 where the first one is above 127), then its tokens.
- number of symbols, in front of the names.
- markers: where each 256th name begins, 4 bytes each.
- offsets, 4 bytes each: from an address beside them, or in newer releases each from where it lies itself.
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
_ALIGNMENTS: Final = (8, 4)
_A_MARKER: Final = 256
_FEWEST: Final = 1_000
_MOST: Final = 4_000_000
_LOWEST_BASE: Final = 0xFFFFFFFF80000000
_END: Final = 1 << 64
_ELF: Final = b"\x7fELF\x02\x01"
_SEGMENTS_AT: Final = 0x20
_SEGMENT_COUNTS_AT: Final = 0x36
_SEGMENT: Final = struct.Struct("<IIQQQQ")
_LOADED: Final = 1


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


def _places_behind(at: int) -> tuple[int, ...]:
    """Return where the part behind `at` can begin."""
    return tuple(dict.fromkeys(-(-at // alignment) * alignment for alignment in _ALIGNMENTS))


def _follows(vmlinux: bytes, at: int, wanted: bytes) -> int | None:
    """Return where what must lie behind `at` ends; None where it is not there."""
    for place in _places_behind(at):
        if vmlinux[place : place + len(wanted)] == wanted:
            return place + len(wanted)
    return None


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
    index_end = _follows(vmlinux, end, struct.pack(f"<{_TOKENS}H", *index))
    return None if index_end is None else _TokenTable(start=start, end=index_end, tokens=tuple(tokens))


def _name_tables(vmlinux: bytes, tokens: _TokenTable) -> Iterator[_NameTable]:
    """Return the tables of names in front of the tokens whose markers agree, the nearest first; there should be one."""
    import numpy

    # Only what lies in front can be one, and it cannot be larger than so.
    first = max(0, tokens.start - _MOST * 16) // 4 * 4
    words = numpy.frombuffer(vmlinux, dtype="<u4", count=(tokens.start - first) // 4, offset=first)
    for fewest, most in (_count_by_markers(words[-_MOST // _A_MARKER :].tolist()), (_FEWEST, _MOST)):
        for word in numpy.flatnonzero((words >= fewest) & (words <= most))[::-1].tolist():
            count_at = first + 4 * word
            for names_at in _places_behind(count_at + 4):
                table = _names_from(vmlinux, count_at, names_at, int(words[word]), tokens.start)
                if table is not None:
                    yield table


def _count_by_markers(words: Sequence[int]) -> tuple[int, int]:
    """Return the range of the number of symbols, if it is markers that end here: they rise, from 0.

    In Linux 6.2 and 6.3 another table lies behind them, and the range is wrong.
    """
    end = len(words)
    # What fills the last one up to the alignment.
    if end and words[-1] == 0:
        end -= 1
    start = end - 1
    while start > 0 and words[start - 1] < words[start]:
        start -= 1
    markers = end - start
    return max(_FEWEST, (markers - 1) * _A_MARKER + 1), min(_MOST, markers * _A_MARKER)


def _names_from(vmlinux: bytes, count_at: int, names_at: int, count: int, limit: int) -> _NameTable | None:
    at = names_at
    starts, ends, markers = [], [], []
    for number in range(count):
        if at + 2 > limit:
            return None
        if number % _A_MARKER == 0:
            markers.append(at - names_at)
        length = vmlinux[at]
        at += 1
        if length > 127:
            length = length & 127 | vmlinux[at] << 7
            at += 1
        if length == 0:
            return None
        starts.append(at)
        at += length
        ends.append(at)
    if _follows(vmlinux, at, struct.pack(f"<{len(markers)}I", *markers)) is None:
        return None
    return _NameTable(count_at=count_at, starts=starts, ends=ends)


def _addresses(vmlinux: bytes, tokens: _TokenTable, names: _NameTable) -> list[int] | None:
    """Return the symbols' addresses. The offsets lie in front of the names, and from Linux 6.4 on behind the tokens."""
    count = len(names.starts)
    in_front = names.count_at - 8
    places = [(offsets_at, base_at) for offsets_at in _places_behind(tokens.end)
              for base_at in _places_behind(offsets_at + 4 * count)]  # fmt: skip
    places += [(in_front - size, in_front) for size in _places_behind(4 * count)]
    for offsets_at, base_at in places:
        if offsets_at < 0 or offsets_at + 4 * count > len(vmlinux):
            continue
        offsets = struct.unpack_from(f"<{count}i", vmlinux, offsets_at)
        for addresses in _readings(vmlinux, offsets, offsets_at, base_at):
            if _believable(addresses):
                return addresses
    return None


def _readings(vmlinux: bytes, offsets: Sequence[int], offsets_at: int, base_at: int) -> Iterator[list[int]]:
    """Return what the offsets can mean."""
    base = int.from_bytes(vmlinux[base_at : base_at + 8], "little")
    if base >= _LOWEST_BASE:
        yield _with_absolute(base, offsets)
        yield [base + (offset & 0xFFFFFFFF) for offset in offsets]
    own = _address_at(vmlinux, offsets_at)
    if own is not None:
        yield [own + 4 * number + offset for number, offset in enumerate(offsets)]


def _address_at(vmlinux: bytes, place: int) -> int | None:
    """Return the address that the byte at this place of the file is loaded to; None where it is not."""
    if not vmlinux.startswith(_ELF):
        return None
    try:
        (headers_at,) = struct.unpack_from("<Q", vmlinux, _SEGMENTS_AT)
        size, count = struct.unpack_from("<HH", vmlinux, _SEGMENT_COUNTS_AT)
        segments = [_SEGMENT.unpack_from(vmlinux, headers_at + number * size) for number in range(count)]
    except struct.error:
        return None
    for kind, _, offset, address, _, in_file in segments:
        if kind == _LOADED and offset <= place < offset + in_file:
            return int(address + place - offset)
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
