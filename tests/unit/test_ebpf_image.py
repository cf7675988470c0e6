"""Compiled images: kept faithfully, made anew when anything is wrong with them, and free of descriptors."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.ebpf import cache, image
from perfcheck.ebpf import compile as compiling
from perfcheck.ebpf import object as bpf_object
from perfcheck.errors import CollectError

IMAGE = image.Image(
    source="tcp.bpf.c",
    maps=(
        image.MapImage(
            name="records", type=2, key_bytes=4, value_bytes=8, max_entries=1, flags=1024, value_layout='"unsigned int"'
        ),
    ),
    programs=(
        image.ProgramImage(kind="tp_btf", target="tcp_probe", btf_id=13, code=bytes(range(16)), maps={0: "records"}),
    ),
)


def instruction(opcode: int, registers: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, registers, 0, immediate)


def test_an_image_survives_being_stored() -> None:
    assert image.from_json(image.to_json(IMAGE)) == IMAGE


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}', '{"format": 1, "source": "x", "maps": 3}'])
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        image.from_json(text)


def test_map_descriptors_are_taken_out_of_the_instructions() -> None:
    load = instruction(0x18, 1 << 4 | 2, 7) + instruction(0)
    code, maps = compiling.relocatable(instruction(0xB7) + load + instruction(0x95), {7: "records"})
    assert maps == {1: "records"}
    assert code == instruction(0xB7) + instruction(0x18, 1 << 4 | 2, 0) + instruction(0) + instruction(0x95)


def test_constants_of_64_bits_are_no_maps() -> None:
    load = instruction(0x18, 2, 0xC3) + instruction(0xC3, 0, 5)
    assert compiling.relocatable(load, {}) == (load, {})


def test_only_32_bit_atomic_adds_become_fetching_ones() -> None:
    code, _ = compiling.relocatable(instruction(0xC3, 0x21) + instruction(0xDB, 0x21), {})
    assert code == instruction(0xC3, 0x21, 1) + instruction(0xDB, 0x21, 0)


def test_the_layout_that_the_compiler_describes_becomes_a_numpy_type_with_c_alignment() -> None:
    made = bpf_object.dtype_of(
        '["r", [["a","unsigned char"], ["b","unsigned long long"], ["s",["p", [["x","unsigned int"]], "struct"]],'
        ' ["h","unsigned int", [3]]], "struct"]'
    )
    assert [(name, made.fields[name][1]) for name in made.names or () if made.fields] == [
        ("a", 0), ("b", 8), ("s", 16), ("h", 20),
    ]  # fmt: skip
    assert made.itemsize == 32
    assert made["h"].shape == (3,)
    assert np.zeros(1, made)[0]["s"]["x"] == 0


@given(st.lists(st.sampled_from(sorted(bpf_object.SCALARS)), min_size=1, max_size=8))
def test_any_mixture_of_scalars_is_laid_out_as_struct_does(kinds: list[str]) -> None:
    codes = {
        "i1": "b",
        "u1": "B",
        "i2": "h",
        "u2": "H",
        "i4": "i",
        "u4": "I",
        "i8": "q",
        "u8": "Q",
        "?": "?",
        "S1": "c",
    }
    text = ", ".join(f'["m{index}", "{kind}"]' for index, kind in enumerate(kinds))
    made = bpf_object.dtype_of(f'["r", [{text}], "struct"]')
    native = "".join(codes[bpf_object.SCALARS[kind]] for kind in kinds)
    largest = max(kinds, key=lambda kind: np.dtype(bpf_object.SCALARS[kind]).itemsize)
    assert made.itemsize == struct.calcsize(f"@{native}0{codes[bpf_object.SCALARS[largest]]}")


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A cache in a fresh folder; the list grows with each compilation."""
    made: list[Path] = []

    def fake(paths: Sequence[Path], types: Path | None) -> str:
        del types
        made.extend(paths)
        return image.to_json(IMAGE)

    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(b"types of a kernel")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "VMLINUX", kernel)
    monkeypatch.setattr(cache, "_build", fake)
    return made


def stored() -> Path:
    (only,) = cache.folder().glob("*.json")
    return only


def test_a_source_is_compiled_once_for_a_kernel(builds: list[Path]) -> None:
    assert [cache.image_for("tcp.bpf.c"), cache.image_for("tcp.bpf.c")] == [IMAGE, IMAGE]
    assert [path.name for path in builds] == ["tcp.bpf.c"]


def test_several_sources_are_compiled_as_one(builds: list[Path]) -> None:
    names = ("scope.bpf.c", "cpu.bpf.c")
    assert [cache.image_for(*names), cache.image_for(*names)] == [IMAGE, IMAGE]
    assert [path.name for path in builds] == list(names)


