"""Keeps compiled images between sessions; the key covers everything that they were made from."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import perfcheck
from perfcheck.ebpf import kernel_header
from perfcheck.ebpf.btf import Btf, Kind
from perfcheck.ebpf.image import Image, from_json, to_json
from perfcheck.errors import CollectError, Unavailable
from perfcheck.system import kept_files

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
FUNCTIONS: Final = "functions"
"""Label of the numbers of functions."""
_COMPLETE: Final = "complete"
"""A file in a cache that was filled on another machine: nothing is to be compiled here."""
_BUILD_TIMEOUT_S: Final = 120.0
_BUILDERS: Final = ("btf.py", "compile.py", "image.py", "kernel_header.py")


def sources() -> Path:
    """Folder of the BPF sources: inside an installed package, or beside it in a checkout."""
    package = Path(perfcheck.__file__).parent
    installed = package / "bpf"
    return installed if installed.is_dir() else package.parent / "bpf"


def folder() -> Path:
    """Return the cache's folder, which other kept files are below, too."""
    return kept_files.root()


def image_for(*names: str, types: Path | None = None) -> Image:
    """Return the image of these files of bpf/, compiled as one text for the running kernel, once a kernel.

    `types` is the BTF of another kernel that it is compiled for.
    """
    paths = [sources() / name for name in names]
    stored = _place(paths, types)
    if (image := _stored_image(stored)) is not None:
        return image
    with _compiling(names):
        # Whoever was compiling it before us has stored it, where it compiles at all.
        if (image := _stored_image(stored)) is not None:
            return image
        text = _build(paths, types)
        store(stored, text)
    return from_json(text)


def _stored_image(stored: Path) -> Image | None:
    try:
        return from_json(_read(stored) or "")
    except ValueError:
        return None


def files_for(
    types: Path, groups: Sequence[Sequence[str]], enumerators: Mapping[str, Sequence[str]],
    functions: Sequence[Sequence[str]],
) -> dict[str, bytes]:  # fmt: skip
    """Compile for the kernel with these types, and return the files of its cache by their names in the folder.

    Texts are compiled, and numbers looked up, once a kernel, as those of the running one are.
    """
    prepare(*groups, enumerators=enumerators, types=types)
    found = {}
    for names in groups:
        image = image_for(*names, types=types)
        found[_place([sources() / name for name in names], types).name] = to_json(image).encode()
    look_ups: list[tuple[str, Sequence[str], Callable[[Sequence[str]], Mapping[str, int]]]] = [
        *((label, names, lambda asked: kernel_types(types).enumerators(asked)) for label, names in enumerators.items()),
        *((FUNCTIONS, names, lambda asked: kernel_types(types).find((Kind.FUNC,), asked)) for names in functions),
    ]
    for label, names, look_up in look_ups:
        known = numbers(label, names, look_up, types=types)
        found[_numbers_place(label, names, types).name] = json.dumps(known).encode()
    return found


def prepare(
    *groups: Sequence[str], enumerators: Mapping[str, Sequence[str]] | None = None, types: Path | None = None
) -> None:  # fmt: skip
    """Begin to compile what is missing in a child process, side by side; `image_for` waits for what is under way.

    `enumerators`: names by label that `numbers` will be asked for next. The child looks them up too, since it
    reads the kernel's types anyway. What fails there is left to `image_for`, which says why.
    """
    wanted, locks = [], []
    for names in groups:
        paths = [sources() / name for name in names]
        stored = _place(paths, types)
        if not stored.exists() and (lock := _lock(names)) is not None:
            locks.append(lock)
            wanted.append({"sources": [str(path) for path in paths], "place": str(stored), "lock": lock})
    if not wanted:
        return
    argv = [sys.executable, "-P", "-m", "perfcheck.ebpf.compile_all"]
    argv.append(json.dumps({"texts": wanted, "enumerators": enumerators or {}, "types": str(types or VMLINUX)}))
    try:
        with contextlib.suppress(OSError):
            compiler = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=locks
            )
            # Somebody has to take note of its end.
            threading.Thread(target=compiler.wait, name="compiler", daemon=True).start()
    finally:
        for lock in locks:
            os.close(lock)


