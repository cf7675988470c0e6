"""A guest's whole root file system as one archive, which the kernel unpacks into memory (initramfs).

Nothing is read from the host afterwards. A guest that counts instructions as time cannot measure how long the host
takes: while it waits for the host, its clock jumps to the next timer, past any time limit.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

PACKAGES: Final = (
    "busybox-static", "kmod", "mount", "procps", "python3", "python3-venv", "python3-bpfcc", "bpftool", "iproute2",
    "iputils-ping", "nftables", "ethtool", "iperf3", "nghttp2-client", "nghttp2-server", "sockperf",
)  # fmt: skip
"""Debian's packages in the archive; their dependencies and the essential packages are added."""
_NO_FILES: Final = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info")
_NOT_OF_A_TREE: Final = frozenset({
    ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "mypy", "mypyc", "ruff", "pip",
})  # fmt: skip
"""Nobody runs these in a guest, and they are a sixth of all."""
_LINKS: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


class Archive:
    """A cpio archive in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst).

    What is added a second time is left out; folders above what is added are added by themselves.
    """

    def __init__(self, out: BinaryIO) -> None:
        """Write to this file."""
        self._out = out
        self._have = {""}

    def add(self, path: Path) -> None:
        """Add a file, a link or an empty folder as it is on the host, under its own path; others are left out."""
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            self._member(str(path)[1:], str(path.readlink()).encode(), stat.S_IFLNK | 0o777, int(status.st_mtime))
        elif stat.S_ISREG(status.st_mode):
            self._member(str(path)[1:], path.read_bytes(), status.st_mode, int(status.st_mtime))
        elif stat.S_ISDIR(status.st_mode):
            self.folder(str(path)[1:], stat.S_IMODE(status.st_mode))

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add an empty folder."""
        self._member(name, b"", stat.S_IFDIR | mode)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._member(name, target.encode(), stat.S_IFLNK | 0o777)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file that the host does not have."""
        self._member(name, data, stat.S_IFREG | mode)

    def console(self) -> None:
        """Add the device that init's output goes to before it can make any."""
        self._member("dev/console", b"", stat.S_IFCHR | 0o600, device=(5, 1))

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
        self._out.write(b"\0" * (-(110 + len(path)) % 4) + data + b"\0" * (-len(data) % 4))

    def finish(self) -> None:
        """Write what ends an archive."""
        self._member("TRAILER!!!", b"", 0)


def write(out: BinaryIO, *, init: str, modules: Path, tree: Path) -> None:
    """Write the archive: Debian's packages, the kernel's modules (lib/modules/VERSION), and a folder under its path."""
    archive = Archive(out)
    for name, target in _LINKS.items():
        archive.link(name, target)
    for name in ("dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "share"):
        archive.folder(name)
    archive.console()
    archive.file("init", init.encode(), 0o755)
    for path in _packaged():
        archive.add(path)
    for path in _below(Path("/etc"), ()):
        if path.is_symlink() or path.stat().st_mode & stat.S_IROTH:
            archive.add(path)
    for path in _below(modules, ()):
        if path.is_file() and not path.is_symlink():
            archive.file(f"usr/lib/modules/{modules.name}/{path.relative_to(modules)}", path.read_bytes())
    for path in _below(tree, _NOT_OF_A_TREE):
        archive.add(path)
    archive.finish()


def _packaged() -> Iterator[Path]:
    """Return the files of the packages, and the byte code beside their Python sources."""
    listed = _lines("dpkg-query", "-L", *_with_dependencies(PACKAGES))
    for line in sorted(set(listed)):
        if not line.startswith("/") or line.startswith(_NO_FILES):
            continue
        named = Path(line)
        # A package may name /lib/x what lies in /usr/lib/x.
        path = Path(os.path.realpath(named.parent)) / named.name
        if not os.path.lexists(path) or (path.is_dir() and not path.is_symlink()):
            continue
        yield path
        if path.suffix == ".py":
            yield from path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc")


def _with_dependencies(packages: Sequence[str]) -> Sequence[str]:
    essential = [
        line.split()[1] for line in _lines("dpkg-query", "-W", "-f", "${Essential} ${Package}\n") if line[:4] == "yes "
    ]
    without = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    found = _lines("apt-cache", "depends", "--recurse", "--installed", *without, *packages, *essential)
    installed = set(_lines("dpkg-query", "-W", "-f", "${Package}\n"))
    return sorted({line for line in found if line in installed})


def _below(folder: Path, without: Collection[str]) -> Iterable[Path]:
    """Return all below a folder, in one order, but for what has, or lies in what has, one of these names."""
    for path in sorted(folder.iterdir()):
        if path.name in without or path.name.partition("__mypyc.")[1]:
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path, without)


def _lines(*argv: str) -> list[str]:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
