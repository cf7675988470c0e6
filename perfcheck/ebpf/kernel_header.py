"""Writes the part of the kernel's types that a BPF program names as C, from BTF.

A struct keeps only the members that the program's text mentions, each at its true offset, so the
header has a few hundred lines instead of the 130,000 of a whole vmlinux.h and compiles at once.
`HAS_<struct>__<member>` is defined for each member kept: the feature test of the program. `ARGUMENTS_<tracepoint>` is
the number of arguments of a tracepoint, where the text names that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from perfcheck.ebpf.btf import Btf, Kind, Member

_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_INCLUDE: Final = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_NAMED_STRUCT: Final = re.compile(r"\b(?:struct|union)\s+(\w+)")
_OWN_STRUCT: Final = re.compile(r"\b(?:struct|union)\s+(\w+)\s*\{")
_ARGUMENTS: Final = "ARGUMENTS_"
_TRACEPOINT: Final = "btf_trace_"  # the typedef's name, after it the tracepoint's (include/trace/bpf_probe.h)
_TRUTH: Final = frozenset({"true", "false"})
_INTS: Final = {1: "8", 2: "16", 4: "32", 8: "64"}
_RECORDS: Final = frozenset({Kind.STRUCT, Kind.UNION})


def sources(*paths: Path) -> tuple[Path, ...]:
    """Return C files and the files beside them that they include, directly or not; generated ones are not there yet."""
    found = [*paths]
    for one in found:
        named = (one.parent / name for name in _INCLUDE.findall(one.read_text(encoding="utf-8")))
        found += [other for other in dict.fromkeys(named) if other not in found and other.is_file()]
    return tuple(found)


class _Writer:
    def __init__(self, btf: Btf, words: frozenset[str]) -> None:
        self._btf = btf
        self._words = words
        self._names: dict[int, str] = {}
        self._pending: list[int] = []
        self.forward: list[str] = []
        self.lines: list[str] = []

    def record(self, type_id: int) -> str:
        """Define a struct or union, those that it contains by value first; give its C name."""
        if type_id in self._names:
            return self._names[type_id]
        name = self._name(type_id)
        keyword = "struct" if self._btf.kind(type_id) is Kind.STRUCT else "union"
        self._names[type_id] = f"{keyword} {name}"
        kept = self._kept(type_id)
        body = [self._member(member, index) for index, member in enumerate(kept)]
        size = self._btf.size_bytes(type_id)
        lines = [f"{keyword} {name} {{", "\tunion {", *(f"\t\t{line}" for line in body if line)]
        self.lines += [*lines, f"\t\tchar pad_whole[{size}];", "\t};", "};"]
        self.lines += [f"#define HAS_{name}__{member.name} 1" for member in kept]
        checks = [(m.name, m.bit_offset // 8) for m, line in zip(kept, body, strict=True) if line and not m.bits]
        self.lines += [
            f'_Static_assert(__builtin_offsetof({keyword} {name}, {member}) == {offset}, "{name}.{member}");'
            for member, offset in checks
        ]
        return self._names[type_id]

    def finish(self) -> None:
        """Define what the kept pointers lead to."""
        while self._pending:
            self.record(self._pending.pop())

    def _name(self, type_id: int) -> str:
        return self._btf.name(type_id) or f"anonymous_{type_id}"

    def _kept(self, type_id: int) -> list[Member]:
        return [member for member in self._btf.members(type_id) if member.name in self._words]

    def _member(self, member: Member, index: int) -> str:
        btf, plain = self._btf, self._btf.plain(member.type_id)
        if member.bits:
            unit = btf.size_bytes(plain)
            start = member.bit_offset // (8 * unit) * unit
            shift = member.bit_offset - 8 * start
            pad = f"char pad_{index}[{start}]; " if start else ""
            skip = f"{self._scalar(plain)} : {shift}; " if shift else ""
            return f"struct {{ {pad}{skip}{self._scalar(plain)} {member.name} : {member.bits}; }};"
        declaration = self._declare(plain, member.name)
        offset = member.bit_offset // 8
        pad = f"char pad_{index}[{offset}]; " if offset else ""
        return f"struct {{ {pad}{declaration}; }};" if declaration else ""

    def _declare(self, plain: int, name: str) -> str:
        """Declare a member of the given type, or give "" where nothing of it is of use."""
        btf, kind = self._btf, self._btf.kind(plain)
        if kind is Kind.ARRAY:
            element, length = btf.array(plain)
            return self._declare(btf.plain(element), f"{name}[{length}]")
        if kind is Kind.PTR:
            return f"{self._pointee(btf.plain(btf.target(plain)))} *{name}"
        if kind in _RECORDS:
            return f"{self.record(plain)} {name}"
        if kind in {Kind.INT, Kind.ENUM, Kind.ENUM64}:
            return f"{self._scalar(plain)} {name}"
        return ""

    def _scalar(self, plain: int) -> str:
        size = self._btf.size_bytes(plain)
        sign = "s" if self._btf.signed(plain) else "u"
        return f"__{sign}{_INTS[size]}" if size in _INTS else "unsigned __int128"

    def _pointee(self, plain: int) -> str:
        if self._btf.kind(plain) not in _RECORDS or not self._btf.name(plain):
            return "void"
        keyword = "struct" if self._btf.kind(plain) is Kind.STRUCT else "union"
        name = f"{keyword} {self._btf.name(plain)}"
        self.forward.append(f"{name};")
        if plain not in self._names and self._kept(plain):
            self._pending.append(plain)
        return name


def header(btf: Btf, texts: Iterable[str]) -> str:
    """Return C for the kernel's structs, members and enumerators that `texts` (C sources) name."""
    text = _COMMENT.sub(" ", "\n".join(texts))
    words = frozenset(_WORD.findall(text))
    roots = set(_NAMED_STRUCT.findall(text)) - set(_OWN_STRUCT.findall(text))
    writer = _Writer(btf, words)
    for _, type_id in sorted(btf.find(_RECORDS, roots).items()):
        writer.record(type_id)
    writer.finish()
    # BPF_* come with BCC's own copy of the UAPI header, the two truth values with the prelude.
    values = btf.enumerators(word for word in words - _TRUTH if not word.startswith("BPF_"))
    enums = [f"enum {{ {name} = {value} }};" for name, value in sorted(values.items())]
    enums += sorted(_arguments(btf, words))
    return "\n".join(["#pragma once", *enums, *sorted(set(writer.forward)), *writer.lines, ""])


def _arguments(btf: Btf, words: Iterable[str]) -> Iterator[str]:
    named = [word.removeprefix(_ARGUMENTS) for word in words if word.startswith(_ARGUMENTS)]
    found = btf.find({Kind.TYPEDEF}, (_TRACEPOINT + name for name in named))
    for name in named:
        type_id = found.get(_TRACEPOINT + name)
        # A tracepoint's first argument is the kernel's own, which programs do not see.
        count = btf.arguments(type_id) - 1 if type_id else 0
        yield f"#define {_ARGUMENTS}{name} {max(count, 0)}"