def _lock(names: Sequence[str], *, wait: bool = False) -> int | None:
    """Take the right to compile a group of sources: a descriptor that holds it while it is open anywhere.

    None where another process has it, or nothing can be kept here.
    """
    place = folder()
    fd = -1
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not kept_files.is_private(place):
            return None
        fd = os.open(place / f"{_label(names)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if fd >= 0:
            os.close(fd)
        return None
    return fd


@contextlib.contextmanager
def _compiling(names: Sequence[str]) -> Iterator[None]:
    """Be the only one to compile these, waiting for another; without a place for a lock nobody is waited for."""
    lock = _lock(names, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def numbers(
    label: str, names: Sequence[str], look_up: Callable[[Sequence[str]], Mapping[str, int]], types: Path | None = None
) -> dict[str, int]:  # fmt: skip
    """Return what `look_up` finds in the running kernel's types under these names; looked up once for each kernel."""
    stored = _numbers_place(label, names, types)
    try:
        return {name: int(value) for name, value in json.loads(_read(stored) or "").items()}
    except (ValueError, AttributeError):
        found = dict(look_up(names))
        store(stored, json.dumps(found))
        return found


def _numbers_place(label: str, names: Sequence[str], types: Path | None) -> Path:
    digest = hashlib.blake2b("\n".join((_kernel(types), *names)).encode(), digest_size=12)
    return folder() / f"{label}-{digest.hexdigest()}.json"


def place_of(names: Sequence[str]) -> Path:
    """Return where the image of these files of bpf/ is kept for the running kernel, whether it is there or not."""
    return _place([sources() / name for name in names], None)


def keep(name: str, text: str) -> None:
    """Keep an image, made on another machine, under the name that `place_of` gives it here; ValueError for others."""
    if Path(name).name != name or not name.endswith(".json"):
        raise ValueError(f"expected the name of an image, got {name!r}")
    from_json(text)
    store(folder() / name, text)


def kept(name: str) -> str | None:
    """Return the text of an image by its name; None where there is none."""
    return _read(folder() / Path(name).name)


def need_no_compiler() -> None:
    """Note in the cache that all images are in it."""
    store(folder() / _COMPLETE, "")


def is_complete() -> bool:
    """Whether all images were put into the cache, so that no compiler is needed."""
    return _read(folder() / _COMPLETE) is not None


def compiled_for(types: bytes, names: Sequence[str]) -> str:
    """Compile these files of bpf/ here for another kernel, whose BTF is given; CollectError, or Unavailable."""
    from perfcheck.ebpf import bcc as bcc_package

    bcc_package.find()
    with tempfile.NamedTemporaryFile(prefix="perfcheck-types-") as file:
        file.write(types)
        file.flush()
        return _build([sources() / name for name in names], Path(file.name))


def kernel_types(types: Path | None = None) -> Btf:
    """Read the running kernel's types; Unavailable where it does not have them."""
    types = types or VMLINUX
    try:
        return Btf(types.read_bytes())
    except OSError as error:
        raise _no_types(types, error) from error


def _place(paths: Sequence[Path], types: Path | None) -> Path:
    return folder() / f"{_label([path.name for path in paths])}-{_key(paths, types)}.json"


def _label(names: Sequence[str]) -> str:
    return "-".join(name.partition(".")[0] for name in names)


def _key(paths: Sequence[Path], types: Path | None) -> str:
    digest = hashlib.blake2b(_kernel(types).encode(), digest_size=12)
    here = Path(__file__).parent
    for part in (*kernel_header.sources(*paths), *(here / name for name in _BUILDERS)):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def _kernel(types: Path | None) -> str:
    """Return a digest of a kernel's types."""
    types = types or VMLINUX
    try:
        status = types.stat()
        return _digest_of(types, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise _no_types(types, error) from error


def _no_types(types: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "the kernel's BTF", f"{types}: {error.strerror}", "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )


@functools.cache
def _digest_of(path: Path, changed_ns: int, size_bytes: int) -> str:
    """Read it once a process: there are megabytes of it, and several who ask."""
    del changed_ns, size_bytes
    return hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()


def _read(stored: Path) -> str | None:
    """Return what was stored; None where there is nothing, or where others could have written it."""
    kept = kept_files.read(stored)
    try:
        return None if kept is None else kept.decode()
    except ValueError:
        return None


def store(stored: Path, text: str) -> None:
    """Store atomically; a cache that cannot be written only costs time."""
    with contextlib.suppress(OSError):
        kept_files.keep(stored, text.encode(), mode=0o600)


def _build(paths: Sequence[Path], types: Path | None) -> str:
    argv = [sys.executable, "-P", "-m", "perfcheck.ebpf.compile", str(types or VMLINUX), *map(str, paths)]
    label = " ".join(path.name for path in paths)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CollectError(f"{label}: BCC did not end within {_BUILD_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise CollectError(f"{label} cannot be compiled: {done.stderr.strip()[-2000:]}")
    return done.stdout
