"""Reads an x86 kernel image (bzImage, Documentation/arch/x86/boot.rst): its release, its config and its types (BTF)."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import UsageError
from perfcheck.kernels.compression import decompress
from perfcheck.kernels.elf import section
from perfcheck.kernels.names import RELEASE
from perfcheck.system.bounded_read import read_bounded

MAX_IMAGE_BYTES: Final = 256 << 20
_MAX_VMLINUX_BYTES: Final = 1 << 30
_MAX_CONFIG_BYTES: Final = 16 << 20

_SECTOR: Final = 512
_SETUP_SECTS: Final = 0x1F1
_SYSSIZE: Final = 0x1F4
_BOOT_FLAG: Final = 0x1FE
_MAGIC: Final = 0x202
_PROTOCOL: Final = 0x206
_VERSION_AT: Final = 0x20E
_LOADFLAGS: Final = 0x211
_XLOADFLAGS: Final = 0x236
_PAYLOAD: Final = 0x248
_HEADER_END: Final = 0x268
_OLDEST_PROTOCOL: Final = 0x020C
_LONGEST_VERSION: Final = 200
_SIZE_BYTES: Final = 4
"""After all but gzip's data, the kernel's build appends the size of what it decompresses to."""
_BTF_HEADER: Final = struct.Struct("<HBBIIIII")
_BTF_MAGIC: Final = 0xEB9F


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelImage:
    """A bzImage: the whole file, and the release in its header; `path` is what messages name."""

    path: Path
    content: bytes
    release: str

    @classmethod
    def read(cls, path: Path, source: Path | None = None) -> Self:
        """Read and check an image; UsageError says what is wrong with the file, or with the `source` that it is of."""
        content = read_bounded(path, MAX_IMAGE_BYTES)
        named = source or path
        try:
            return cls(path=named, content=content, release=_release(content))
        except ValueError as error:
            raise UsageError(f"{named}: not a bootable x86-64 kernel image (bzImage): {error}") from None

    def digest(self) -> str:
        """Return the SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    def vmlinux(self) -> bytes:
        """Return the kernel inside, an ELF file; UsageError where it is damaged."""
        try:
            return decompress(self._payload(), _MAX_VMLINUX_BYTES)
        except (ValueError, struct.error) as error:
            raise UsageError(f"{self.path}: the kernel inside the image is {error}") from None

    def _payload(self) -> bytes:
        offset, length = struct.unpack_from("<II", self.content, _PAYLOAD)
        start = _setup_bytes(self.content) + offset
        if length <= _SIZE_BYTES or start + length > len(self.content):
            raise ValueError("cut off")
        gzip = self.content.startswith(b"\x1f\x8b", start)
        return self.content[start : start + length - (0 if gzip else _SIZE_BYTES)]


def kernel_types(image: KernelImage, vmlinux: bytes) -> bytes | None:
    """Return the image's BTF, or None where it was built without; UsageError where it is damaged."""
    try:
        types = section(vmlinux, ".BTF")
        if types is not None:
            _check_types(types)
    except ValueError as error:
        raise UsageError(f"{image.path}: the kernel inside the image is {error}") from None
    return types or None


def embedded_config(vmlinux: bytes) -> bytes | None:
    """Return the config that CONFIG_IKCONFIG puts into the kernel, or None where it is not there."""
    start = vmlinux.find(b"IKCFG_ST\x1f\x8b")
    if start < 0:
        return None
    end = vmlinux.find(b"IKCFG_ED", start)
    try:
        return decompress(vmlinux[start + 8 : end], _MAX_CONFIG_BYTES) if end > 0 else None
    except ValueError:
        return None


def _release(content: bytes) -> str:
    """Return the release in a header; ValueError for what is no header of a whole 64-bit image."""
    if content.startswith(b"\x7fELF"):
        raise ValueError("an ELF file such as vmlinux does not boot; the build makes arch/x86/boot/bzImage of it")
    if content[_BOOT_FLAG : _BOOT_FLAG + 2] != b"\x55\xaa" or content[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise ValueError("no setup header")
    if len(content) < _HEADER_END:
        raise ValueError("cut off within the setup header")
    (protocol,) = struct.unpack_from("<H", content, _PROTOCOL)
    if protocol < _OLDEST_PROTOCOL or not content[_LOADFLAGS] & 1:
        raise ValueError(f"boot protocol {protocol >> 8}.{protocol & 255:02}, older than Linux 3.8")
    if not content[_XLOADFLAGS] & 1:
        raise ValueError("a 32-bit kernel")
    (paragraphs,) = struct.unpack_from("<I", content, _SYSSIZE)
    whole = _setup_bytes(content) + 16 * paragraphs
    if len(content) < whole:
        raise ValueError(f"cut off: {len(content)} of {whole} bytes")
    (offset,) = struct.unpack_from("<H", content, _VERSION_AT)
    version = content[offset + _SECTOR : offset + _SECTOR + _LONGEST_VERSION].partition(b"\0")[0]
    release = version.split(b" ")[0].decode("ascii", "replace")
    if offset == 0 or RELEASE.fullmatch(release) is None:
        raise ValueError(f"its header names no release, but {release[:40]!a}")
    return release


def _setup_bytes(content: bytes) -> int:
    return ((content[_SETUP_SECTS] or 4) + 1) * _SECTOR


def _check_types(types: bytes) -> None:
    """Raise ValueError for a section that no reader of BTF takes."""
    try:
        magic, version, _, header, type_at, type_bytes, name_at, name_bytes = _BTF_HEADER.unpack_from(types)
    except struct.error:
        raise ValueError("damaged: its .BTF section is cut off") from None
    if magic != _BTF_MAGIC or version != 1:
        raise ValueError("damaged: its .BTF section has another format")
    if header + max(type_at + type_bytes, name_at + name_bytes) > len(types):
        raise ValueError("damaged: its .BTF section is cut off")
