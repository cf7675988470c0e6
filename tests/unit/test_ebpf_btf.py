"""BTF is read as its specification says: against blobs laid out here by hand, word by word."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.ebpf import kernel_header
from perfcheck.ebpf.btf import Btf, BtfError, Kind

KIND_FLAG = 1 << 31


class Writer:
    """Lays types out in the order given; the first has id 1."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.names = {"": 0}
        self.types = b""
        self.count = 0

    def name(self, text: str) -> int:
        if text not in self.names:
            self.names[text] = len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.names[text]

    def type(self, name: str, kind: Kind, last: int, *words: int, vlen: int = 0, flag: int = 0) -> int:
        self.types += struct.pack("<III", self.name(name), kind << 24 | vlen | flag, last & 0xFFFFFFFF)
        self.types += struct.pack(f"<{len(words)}I", *(word & 0xFFFFFFFF for word in words))
        self.count += 1
        return self.count

    def record(self, name: str, size: int, members: Sequence[tuple[str, int, int]], *, flag: int = 0) -> int:
        words = [word for member, kind, offset in members for word in (self.name(member), kind, offset)]
        return self.type(name, Kind.STRUCT, size, *words, vlen=len(members), flag=flag)

    def blob(self) -> bytes:
        sizes = (0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + self.types + self.strings


@pytest.fixture
def kernel() -> Btf:
    """A kernel with `struct sock { u16 family; net *net; }` inside `struct tcp_sock`, bit fields and enumerators."""
    out = Writer()
    u16 = out.type("unsigned short", Kind.INT, 2, 16)  # 1
    u32 = out.type("unsigned int", Kind.INT, 4, 32)  # 2
    net = out.record("net", 16, [("inum", 2, 64)])  # 3
    pointer = out.type("", Kind.PTR, net)  # 4
    alias = out.type("u32", Kind.TYPEDEF, u32)  # 5
    anonymous = out.record("", 8, [("snd_cwnd", alias, 0), ("lost", alias, 32)])  # 6
    sock = out.record("sock", 16, [("family", u16, 16), ("skc_net", pointer, 64)])  # 7
    chrono = out.type("", Kind.ARRAY, 0, u32, u32, 3)  # 8
    bits = [("ca_state", u16, 5 << 24 | 256), ("setsockopt", u16, 1 << 24 | 262), ("chrono_stat", chrono, 288)]
    out.record("tcp_sock", 64, [("sk", sock, 0), ("", anonymous, 128), *bits], flag=KIND_FLAG)  # 9
    out.type("tcp_ca_state", Kind.ENUM, 4, out.name("TCP_CA_Open"), 0, out.name("TCP_CA_Loss"), 4, vlen=2)  # 10
    out.type("", Kind.ENUM, 4, out.name("NEGATIVE"), -3, vlen=1, flag=KIND_FLAG)  # 11
    out.type("", Kind.ENUM64, 8, out.name("WIDE"), 1, 2, vlen=1)  # 12
    out.type("btf_trace_tcp_probe", Kind.TYPEDEF, pointer)  # 13
    out.type("tcp_sock", Kind.FWD, 0)  # 14
    return Btf(out.blob())


def test_types_are_found_by_kind_and_name(kernel: Btf) -> None:
    assert kernel.find([Kind.STRUCT], ["sock", "tcp_sock", "nothing"]) == {"sock": 7, "tcp_sock": 9}
    assert kernel.find([Kind.TYPEDEF], ["btf_trace_tcp_probe", "sock"]) == {"btf_trace_tcp_probe": 13}
    assert len(kernel) == 15


def test_enumerators_have_their_values_whatever_their_width_and_sign(kernel: Btf) -> None:
    assert kernel.enumerators(["TCP_CA_Open", "TCP_CA_Loss", "NEGATIVE", "WIDE", "nothing"]) == {
        "TCP_CA_Open": 0, "TCP_CA_Loss": 4, "NEGATIVE": -3, "WIDE": 1 | 2 << 32,
    }  # fmt: skip


def test_members_of_anonymous_structs_are_lifted_to_their_true_place(kernel: Btf) -> None:
    places = {member.name: (member.bit_offset, member.bits) for member in kernel.members(9)}
    assert places == {
        "sk": (0, 0), "snd_cwnd": (128, 0), "lost": (160, 0), "ca_state": (256, 5), "setsockopt": (262, 1),
        "chrono_stat": (288, 0),
    }  # fmt: skip


@pytest.mark.parametrize("blob", [b"", b"\0" * 24, struct.pack("<HBBIIIII", 0xEB9F, 2, 0, 24, 0, 0, 0, 0)])
def test_what_is_no_btf_is_refused(blob: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(blob)


def test_an_unknown_kind_is_refused() -> None:
    out = Writer()
    out.types = struct.pack("<III", 0, 30 << 24, 0)
    with pytest.raises(BtfError, match="unknown kind 30"):
        Btf(out.blob())


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), unique=True, max_size=12))
def test_every_struct_of_any_set_is_found(names: list[str]) -> None:
    out = Writer()
    ids = {name: out.record(name, 4, []) for name in names}
    assert Btf(out.blob()).find([Kind.STRUCT], names) == ids


