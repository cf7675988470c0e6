"""An archive that the kernel unpacks into memory as a guest's root file system (initramfs)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

from perfcheck.kernels.libraries import libraries_of

LINKS: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_ALIGNED: Final = 4


class Archive:
    """A cpio archive in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst).

    What is added a second time is left out. Folders above what is added are added by themselves.
    """

    def __init__(self, out: BinaryIO) -> None:
        """Write to this file."""
        self._out = out
        self._have = {""}

    def add(self, path: Path) -> None:
        """Add a file, a link or an empty folder as it is on the host, under its own path; others are left out."""
        self.put(str(path)[1:], path)

    def put(self, name: str, path: Path) -> None:
        """Add a file, a link or an empty folder of the host under this name; others are left out."""
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            self._member(name, str(path.readlink()).encode(), stat.S_IFLNK | 0o777, int(status.st_mtime))
        elif stat.S_ISREG(status.st_mode):
            self._member(name, path.read_bytes(), status.st_mode, int(status.st_mtime))
        elif stat.S_ISDIR(status.st_mode):
            self.folder(name, stat.S_IMODE(status.st_mode))

    def add_program(self, path: Path) -> None:
        """Add a program of the host with the shared libraries that it is linked with, each under its real path."""
        real = Path(os.path.realpath(path))
        named = Path(os.path.realpath(path.parent)) / path.name
        self.add(real)
        if named != real:
            self.link(str(named)[1:], str(real))
        for library in libraries_of(real):
            target = Path(os.path.realpath(library))
            self.add(target)
            beside = Path(os.path.realpath(library.parent)) / library.name
            if beside != target:
                self.link(str(beside)[1:], str(target))

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add an empty folder."""
        self._member(name, b"", stat.S_IFDIR | mode)

    def folders(self, names: Iterable[str]) -> None:
        """Add the links of a merged /usr, empty folders, and the device that init's output goes to at first."""
        for name, target in LINKS.items():
            self.link(name, target)
        for name in names:
            self.folder(name)
        self._member("dev/console", b"", stat.S_IFCHR | 0o600, device=(5, 1))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._member(name, target.encode(), stat.S_IFLNK | 0o777)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file that the host does not have under this path."""
        self._member(name, data, stat.S_IFREG | mode)

    def _member(self, name: str, data: bytes, mode: int, changed_s: int = 0, device: tuple[int, int] = (0, 0)) -> None:
        if name in self._have:
            return
        above = name.rpartition("/")[0]
        if above not in self._have:
            self.folder(above)
        self._have.add(name)
        path = name.encode() + b"\0"
        numbers = (len(self._have), mode, 0, 0, 1, changed_s, len(data), 0, 0, *device, len(path), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % number for number in numbers) + path)
        self._out.write(b"\0" * (-(110 + len(path)) % _ALIGNED) + data + b"\0" * (-len(data) % _ALIGNED))

    def finish(self) -> None:
        """Write what ends an archive; another one may follow it."""
        self._member("TRAILER!!!", b"", 0)
