"""Kernel images: the release, the types and the config come out of the file, and whatever else it is, one line says."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_files import BTF, COMPRESSIONS, CONFIG, RELEASE, elf, image, vmlinux

from perfcheck.errors import UnreadableFile, UsageError
from perfcheck.kernels import bzimage, compression
from perfcheck.kernels.bzimage import KernelImage, embedded_config, kernel_types
from perfcheck.kernels.elf import section

GOOD = image()


def read(folder: Path, content: bytes) -> KernelImage:
    path = folder / "vmlinuz"
    path.write_bytes(content)
    return KernelImage.read(path)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_types_and_config_come_out_of_every_compression(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, image(inside=vmlinux(config=CONFIG), compression=kind))
    assert found.release == RELEASE
    assert kernel_types(found, found.vmlinux()) == BTF
    assert embedded_config(found.vmlinux()) == CONFIG


def test_a_kernel_without_types_and_config_has_none(tmp_path: Path) -> None:
    found = read(tmp_path, image(inside=vmlinux(btf=None)))
    assert kernel_types(found, found.vmlinux()) is None
    assert embedded_config(found.vmlinux()) is None


def test_what_follows_the_kernel_in_its_file_such_as_a_signature_does_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD + b"signature").vmlinux() == vmlinux()


def changed(at: int, *values: int) -> bytes:
    return GOOD[:at] + bytes(values) + GOOD[at + len(values) :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no setup header"),
        (b"root:x:0:0:root:/root:/bin/bash\n" * 100, "no setup header"),
        (b"MZ\0\0" + bytes(5000), "no setup header"),
        (vmlinux(), "an ELF file such as vmlinux does not boot; the build makes arch/x86/boot/bzImage of it"),
        (GOOD[:0x210], "cut off within the setup header"),
        (GOOD[:1700], f"cut off: 1700 of {len(GOOD)} bytes"),
        (GOOD[:-1], f"cut off: {len(GOOD) - 1} of {len(GOOD)} bytes"),
        (changed(0x236, 0), "a 32-bit kernel"),
        (changed(0x206, 4, 2), "boot protocol 2.04, older than Linux 3.8"),
        (changed(0x400, *b"../../etc "), r"its header names no release, but '../../etc'"),
        (changed(0x400, *b"6.1/../x "), "its header names no release, but '6.1/../x'"),
        (changed(0x400, *b"6.1\x1b[31m "), r"its header names no release, but '6.1\\x1b[31m'"),
        (changed(0x20E, 0, 0), "its header names no release, but "),
        (changed(0x20E, 255, 255), "its header names no release, but ''"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/vmlinuz: not a bootable x86-64 kernel image (bzImage): ")
    assert reason.replace("\\\\", "\\") in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (changed(0x248, 255, 255, 255, 0), "cut off"),
        (changed(0x24C, 255, 255, 255, 255), "cut off"),
        (changed(0x24C, 0, 0, 0, 0), "cut off"),
        (changed(0x24C, 100, 0), "the compressed data is cut off"),
        (GOOD.replace(b"\x1f\x8b", b"\x1f\x8c", 1), "compressed in an unknown format"),
        (GOOD[:1620] + bytes(16) + GOOD[1636:], "damaged"),
    ],
)  # fmt: skip
def test_a_damaged_kernel_inside_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=f"the kernel inside the image is .*{reason}"):
        read(tmp_path, content).vmlinux()


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_kernel_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(bzimage, "_MAX_VMLINUX_BYTES", 1 << 20)
    bomb = image(inside=vmlinux() + bytes(64 << 20), compression=kind)
    with pytest.raises(UsageError, match="more than 1 MiB when decompressed"):
        read(tmp_path, bomb).vmlinux()


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_data_that_a_program_refuses_is_damaged(kind: str) -> None:
    whole = COMPRESSIONS[kind](bytes(range(256)) * 64)
    with pytest.raises(ValueError, match="damaged"):
        compression.decompress(whole[: len(whole) // 2], 1 << 20)


@pytest.mark.parametrize(
    "types",
    [b"\x9f\xeb\x01", b"\xeb\x9f" + BTF[2:], BTF[:2] + b"\x02" + BTF[3:], BTF[:12] + b"\xff\xff" + BTF[14:]],
)  # fmt: skip
def test_types_that_no_reader_takes_are_damaged(tmp_path: Path, types: bytes) -> None:
    found = read(tmp_path, image(inside=vmlinux(btf=types)))
    with pytest.raises(UsageError, match=r"damaged: its \.BTF section"):
        kernel_types(found, found.vmlinux())


def test_a_device_a_folder_and_a_large_file_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(UnreadableFile):
            KernelImage.read(path)
    monkeypatch.setattr(bzimage, "MAX_IMAGE_BYTES", 4096)
    with pytest.raises(UnreadableFile, match="larger than 4096 bytes"):
        read(tmp_path, bytes(5000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0x600), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 3000))
def test_no_header_does_more_than_be_refused(tmp_path: Path, changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    told = ""
    try:
        found = read(tmp_path, bytes(content[: len(content) - cut]))
        kernel_types(found, found.vmlinux())
    except UsageError as error:
        told = str(error)
    assert "\n" not in told


def test_sections_are_found_by_name() -> None:
    file = elf({".BTF": b"types", ".BTF.ext": b"lines", ".text": b""})
    assert section(file, ".BTF") == b"types"
    assert section(file, ".text") == b""
    assert section(file, ".data") is None


@given(st.integers(0, 63), st.binary(min_size=1, max_size=8))
def test_no_elf_header_does_more_than_be_refused(at: int, value: bytes) -> None:
    file = elf({".BTF": BTF})
    with contextlib.suppress(ValueError):
        section(file[:at] + value + file[at + len(value) :], ".BTF")


def test_a_table_of_sections_far_away_is_refused() -> None:
    file = bytearray(elf({".BTF": BTF}))
    struct.pack_into("<Q", file, 0x28, 1 << 63)
    with pytest.raises(ValueError, match="its table of sections is cut off"):
        section(bytes(file), ".BTF")
