"""Boots the kernel inside an image: the guest need not decompress it, which is a third of what its boot takes.

QEMU starts an uncompressed kernel at the entry that its PVH note names (CONFIG_PVH; the boot ABI of Xen's
docs/misc/pvh.pandoc, the note's number in include/xen/interface/elfnote.h).
"""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Final

from perfcheck.errors import UsageError
from perfcheck.kernels.bzimage import KernelImage
from perfcheck.kernels.elf import section
from perfcheck.kernels.store import Kernel
from perfcheck.system.files import replace_file

_OWNER: Final = b"Xen\0"
_PHYS32_ENTRY: Final = 18
_NOTE: Final = struct.Struct("<III")


def bootable(kernel: Kernel) -> Path:
    """Return what QEMU boots of a kernel: the one inside its image, kept beside it, where it has the entry for that.

    Where it cannot be read or kept, the image: what is wrong with that is said by the guest's own end.
    """
    with contextlib.suppress(OSError, UsageError):
        kept = kernel.cache / f"vmlinux-{kernel.image.stat().st_mtime_ns}"
        if kept.exists():
            return kept
        inside = KernelImage.read(kernel.image).vmlinux()
        if boots_directly(inside):
            kept.parent.mkdir(exist_ok=True)
            replace_file(kept, inside, durable=False)
            return kept
    return kernel.image


def boots_directly(vmlinux: bytes) -> bool:
    """Return whether a kernel has the PVH entry."""
    try:
        notes = section(vmlinux, ".notes") or b""
    except ValueError:
        return False
    at = 0
    while at + _NOTE.size <= len(notes):
        name_bytes, content_bytes, kind = _NOTE.unpack_from(notes, at)
        at += _NOTE.size
        if kind == _PHYS32_ENTRY and notes[at : at + name_bytes] == _OWNER:
            return True
        at += -(-name_bytes // 4) * 4 + -(-content_bytes // 4) * 4
    return False
