"""A small guest image: init, the load program, network tools and the kernel's network modules."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from perfcheck.errors import LabError, Unavailable
from perfcheck.kernels.archive import Archive
from perfcheck.kernels.folders import writing
from perfcheck.kernels.libraries import libraries_of
from perfcheck.kernels.modules import ModuleSet
from perfcheck.kernels.programs import program
from perfcheck.kernels.scratch import scratch_folder
from perfcheck.kernels.store import IMAGES, Kernel
from perfcheck.system import commands
from perfcheck.system.files import replacing

PROGRAMS: Final = ("ip", "tc", "nft", "ethtool", "sysctl")
"""What a cost scenario's hosts may need; commands of the file itself join them."""
FOLDERS: Final = ("dev", "proc", "sys", "run", "tmp", "root", "usr/bin", "usr/sbin", "usr/lib", "etc")
APPLETS: Final = ("modprobe", "sh", "cat", "sleep", "true", "false")
"""Of busybox: the kernel calls modprobe, and hosts' own commands may be small ones."""
MODULE_FOLDERS: Final = (
    "kernel/net/ipv4", "kernel/net/ipv6", "kernel/net/netfilter", "kernel/net/sched", "kernel/net/core",
    "kernel/net/bridge", "kernel/net/openvswitch", "kernel/net/8021q", "kernel/net/unix",
)  # fmt: skip
NO_MODULES: Final = ("kernel/net/netfilter/ipvs/", "kernel/net/netfilter/ipset/")
MODULES: Final = ("veth", "ifb", "dummy", "tun", "vxlan", "macvlan", "bonding", "act_mirred", "tcp_diag", "inet_diag")
SIGNED: Final = b"~Module signature appended~\n"
_LAYOUT_VERSION: Final = 4


def small_image(kernel: Kernel, extra: Sequence[str] = ()) -> Path:
    """Return the image for a kernel and the programs `extra`, made once and kept beside the kernel.

    Unavailable for a program that is not installed here, and where the store cannot be written.
    """
    tools = [Path(commands.find(name)) for name in dict.fromkeys((*PROGRAMS, *extra))]
    kept = kernel.cache / IMAGES / f"small-{_key(kernel, tools)}.cpio"
    if kept.exists():
        return kept
    with writing(kernel.folder.parent):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept, durable=False) as descriptor, open(descriptor, "wb", closefd=False) as out:
            _write(out, kernel, tools)
    return kept


def _key(kernel: Kernel, tools: Iterable[Path]) -> str:
    """Return a digest of all that the image is made of; a program stands for its libraries' versions, too."""
    digest = hashlib.blake2b(str(_LAYOUT_VERSION).encode(), digest_size=12)
    for name in ("init", "load", "symbols"):
        digest.update(program(name))
    for tool in tools:
        for path in (tool, *libraries_of(Path(os.path.realpath(tool)))):
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    digest.update(f"{kernel.release} {kernel.image.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def _write(out: BinaryIO, kernel: Kernel, tools: Iterable[Path]) -> None:
    archive = Archive(out)
    archive.folders(FOLDERS)
    archive.file("init", program("init"), 0o755)
    archive.file("usr/bin/load", program("load"), 0o755)
    archive.file("usr/bin/symbols", program("symbols"), 0o755)
    archive.add_program(_busybox())
    for applet in APPLETS:
        archive.link(f"usr/sbin/{applet}", "/usr/bin/busybox")
    for tool in tools:
        archive.add_program(tool)
    for data in ("/etc/protocols", "/etc/services", "/etc/iproute2", "/usr/share/iproute2"):
        for path in _below(Path(data)):
            archive.add(path)
    modules = ModuleSet.of(kernel)
    wanted = [name for name in modules.names if _is_wanted(modules.folder_of(name), name)]
    for name, content in plain_modules(kernel, wanted):
        # The binary indexes are for another modprobe.
        if not name.endswith(".bin"):
            archive.file(f"usr/lib/modules/{kernel.release}/{name}", content)
    archive.finish()


def _busybox() -> Path:
    try:
        return Path(commands.find("busybox"))
    except Unavailable:
        raise Unavailable("busybox", "there is no such command in PATH", "apt-get install busybox-static") from None


def _below(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        for below in sorted(path.iterdir()):
            yield from _below(below)
    elif path.exists():
        yield path


def plain_modules(kernel: Kernel, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield modules by their files below lib/modules/RELEASE, as a guest loads them, with the index of modprobe."""
    modules = ModuleSet.of(kernel)
    with scratch_folder() as folder:
        tree = folder / "lib" / "modules" / kernel.release
        for module in modules.closure(names):
            relative = module.path.relative_to(kernel.modules)
            target = tree / relative.parent / (relative.name.partition(".ko")[0] + ".ko")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(unsigned(modules.content(module)))
        tree.mkdir(parents=True, exist_ok=True)
        for index in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            if (kernel.modules / index).exists():
                shutil.copy(kernel.modules / index, tree / index)
        commands.run([commands.find("depmod"), "-b", str(folder), kernel.release], timeout_s=60.0, error=LabError)
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(tree)), path.read_bytes()


def _is_wanted(folder: str, name: str) -> bool:
    below = f"{folder}/"
    if name in MODULES:
        return True
    return below.startswith(tuple(f"{each}/" for each in MODULE_FOLDERS)) and not below.startswith(NO_MODULES)


def unsigned(module: bytes) -> bytes:
    """Return a module without its signature, whose check would take most of the time of loading it.

    At its end: the signature, 12 bytes of which the last 4 are its length (big-endian), and a mark
    (include/linux/module_signature.h).
    """
    if not module.endswith(SIGNED):
        return module
    at = len(module) - len(SIGNED)
    return module[: at - 12 - int.from_bytes(module[at - 4 : at], "big")]
