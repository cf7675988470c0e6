"""Keeps compiled images between sessions, keyed by all that they were made from."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import perfcheck
from perfcheck.collect import ktypes
from perfcheck.collect.btf import Btf
from perfcheck.collect.image import Image, from_json
from perfcheck.errors import CollectError, Unavailable

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
_BUILD_TIMEOUT_S: Final = 120.0
_BUILDERS: Final = ("btf.py", "build.py", "image.py", "ktypes.py")


def sources() -> Path:
    """Folder of the BPF sources: inside an installed package, or beside it in a checkout."""
    package = Path(perfcheck.__file__).parent
    installed = package / "bpf"
    return installed if installed.is_dir() else package.parent / "bpf"


def folder() -> Path:
    """Give the cache's folder: $XDG_CACHE_HOME/perfcheck, else /var/cache/perfcheck for root, else ~/.cache's."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "perfcheck"
    return Path("/var/cache/perfcheck") if os.geteuid() == 0 else Path.home() / ".cache/perfcheck"


def image_for(*names: str) -> Image:
    """Give the image of these files of bpf/, compiled as one for the running kernel, once for each kernel and text."""
    paths = [sources() / name for name in names]
    stored = _place(paths)
    try:
        return from_json(_read(stored) or "")
    except ValueError:
        text = _build(paths)
        _write(stored, text)
        return from_json(text)


def prepare(*groups: Sequence[str]) -> None:
    """Compile at once, on as many CPUs, what `image_for` would compile one after the other.

    What fails is left to `image_for`, which says why.
    """
    missing = [names for names in groups if not _place([sources() / name for name in names]).exists()]
    if len(missing) > 1:
        with ThreadPoolExecutor(len(missing)) as executor:
            for one in [executor.submit(image_for, *names) for names in missing]:
                one.exception()


def enumerators(label: str, names: Sequence[str]) -> dict[str, int]:
    """Give the running kernel's values of those of its enumerators that it has; looked up once for each kernel."""
    digest = hashlib.blake2b("\n".join((_kernel(), *names)).encode(), digest_size=12)
    stored = folder() / f"{label}-{digest.hexdigest()}.json"
    try:
        return {name: int(value) for name, value in json.loads(_read(stored) or "").items()}
    except (ValueError, AttributeError):
        found = Btf(VMLINUX.read_bytes()).enumerators(names)
        _write(stored, json.dumps(found))
        return found


def _place(paths: Sequence[Path]) -> Path:
    return folder() / f"{'-'.join(path.name.partition('.')[0] for path in paths)}-{_key(paths)}.json"


def _key(paths: Sequence[Path]) -> str:
    digest = hashlib.blake2b(_kernel().encode(), digest_size=12)
    here = Path(__file__).parent
    for part in (*ktypes.sources(*paths), *(here / name for name in _BUILDERS)):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def _kernel() -> str:
    """Give a digest of the running kernel's types."""
    try:
        status = VMLINUX.stat()
        return _digest_of(VMLINUX, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise Unavailable(
            "the kernel's BTF", f"{VMLINUX}: {error.strerror}", "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        ) from error


@functools.cache
def _digest_of(path: Path, changed_ns: int, size_bytes: int) -> str:
    """Read it once a process: there are megabytes of it, and several who ask."""
    del changed_ns, size_bytes
    return hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()


def _private(path: Path) -> bool:
    """Whether only we can have written it: what lies there is loaded into the kernel."""
    status = path.lstat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(stored: Path) -> str | None:
    """Give what was stored; None where there is nothing, or where others could have written it."""
    try:
        return stored.read_text(encoding="utf-8") if _private(stored.parent) and _private(stored) else None
    except (OSError, ValueError):
        return None


def _write(stored: Path, text: str) -> None:
    """Store atomically; a cache that cannot be written only costs time."""
    try:
        stored.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(stored.parent):
            return
        with tempfile.NamedTemporaryFile("w", dir=stored.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(stored)
    except OSError:
        return


def _build(paths: Sequence[Path]) -> str:
    argv = [sys.executable, "-P", "-m", "perfcheck.collect.build", *map(str, paths)]
    label = " ".join(path.name for path in paths)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CollectError(f"{label}: BCC did not end within {_BUILD_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise CollectError(f"{label} cannot be compiled: {done.stderr.strip()[-2000:]}")
    return done.stdout
