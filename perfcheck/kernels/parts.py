"""The files of a kernel while they are gathered in a folder: image, config and modules, each within limits."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final

from perfcheck.errors import UsageError
from perfcheck.kernels.bzimage import MAX_IMAGE_BYTES

MAX_CONFIG_BYTES: Final = 16 << 20
MAX_MODULE_BYTES: Final = 1 << 30
MAX_TOTAL_BYTES: Final = 8 << 30
MAX_FILES: Final = 50_000
_COPIED_AT_ONCE: Final = 1 << 20
_MODULE: Final = re.compile(r"[A-Za-z0-9_.+-]+\.ko(?:\.(?:gz|xz|zst))?")
_LISTS: Final = frozenset({"modules.order", "modules.builtin", "modules.builtin.modinfo"})
"""What the kernel's build writes; depmod makes all else."""


@dataclass(kw_only=True)
class Parts:
    """A kernel that is being gathered in `folder`: `vmlinuz`, `config`, and `modules/` as in /lib/modules/RELEASE.

    `source` is what a message names.
    """

    folder: Path
    source: str
    origin: str
    package_version: str | None = None
    total_bytes: int = 0
    files: int = 0
    module_names: set[str] = field(default_factory=set)

    @property
    def image(self) -> Path:
        """Where the image is, or will be."""
        return self.folder / "vmlinuz"

    @property
    def config(self) -> Path:
        """Where the config is, or will be."""
        return self.folder / "config"

    @property
    def modules(self) -> Path:
        """Where the modules are, or will be."""
        return self.folder / "modules"

    def add_image(self, stream: IO[bytes]) -> None:
        """Write the image; UsageError where there is one already, or it is too large."""
        self._write(stream, self.image, MAX_IMAGE_BYTES)

    def add_config(self, stream: IO[bytes]) -> None:
        """Write the config."""
        self._write(stream, self.config, MAX_CONFIG_BYTES)

    def add_module_file(self, name: PurePosixPath, stream: IO[bytes]) -> None:
        """Write a file of /lib/modules/RELEASE by its name there; see `is_wanted`."""
        target = self.modules.joinpath(*name.parts)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"{self.source}: {name} is in a folder that is a file, too") from None
        self._write(stream, target, MAX_MODULE_BYTES)
        if target.parent != self.modules:
            self.module_names.add(str(name))

    def count(self, size: int) -> None:
        """Take note of a file, wanted or not; UsageError beyond the limits."""
        self.files += 1
        self.total_bytes += size
        if self.files > MAX_FILES:
            raise UsageError(f"{self.source}: more than {MAX_FILES} files: not a kernel")
        if self.total_bytes > MAX_TOTAL_BYTES:
            raise UsageError(f"{self.source}: more than {MAX_TOTAL_BYTES >> 30} GiB when unpacked: not a kernel")

    def _write(self, stream: IO[bytes], target: Path, limit: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        name = target.relative_to(self.folder)
        try:
            descriptor = os.open(target, flags, 0o644)
        except FileExistsError:
            raise UsageError(f"{self.source}: has two files for {name}") from None
        written = 0
        with os.fdopen(descriptor, "wb") as file:
            while block := stream.read(_COPIED_AT_ONCE):
                written += len(block)
                if written > limit:
                    raise UsageError(f"{self.source}: {name} is larger than {limit >> 20} MiB")
                file.write(block)


def is_wanted(name: PurePosixPath) -> bool:
    """Return whether a file of /lib/modules/RELEASE is kept: modules, and the lists that the build wrote."""
    if len(name.parts) == 1:
        return name.name in _LISTS
    return _MODULE.fullmatch(name.name) is not None


def add_folder(parts: Parts, folder: Path) -> None:
    """Add the modules of a folder such as /lib/modules/RELEASE; links to its build and sources are left out."""
    for path in _files_below(parts, folder):
        name = PurePosixPath(path.relative_to(folder))
        if is_wanted(name):
            add_module(parts, name, path)
        else:
            parts.count(0)


def add_module(parts: Parts, name: PurePosixPath, path: Path) -> None:
    """Add one file of /lib/modules/RELEASE."""
    with opened(path) as stream:
        parts.count(os.fstat(stream.fileno()).st_size)
        parts.add_module_file(name, stream)


def _files_below(parts: Parts, folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UsageError(f"{parts.source}: {error.filename} cannot be read: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=refuse):
        # Where the kernel's sources were built in place, they are no modules of it.
        if place == str(folder):
            folders[:] = [name for name in folders if name not in {"build", "source"}]
        folders.sort()
        for name in sorted(names):
            yield Path(place) / name


def opened(path: Path) -> IO[bytes]:
    """Open a regular file; UsageError for a device, a pipe, a link that leads nowhere, or no permission."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: cannot be read: not a regular file")
    return os.fdopen(descriptor, "rb")


def add_config_file(parts: Parts, path: Path) -> None:
    """Add the config where there is such a file."""
    if path.is_file():
        with opened(path) as stream:
            parts.add_config(stream)


def add_image_file(parts: Parts, path: Path) -> None:
    """Add the image."""
    with opened(path) as stream:
        parts.add_image(stream)
