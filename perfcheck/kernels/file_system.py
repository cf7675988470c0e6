"""A file system image that guests map and read, but never write."""

from __future__ import annotations

import fcntl
import importlib.util
import marshal
import os
import shutil
import stat
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels.archive import LINKS
from perfcheck.kernels.folders import remove_unfinished, unfinished_work
from perfcheck.system import commands

TYPE: Final = "ext4"
ALIGNED_BYTES: Final = 16 << 20
"""A mapped device's size is a whole number of the sections that kernels manage memory in."""
SPARE: Final = 1.06
SPARE_BYTES: Final = 8 << 20
SPARE_INODES: Final = 64
"""Room for tables of inodes and folders, beside the files' own blocks."""
_BLOCK: Final = 4096
_MKE2FS_S: Final = 300.0
_HEAD: Final = struct.Struct("<III")
_WORD: Final = 0xFFFFFFFF
_HOW: Final = (
    "-q", "-F", "-t", TYPE, "-b", str(_BLOCK), "-m", "0", "-I", "128", "-L", "perfcheck",
    "-O", "none,extent,filetype,sparse_super,large_file,dir_index",
    "-U", "3f2a7d10-6c1e-4f57-9a51-0c7e5a1f9b11", "-E", "hash_seed=3f2a7d10-6c1e-4f57-9a51-0c7e5a1f9b11",
)  # fmt: skip
"""No journal, no check sums, nothing random: it is only read. Blocks as large as pages can be mapped."""


def make_image(image: Path, files: Mapping[str, Path], folders: tuple[str, ...] = ()) -> None:
    """Write an image of these files, and of the folders of any guest; it appears whole or not at all.

    Each Python source gets its byte code. Unavailable without mke2fs, LabError where the disk is full.
    """
    mke2fs = _mke2fs()
    try:
        image.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _alone(image.parent):
            # Whoever made it before us has made all of it.
            if image.exists():
                return
            remove_unfinished(image.parent)
            with unfinished_work(image.parent) as work:
                tree, unfinished = work / "tree", work / "image"
                size = int(_stage(tree, files, folders) * _BLOCK * SPARE) + SPARE_BYTES
                _format(mke2fs, unfinished, tree, size + -size % ALIGNED_BYTES, inodes=_count(tree) + SPARE_INODES)
                unfinished.chmod(0o644)
                unfinished.replace(image)
    except OSError as error:
        raise LabError(
            f"{image}: cannot make this guest image: {error.strerror or error}; make its folder writable, or free "
            "space there"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make images in a folder: two who want the same one would both make it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _mke2fs() -> str:
    try:
        return commands.find("mke2fs")
    except Unavailable:
        raise Unavailable("mke2fs", "there is no such command in PATH", "apt-get install e2fsprogs") from None


def _format(mke2fs: str, image: Path, tree: Path, size: int, inodes: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    argv = [mke2fs, *_HOW, "-N", str(inodes), "-d", str(tree), str(image)]
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1700000000", "MKE2FS_CONFIG": os.devnull}
    commands.run(argv, timeout_s=_MKE2FS_S, env=environment, error=LabError)


def _count(tree: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(tree))


def _stage(tree: Path, files: Mapping[str, Path], folders: tuple[str, ...]) -> int:
    """Copy the files to where mke2fs reads them; return how many blocks they take."""
    tree.mkdir(mode=0o755)
    for name, target in LINKS.items():
        (tree / target).mkdir(mode=0o755, parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    for name in folders:
        (tree / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    blocks = 0
    for inside, path in files.items():
        blocks += _copy(path, tree / inside)
        if path.suffix == ".py" and (code := byte_code(path, f"/{inside}")) is not None:
            beside = Path(importlib.util.cache_from_source(str(tree / inside)))
            beside.parent.mkdir(mode=0o755, exist_ok=True)
            beside.write_bytes(code)
            blocks += -(-len(code) // _BLOCK)
    return blocks + 2 * _count(tree)


def _copy(path: Path, target: Path) -> int:
    status = path.lstat()
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(mode=0o755, exist_ok=True)
    elif stat.S_ISLNK(status.st_mode):
        target.symlink_to(path.readlink())
    else:
        shutil.copyfile(path, target)
        target.chmod(stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        return -(-status.st_size // _BLOCK)
    return 0


def byte_code(source: Path, inside: str) -> bytes | None:
    """Return the byte code of a Python source: what is up to date beside it, else compiled; None where it is no Python.

    `inside` is the source's path in the guest.
    """
    kept = Path(importlib.util.cache_from_source(str(source)))
    if _up_to_date(kept, source):
        return kept.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source.read_bytes(), inside, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        # Some sources are no Python of this version on purpose, such as templates.
        return None
    return _head_of(source) + marshal.dumps(code)


def _up_to_date(byte_code: Path, source: Path) -> bool:
    try:
        with byte_code.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head == _head_of(source)


def _head_of(source: Path) -> bytes:
    """Return how the byte code of a source begins, as PEP 552 has it: it holds while time and size stay the same."""
    status = source.stat()
    return importlib.util.MAGIC_NUMBER + _HEAD.pack(0, int(status.st_mtime) & _WORD, status.st_size & _WORD)
