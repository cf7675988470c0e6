"""A first root file system for a guest: busybox, the modules that reach the host's files, and a script that does."""

from __future__ import annotations

import gzip
import io
import lzma
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

BUSYBOX: Final = Path("/usr/bin/busybox")
MODULES: Final = ("virtio_pci", "virtiofs", "overlay")
_SUFFIX: Final = re.compile(r"\.ko(\.xz|\.gz)?$")
_DIRECTORY: Final = 0o040755
_EXECUTABLE: Final = 0o100755
_FILE: Final = 0o100644
_CONSOLE: Final = (0o020600, (5, 1))

INIT: Final = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /bin /lower /layer /share
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules.order); do insmod /modules/$module; done
mount -t virtiofs -o ro root /lower || exit 1
mount -t virtiofs share /share || exit 1
mount -t tmpfs -o size=75% tmpfs /layer; mkdir -p /layer/upper /layer/work /new
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work overlay /new || exit 1
cd /new; mkdir -p share proc sys dev run tmp usr/lib/modules; cd /
for mounted in proc sys dev share; do mount --move /$mounted /new/$mounted; done
mount -t tmpfs tmpfs /new/run; mkdir -p /new/run/netns
mkdir -p /new/dev/pts /new/dev/shm; mount -t devpts devpts /new/dev/pts; mount -t tmpfs tmpfs /new/dev/shm
ln -s /proc/self/fd /new/dev/fd
mount -t bpf bpf /new/sys/fs/bpf 2>/dev/null; mount -t tracefs tracefs /new/sys/kernel/tracing 2>/dev/null
mount -t cgroup2 cgroup /new/sys/fs/cgroup 2>/dev/null
ip link set lo up
exec switch_root /new /bin/sh /share/run
"""


def build(modules: Path) -> bytes:
    """Give the archive for the kernel whose modules are in this directory (lib/modules/VERSION)."""
    archive = Archive()
    for name in ("bin", "modules", "dev", "proc", "sys"):
        archive.add(name, b"", _DIRECTORY)
    archive.add("dev/console", b"", _CONSOLE[0], _CONSOLE[1])
    archive.add("bin/busybox", BUSYBOX.read_bytes(), _EXECUTABLE)
    names = []
    for module in _with_dependencies(modules, MODULES):
        names.append(_SUFFIX.sub(".ko", module.name))
        archive.add(f"modules/{names[-1]}", _unpacked(module), _FILE)
    archive.add("modules.order", "\n".join(names).encode(), _FILE)
    archive.add("init", INIT.encode(), _EXECUTABLE)
    return archive.finish()


class Archive:
    """A cpio archive in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._inode = 0

    def add(self, name: str, data: bytes, mode: int, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        numbers = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        self._out.write(b"070701" + b"".join(b"%08X" % number for number in numbers) + path)
        self._out.write(b"\0" * (-(110 + len(path)) % 4) + data + b"\0" * (-len(data) % 4))

    def finish(self) -> bytes:
        self.add("TRAILER!!!", b"", 0)
        return self._out.getvalue()


def _with_dependencies(modules: Path, names: Sequence[str]) -> Sequence[Path]:
    """Give the modules in the order in which they can be loaded; what is built in is left out."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines():
        module, _, others = line.partition(":")
        needs[module] = others.split()
    by_name = {_SUFFIX.sub("", Path(module).name).replace("-", "_"): module for module in needs}
    order: dict[str, None] = {}
    for name in names:
        if name in by_name:
            module = by_name[name]
            order |= dict.fromkeys((*reversed(needs[module]), module))
    return [modules / module for module in order]


def _unpacked(module: Path) -> bytes:
    data = module.read_bytes()
    return {".xz": lzma.decompress, ".gz": gzip.decompress}.get(module.suffix, bytes)(data)
