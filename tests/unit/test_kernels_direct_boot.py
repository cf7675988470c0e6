"""What QEMU boots of a kernel: the one inside its image where that has the entry for it, else the image."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import elf, image

from perfcheck.kernels.direct_boot import bootable, boots_directly
from perfcheck.kernels.store import Kernel


def note(owner: bytes, kind: int, content: bytes) -> bytes:
    words = struct.pack("<III", len(owner), len(content), kind)
    return words + owner + b"\0" * (-len(owner) % 4) + content + b"\0" * (-len(content) % 4)


ENTRY = note(b"Xen\0", 18, struct.pack("<Q", 0x1000A30))
OTHERS = note(b"Linux\0", 257, b"abc") + note(b"Xen\0", 6, b"linux\0") + note(b"Go\0", 18, bytes(8))
WITH_ENTRY = elf({".text": b"\x90" * 64, ".notes": OTHERS + ENTRY})


def kernel_of(folder: Path, inside: bytes) -> Kernel:
    (folder / "vmlinuz").write_bytes(image(inside=inside))
    return Kernel(name="k", release="6.12.7", folder=folder)


def test_a_kernel_with_the_entry_boots_without_its_image_and_is_decompressed_once(tmp_path: Path) -> None:
    kernel = kernel_of(tmp_path, WITH_ENTRY)
    found = bootable(kernel)
    assert found.read_bytes() == WITH_ENTRY
    assert found.parent == kernel.cache
    before = found.stat()
    assert bootable(kernel) == found
    assert found.stat().st_ino == before.st_ino


def test_another_image_is_read_again(tmp_path: Path) -> None:
    first = bootable(kernel_of(tmp_path, WITH_ENTRY))
    other = elf({".notes": ENTRY, ".text": b"\xcc"})
    kernel = kernel_of(tmp_path, other)
    os.utime(kernel.image, ns=(1, 1))
    second = bootable(kernel)
    assert second != first
    assert second.read_bytes() == other


@pytest.mark.parametrize("inside", [elf({".notes": OTHERS}), elf({".text": b"\x90"}), b"no ELF file" * 100])
def test_a_kernel_without_the_entry_boots_from_its_image(tmp_path: Path, inside: bytes) -> None:
    kernel = kernel_of(tmp_path, inside)
    assert bootable(kernel) == kernel.image
    assert not kernel.cache.exists()


def test_a_damaged_image_is_left_to_the_guest(tmp_path: Path) -> None:
    kernel = kernel_of(tmp_path, WITH_ENTRY)
    kernel.image.write_bytes(kernel.image.read_bytes()[:1700])
    assert bootable(kernel) == kernel.image


def test_where_nothing_can_be_kept_the_image_boots(tmp_path: Path) -> None:
    kernel = kernel_of(tmp_path, WITH_ENTRY)
    kernel.cache.write_text("a file")
    assert bootable(kernel) == kernel.image


@given(st.binary(max_size=200), st.booleans())
def test_any_notes_are_read_to_their_end(notes: bytes, with_entry: bool) -> None:
    assert boots_directly(elf({".notes": ENTRY + notes}))
    assert boots_directly(elf({".notes": notes})) in {True, False}
    if with_entry and not len(notes) % 4:
        # Notes in front, whole and of others, hide nothing.
        assert boots_directly(elf({".notes": note(b"GNU\0", 3, notes) + ENTRY}))