def test_the_header_keeps_what_the_program_names_at_its_offset(kernel: Btf) -> None:
    text = kernel_header.header(
        kernel, ["struct tcp_sock *tp; tp->lost; tp->ca_state; tp->chrono_stat[1]; sk->skc_net->inum TCP_CA_Loss"]
    )
    assert "struct { char pad_1[20]; __u32 lost; };" in text
    assert "struct { char pad_2[32]; __u16 ca_state : 5; };" in text
    assert "struct { char pad_3[36]; __u32 chrono_stat[3]; };" in text
    assert "char pad_whole[64];" in text
    assert "#define HAS_tcp_sock__lost 1" in text
    assert '_Static_assert(__builtin_offsetof(struct tcp_sock, lost) == 20, "tcp_sock.lost");' in text
    assert "enum { TCP_CA_Loss = 4 };" in text
    assert "snd_cwnd" not in text
    assert "TCP_CA_Open" not in text


def test_the_header_follows_pointers_and_defines_structs_before_those_that_contain_them(kernel: Btf) -> None:
    text = kernel_header.header(kernel, ["struct tcp_sock *tp; tp->sk.skc_net->inum;"])
    assert "struct net;" in text
    assert "struct { char pad_0[8]; struct net *skc_net; };" in text
    assert "struct { char pad_0[8]; __u32 inum; };" in text
    assert text.index("struct sock {") < text.index("struct tcp_sock {")


def test_words_in_comments_and_own_structs_are_not_the_kernels(kernel: Btf) -> None:
    text = kernel_header.header(
        kernel, ["struct sock *sk; /* struct tcp_sock lost */ // snd_cwnd\nstruct net { int inum; };"]
    )
    assert "tcp_sock" not in text
    assert "struct net {" not in text
    assert "HAS_sock__family" not in text


def test_a_source_is_its_file_and_what_it_includes_of_its_folder(tmp_path: Path) -> None:
    texts = {
        "a.c": '#include "b.h"\n#include <linux/c.h>\n#include "generated.h"\n',
        "b.h": '#include "d.h"\n',
        "c.h": "",
        "d.h": '#include "b.h"\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert [path.name for path in kernel_header.sources(tmp_path / "a.c")] == ["a.c", "b.h", "d.h"]


def test_header_has_the_number_of_arguments_of_tracepoints_that_the_text_names() -> None:
    out = Writer()
    pointer = out.type("", Kind.PTR, 0)
    proto = out.type("", Kind.FUNC_PROTO, 0, 0, pointer, 0, pointer, 0, pointer, vlen=3)
    out.type("btf_trace_tcp_probe", Kind.TYPEDEF, out.type("", Kind.PTR, proto))
    text = "ARGUMENTS_tcp_probe ARGUMENTS_tcp_missing"
    written = kernel_header.header(Btf(out.blob()), [text])
    # The first argument is the kernel's own.
    assert "#define ARGUMENTS_tcp_probe 2\n" in written
    assert "#define ARGUMENTS_tcp_missing 0\n" in written