Compilers = list[list[dict[str, Any]]]


@pytest.fixture
def compilers(builds: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Compilers]:
    """What `prepare` has child processes compile; their ends of the locks stay open, as if none had ended."""
    del builds
    begun: Compilers = []

    class Child:
        def __init__(self, argv: Sequence[str], *, pass_fds: Sequence[int], **_: object) -> None:
            begun.append(json.loads(argv[-1])["texts"])
            for one, fd in zip(begun[-1], pass_fds, strict=True):
                one["lock"] = os.dup(fd)

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Child)
    yield begun
    for one in itertools.chain.from_iterable(begun):
        with contextlib.suppress(OSError):
            os.close(one["lock"])


def names_of(begun: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [[Path(source).name for source in one["sources"]] for one in begun]


def test_what_is_missing_is_compiled_by_one_child_and_begun_once(compilers: Compilers) -> None:
    cache.prepare(["tcp.bpf.c"], ["scope.bpf.c", "cpu.bpf.c"])
    cache.prepare(["tcp.bpf.c"], ["scope.bpf.c", "nic.bpf.c"])
    assert [names_of(one) for one in compilers] == [
        [["tcp.bpf.c"], ["scope.bpf.c", "cpu.bpf.c"]], [["scope.bpf.c", "nic.bpf.c"]],
    ]  # fmt: skip


def test_nothing_is_begun_where_all_is_kept(compilers: Compilers, builds: list[Path]) -> None:
    cache.image_for("tcp.bpf.c")
    cache.prepare(["tcp.bpf.c"])
    assert (compilers, len(builds)) == ([], 1)


def test_what_a_child_compiles_is_waited_for_and_not_compiled_again(compilers: Compilers, builds: list[Path]) -> None:
    cache.prepare(["tcp.bpf.c"])
    ((only,),) = compilers
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(cache.image_for, "tcp.bpf.c")
        assert not wait([waiting], timeout=0.05).done
        cache.store(Path(only["place"]), image.to_json(IMAGE))
        os.close(only["lock"])
        assert waiting.result(timeout=10) == IMAGE
    assert not builds


def test_what_a_child_could_not_compile_is_told_by_the_one_who_needs_it(
    compilers: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(paths: Sequence[Path], types: Path | None) -> str:
        del types
        raise CollectError(f"{paths[0].name} cannot be compiled")

    monkeypatch.setattr(cache, "_build", fail)
    cache.prepare(["scope.bpf.c", "cpu.bpf.c"])
    ((only,),) = compilers
    os.close(only["lock"])
    with pytest.raises(CollectError, match=r"scope\.bpf\.c"):
        cache.image_for("scope.bpf.c", "cpu.bpf.c")


def test_nothing_is_begun_where_nothing_can_be_kept(
    compilers: Compilers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache.prepare(["tcp.bpf.c"])
    assert not compilers


def test_numbers_are_looked_up_once_for_a_kernel(builds: list[Path]) -> None:
    del builds
    asked: list[Sequence[str]] = []

    def look_up(names: Sequence[str]) -> dict[str, int]:
        asked.append(names)
        return {"a": 7}

    assert [cache.numbers("some", ("a", "b"), look_up) for _ in range(2)] == [{"a": 7}, {"a": 7}]
    cache.VMLINUX.write_bytes(b"types of another kernel")
    cache.numbers("some", ("a", "b"), look_up)
    assert asked == [("a", "b")] * 2


def test_another_kernel_needs_another_image(builds: list[Path]) -> None:
    cache.image_for("tcp.bpf.c")
    cache.VMLINUX.write_bytes(b"types of another kernel")
    cache.image_for("tcp.bpf.c")
    assert len(builds) == 2


def others_may_write(path: Path) -> None:
    path.chmod(0o666)


def cut_off(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def a_link(path: Path) -> None:
    real = path.rename(path.with_suffix(".real"))
    real.chmod(0o666)
    path.symlink_to(real)


@pytest.mark.parametrize("spoil", [others_may_write, cut_off, a_link, lambda path: path.parent.chmod(0o777)])
def test_an_image_that_cannot_be_trusted_is_made_anew(spoil: Callable[[Path], None], builds: list[Path]) -> None:
    cache.image_for("tcp.bpf.c")
    spoil(stored())
    assert cache.image_for("tcp.bpf.c") == IMAGE
    assert len(builds) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(
    builds: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.image_for("tcp.bpf.c") == IMAGE
    assert len(builds) == 1
