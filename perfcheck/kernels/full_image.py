"""A guest's whole system: this machine's environment, a kernel's modules, and what belongs to one run.

The environment (hundreds of MB) and the modules are file systems that the guest maps as persistent memory and reads
in place. Reading them moves no time in the guest: to it they are memory. What belongs to one run is in the archive
that the kernel unpacks. A kernel that cannot map file systems has all of it in the archive, and boots longer.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import perfcheck
from perfcheck.kernels.archive import Archive
from perfcheck.kernels.environment import complete, environment_files, stand_in
from perfcheck.kernels.file_system import TYPE, byte_code, make_image
from perfcheck.kernels.folders import environments_folder
from perfcheck.kernels.image import plain_modules, unsigned
from perfcheck.kernels.machine_files import MachineFiles
from perfcheck.kernels.modules import ModuleSet
from perfcheck.kernels.programs import program
from perfcheck.kernels.scratch import scratch_folder
from perfcheck.kernels.store import IMAGES, Kernel

FOLDERS: Final = ("dev", "proc", "sys", "run", "tmp", "root", "own", "var/tmp", "var/cache", "var/lib", "etc")
MAPPING: Final = ("nfit", "nd_pmem", "overlay", TYPE)
"""Modules with which a guest maps file systems, unless the kernel has them built in."""
MODULE_FOLDERS: Final = (
    "kernel/arch", "kernel/crypto", "kernel/lib", "kernel/net", "kernel/fs", "kernel/security", "kernel/block",
    "kernel/drivers/block", "kernel/drivers/char", "kernel/drivers/dax", "kernel/drivers/net", "kernel/drivers/nvdimm",
    "kernel/drivers/ptp", "kernel/drivers/vhost", "kernel/drivers/virtio",
)  # fmt: skip
NO_MODULE_FOLDERS: Final = (
    "kernel/drivers/net/ethernet", "kernel/drivers/net/wireless", "kernel/drivers/net/usb", "kernel/drivers/net/can",
    "kernel/drivers/net/wwan", "kernel/drivers/net/phy", "kernel/drivers/net/dsa",
)  # fmt: skip
"""Of hardware that no guest has."""
MOST_ENVIRONMENTS: Final = 3
"""Of which images are kept: hundreds of MB each."""
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFiles:
    """What belongs to one run: perfcheck's own files are added by themselves.

    `contents` are written by their path in the guest. `files` are copied from this machine. `programs`, and the files
    and folders of `environment`, go with their libraries into the environment's image, which is made once: a scenario
    names the same ones each time.
    """

    contents: Mapping[str, bytes] = field(default_factory=dict)
    files: Sequence[Path] = ()
    programs: Sequence[Path] = ()
    environment: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FullImage:
    """What a guest boots from: the file systems that it maps, and the archive, which is written for each guest."""

    kernel: Kernel
    own: OwnFiles
    mapped: tuple[Path, ...]

    def write(self, out: BinaryIO) -> None:
        """Write the archive."""
        _write_archive(out, self.kernel, self.own, self.mapped)


def full_image(kernel: Kernel, own: OwnFiles) -> FullImage:
    """Return the image of a run; the file systems are made once and kept."""
    if missing_to_map(ModuleSet.of(kernel)):
        return FullImage(kernel=kernel, own=own, mapped=())
    return FullImage(
        kernel=kernel, own=own, mapped=(modules_image(kernel), environment_image(own.programs, own.environment))
    )


def environment_image(programs: Sequence[Path] = (), more: Sequence[Path] = ()) -> Path:
    """Return the file system with Python, packages and tools of this machine, made once for each state of it."""
    files = environment_files(programs, more)
    key = files.digest(str(_VERSION), stand_in(), *map(str, programs))
    kept = environments_folder() / f"environment-{key}.{TYPE}"
    if kept.exists():
        os.utime(kept)
        return kept
    complete(files, programs)
    make_image(kept, files.paths, FOLDERS)
    _forget_old(kept)
    return kept


def _forget_old(kept: Path) -> None:
    """Remove images of environments that were used longest ago; a guest that maps one keeps it to its end."""
    others = sorted(kept.parent.glob(f"environment-*.{TYPE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [each for each in others if each != kept][MOST_ENVIRONMENTS - 1 :]:
        path.unlink(missing_ok=True)


def modules_image(kernel: Kernel) -> Path:
    """Return the file system with a kernel's modules, made once a kernel."""
    index = (kernel.modules / "modules.dep").stat()
    key = hashlib.blake2b(f"{_VERSION} {kernel.release} {index.st_size} {index.st_mtime_ns}".encode(), digest_size=8)
    kept = kernel.cache / IMAGES / f"modules-{key.hexdigest()}.{TYPE}"
    if kept.exists():
        return kept
    with scratch_folder() as folder:
        files: dict[str, Path] = {}
        for relative, content in plain_modules(kernel, _chosen_modules(ModuleSet.of(kernel))):
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            files[f"usr/lib/modules/{kernel.release}/{relative}"] = path
        make_image(kept, files)
    return kept


