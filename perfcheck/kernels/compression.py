"""Decompresses what kernels, modules and packages are compressed with, into memory and never beyond a limit."""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import IO, Final, Protocol, cast

from perfcheck.system import commands

_PROGRAM_TIMEOUT_S: Final = 60.0
_PROGRAMS: Final[Mapping[bytes, Sequence[str]]] = MappingProxyType({
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq"),
    b"\x02\x21\x4c\x18": ("lz4", "-dcq"),
    b"\x89LZO": ("lzop", "-dcq"),
})  # fmt: skip
"""Formats that Python 3.11 does not know, by what they begin with: the program that does."""


class _Decoder(Protocol):
    """What zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was reached."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most `max_length` bytes."""


def decompress(content: bytes, limit: int) -> bytes:
    """Return the content decompressed; what follows the compressed data is passed over where Python decompresses.

    Raises:
        ValueError: the format is unknown, the data is damaged or cut off, or there are more than `limit` bytes.
        Unavailable: a program for the format is not installed.
    """
    for magic, argv in _PROGRAMS.items():
        if content.startswith(magic):
            return _by_program(argv, content, limit)
    for magic, decoder in _decoders().items():
        if content.startswith(magic):
            return _by_python(decoder(), content, limit)
    raise ValueError("compressed in an unknown format")


def _decoders() -> Mapping[bytes, Callable[[], _Decoder]]:
    return {
        b"\x1f\x8b": lambda: zlib.decompressobj(31),
        b"\xfd7zXZ\0": lzma.LZMADecompressor,
        b"BZh": bz2.BZ2Decompressor,
        b"\x5d\0\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
    }


def _by_python(decoder: _Decoder, content: bytes, limit: int) -> bytes:
    try:
        unpacked = decoder.decompress(content, limit + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise ValueError(f"damaged: {error}") from None
    if len(unpacked) > limit:
        raise ValueError(_too_large(limit))
    if not decoder.eof:
        raise ValueError("the compressed data is cut off")
    return unpacked


def _by_program(argv: Sequence[str], content: bytes, limit: int) -> bytes:
    source = os.memfd_create(argv[0], os.MFD_CLOEXEC)
    try:
        with open(source, "wb", closefd=False) as stream:
            stream.write(content)
        os.lseek(source, 0, os.SEEK_SET)
        process = commands.popen(argv, stdin=source)
    finally:
        os.close(source)
    try:
        unpacked = cast("IO[bytes]", process.stdout).read(limit + 1)
        if len(unpacked) > limit:
            raise ValueError(_too_large(limit))
        _, said = process.communicate(timeout=_PROGRAM_TIMEOUT_S)
    finally:
        commands.kill(process)
    if process.returncode != 0:
        words = said.decode(errors="replace").strip().splitlines()
        raise ValueError(f"damaged: {words[-1][:200] if words else argv[0]}")
    return unpacked


def _too_large(limit: int) -> str:
    return f"more than {limit >> 20} MiB when decompressed"
