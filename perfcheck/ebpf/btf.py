"""Reads BTF, the kernel's own description of its types (Documentation/bpf/btf.rst)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import Final

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_TYPE_WORDS: Final = 3
_KIND_FLAG: Final = 1 << 31


class Kind(IntEnum):
    """BTF_KIND_* of include/uapi/linux/btf.h."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


_MODIFIERS: Final = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
# 32-bit words that follow the three common ones: a fixed number, and so many for each of `vlen` members.
_FIXED_WORDS: Final = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
_MEMBER_WORDS: Final = {
    Kind.STRUCT: 3, Kind.UNION: 3, Kind.ENUM: 2, Kind.FUNC_PROTO: 2, Kind.DATASEC: 3, Kind.ENUM64: 3,
}  # fmt: skip


class BtfError(ValueError):
    """The bytes are not BTF that this reader knows."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a struct or union; `bits` is 0 unless it is a bit field."""

    name: str
    type_id: int
    bit_offset: int
    bits: int


class Btf:
    """Types by id, decoded on demand: a kernel has over 100,000, a program needs a few dozen."""

    def __init__(self, blob: bytes) -> None:
        """Index every type's place; raise BtfError for anything but little-endian BTF version 1."""
        if len(blob) < _HEADER.size:
            raise BtfError("shorter than a BTF header")
        magic, version, _flags, header_bytes, type_off, type_len, str_off, str_len = _HEADER.unpack_from(blob)
        if (magic, version) != (_MAGIC, 1):
            raise BtfError(f"not little-endian BTF version 1: magic {magic:#x}, version {version}")
        start = header_bytes + type_off
        self._words = array("I", blob[start : start + type_len])
        self._strings = blob[header_bytes + str_off : header_bytes + str_off + str_len]
        strings = self._strings.split(b"\0")
        self._name_places = dict(zip(strings, accumulate((len(one) + 1 for one in strings), initial=0), strict=False))
        self._places = self._index()

    def _index(self) -> array[int]:
        words, places, at = self._words, array("I", [0]), 0
        enums = self._enums = array("I")
        fixed = [_FIXED_WORDS.get(Kind(kind), 0) + _TYPE_WORDS if kind in _KINDS else 0 for kind in range(32)]
        per_member = [_MEMBER_WORDS.get(Kind(kind), 0) if kind in _KINDS else 0 for kind in range(32)]
        end = len(words)
        while at < end:
            info = words[at + 1]
            kind = info >> 24 & 0x1F
            if not fixed[kind]:
                raise BtfError(f"type {len(places)} is of unknown kind {kind}")
            places.append(at)
            if kind in _ENUM_KINDS:
                enums.append(at)
            at += fixed[kind] + per_member[kind] * (info & 0xFFFF)
        return places

    def __len__(self) -> int:
        """How many types there are, `void` (id 0) included."""
        return len(self._places)

    def kind(self, type_id: int) -> Kind:
        """Kind of a type; id 0 is VOID."""
        return Kind(self._words[self._places[type_id] + 1] >> 24 & 0x1F) if type_id else Kind.VOID

    def name(self, type_id: int) -> str:
        """Name of a type, empty where it has none."""
        return self._string(self._words[self._places[type_id]]) if type_id else "void"

    def _string(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def size_bytes(self, type_id: int) -> int:
        """Size of an INT, ENUM, STRUCT or UNION."""
        return self._words[self._places[type_id] + 2]

    def target(self, type_id: int) -> int:
        """What a pointer, typedef or modifier refers to."""
        return self._words[self._places[type_id] + 2]

    def plain(self, type_id: int) -> int:
        """Strip typedefs and modifiers."""
        while self.kind(type_id) in _MODIFIERS:
            type_id = self.target(type_id)
        return type_id

    def signed(self, type_id: int) -> bool:
        """Whether an INT or ENUM is signed."""
        place = self._places[type_id]
        if self.kind(type_id) is Kind.INT:
            return bool(self._words[place + _TYPE_WORDS] >> 24 & 1)
        return bool(self._words[place + 1] & _KIND_FLAG)

    def array(self, type_id: int) -> tuple[int, int]:
        """Element type and length of an ARRAY."""
        place = self._places[type_id] + _TYPE_WORDS
        return self._words[place], self._words[place + 2]

    def arguments(self, type_id: int) -> int:
        """Return the number of arguments of a FUNC_PROTO, or of what a typedef or pointer leads to one."""
        while self.kind(type_id) in _LEADING:
            type_id = self.target(type_id)
        return self._words[self._places[type_id] + 1] & 0xFFFF if self.kind(type_id) is Kind.FUNC_PROTO else 0

    def members(self, type_id: int) -> Iterator[Member]:
        """Members of a struct or union; those of anonymous ones inside it are lifted into it."""
        yield from self._members(type_id, 0)

    def _members(self, type_id: int, base_bits: int) -> Iterator[Member]:
        words, place = self._words, self._places[type_id]
        info = words[place + 1]
        for index in range(info & 0xFFFF):
            at = place + _TYPE_WORDS + 3 * index
            offset, bits = words[at + 2], 0
            if info & _KIND_FLAG:
                offset, bits = offset & 0xFFFFFF, offset >> 24
            plain = self.plain(words[at + 1])
            if not words[at] and self.kind(plain) in {Kind.STRUCT, Kind.UNION}:
                yield from self._members(plain, base_bits + offset)
            elif words[at]:
                yield Member(self._string(words[at]), words[at + 1], base_bits + offset, bits)

    def _wanted(self, names: Iterable[str]) -> dict[int, str]:
        """Return the names by their places in the string section, each of which holds a name once."""
        found = {}
        for name in names:
            at = self._name_places.get(name.encode())
            if at is not None:
                found[at] = name
        return found

    def find(self, kinds: Iterable[Kind], names: Iterable[str]) -> dict[str, int]:
        """Ids of the first type of each name that is of one of `kinds`; names that are missing are left out."""
        words, wanted, codes = self._words, self._wanted(names), {int(kind) for kind in kinds}
        found: dict[str, int] = {}
        for type_id, place in enumerate(self._places):
            if type_id and words[place] in wanted and (words[place + 1] >> 24 & 0x1F) in codes:
                found.setdefault(wanted[words[place]], type_id)
        return found

    def enumerators(self, names: Iterable[str]) -> dict[str, int]:
        """Values of the enumerators (of any enum) with these names."""
        words, wanted = self._words, self._wanted(names)
        found: dict[str, int] = {}
        for place in self._enums:
            info = words[place + 1]
            step = _MEMBER_WORDS[Kind(info >> 24 & 0x1F)]
            first = place + _TYPE_WORDS
            for at in range(first, first + step * (info & 0xFFFF), step):
                if words[at] in wanted:
                    found.setdefault(wanted[words[at]], _enum_value(words, at, info))
        return found


_LEADING: Final = _MODIFIERS | {Kind.PTR}
_KINDS: Final = frozenset(int(kind) for kind in Kind)
_ENUM_KINDS: Final = frozenset({int(Kind.ENUM), int(Kind.ENUM64)})


def _enum_value(words: array[int], at: int, info: int) -> int:
    bits = 64 if info >> 24 & 0x1F == Kind.ENUM64 else 32
    value = words[at + 1] | (words[at + 2] << 32 if bits == 64 else 0)
    return value - (1 << bits) if info & _KIND_FLAG and value >> (bits - 1) else value