def _chosen_modules(modules: ModuleSet) -> list[str]:
    wanted, unwanted = (tuple(f"{name}/" for name in names) for names in (MODULE_FOLDERS, NO_MODULE_FOLDERS))
    folders = {name: f"{modules.folder_of(name)}/" for name in modules.names}
    return [name for name, folder in folders.items() if folder.startswith(wanted) and not folder.startswith(unwanted)]


def missing_to_map(modules: ModuleSet) -> tuple[str, ...]:
    """Return what a kernel lacks to map file systems."""
    return tuple(name for name in MAPPING if not modules.has(name))


def _write_archive(out: BinaryIO, kernel: Kernel, own: OwnFiles, layers: Sequence[Path]) -> None:
    archive = Archive(out)
    archive.folders(FOLDERS)
    archive.file("init", program("init"), 0o755)
    below_root = ""
    if layers:
        below_root = "own/"
        steps = []
        modules = ModuleSet.of(kernel)
        for number, module in enumerate(modules.closure(MAPPING)):
            path = f"boot/{number:02}-{module.name}.ko"
            archive.file(path, unsigned(modules.content(module)))
            steps.append(f"{'module' if module.required else 'offer'} /{path}")
        steps += [f"layer /dev/pmem{number} {TYPE}" for number in range(len(layers))]
        archive.file("root.steps", "".join(f"{step}\n" for step in steps).encode())
    else:
        _add_all(archive, kernel, own)
    for inside, content in own.contents.items():
        archive.file(f"{below_root}{inside}", content)
    _add_files(archive, _package(), below_root)
    files = MachineFiles()
    for named in own.files:
        files.add(named)
    _add_files(archive, files.paths, below_root)
    archive.finish()


def _package() -> Mapping[str, Path]:
    """Return perfcheck's own files."""
    package = Path(perfcheck.__file__).parent
    files = MachineFiles()
    files.add_below(package, {"__pycache__"})
    files.add_below(package.parent / "bpf")
    return files.paths


def _add_files(archive: Archive, paths: Mapping[str, Path], below_root: str) -> None:
    """Add files, and byte code beside Python's sources."""
    for inside, path in paths.items():
        archive.put(f"{below_root}{inside}", path)
        if path.suffix == ".py" and (code := byte_code(path, f"/{inside}")) is not None:
            archive.file(f"{below_root}{importlib.util.cache_from_source(inside)}", code)


def _add_all(archive: Archive, kernel: Kernel, own: OwnFiles) -> None:
    """Add what guests map otherwise."""
    files = environment_files(own.programs, own.environment)
    complete(files, own.programs)
    _add_files(archive, files.paths, "")
    for relative, content in plain_modules(kernel, _chosen_modules(ModuleSet.of(kernel))):
        archive.file(f"usr/lib/modules/{kernel.release}/{relative}", content)
