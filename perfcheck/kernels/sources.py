"""The three things that `perfcheck kernel add` takes: a package, an installed kernel, a built source tree."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from perfcheck.errors import CouldNotMeasure, Unavailable, UnreadableFile, UsageError
from perfcheck.kernels.bzimage import KernelImage
from perfcheck.kernels.candidates import Candidate
from perfcheck.kernels.elf import section
from perfcheck.kernels.package import add_package, is_package, package_fields
from perfcheck.kernels.parts import Parts, add_config_file, add_folder, add_image_file, add_module
from perfcheck.system import commands
from perfcheck.system.bounded_read import read_bounded_text

INSTALLED: Final = Path("/lib/modules")
_BUILT_IMAGE: Final = Path("arch/x86/boot/bzImage")
_MAX_LIST_BYTES: Final = 16 << 20
_STRIPPED_AT_ONCE: Final = 200
_STRIP_TIMEOUT_S: Final = 300.0
_HAVE_MODULES: Final = "CONFIG_MODULES=y"
_IMAGE_PACKAGES: Final = ("linux-image-", "linux-binary-")


def gather(path: Path, folder: Path, modules: Sequence[Path] = ()) -> Parts:
    """Gather the kernel that a path stands for in `folder`; UsageError where it is none, or has no modules.

    `modules`: where the modules are, if not where they usually are: folders, or packages of their own.
    """
    if path.is_dir():
        return _built_tree(path, folder, modules)
    if is_package(path):
        return _package(path, folder, modules)
    return _installed(path, folder, modules)


def gather_packages(paths: Sequence[Path], folder: Path) -> Parts:
    """Gather a kernel out of the packages that it is divided into; UsageError where they are not all of one."""
    first, *more = sorted(paths, key=_has_no_image)
    return _package(first, folder, more)


def _has_no_image(path: Path) -> bool:
    return not package_fields(path)[0].startswith(_IMAGE_PACKAGES)


def _package(path: Path, folder: Path, modules: Sequence[Path]) -> Parts:
    name, version = package_fields(path)
    parts = Parts(folder=folder, source=str(path), origin=f"package {name} {version}", package_version=version)
    add_package(parts, path)
    if not parts.image.exists():
        raise UsageError(f"{path}: {_no_image(name)}")
    if modules:
        _add_modules(parts, modules, KernelImage.read(parts.image, path).release)
    elif not parts.module_names:
        _require_no_modules(parts, f"the package {name} has no modules; name the package that has them with --modules")
    return parts


def _no_image(name: str) -> str:
    where = f"the package {name} has no kernel image (boot/vmlinuz-RELEASE, or lib/modules/RELEASE/vmlinuz)"
    if (debians := Candidate.of(name, "", "")) is None:
        return where
    return (
        f"{where}; since 6.19 Debian's has three others: add linux-binary-{debians.release}, with --modules "
        f"linux-modules-{debians.release} and --modules linux-base-{debians.release}"
    )


def _installed(path: Path, folder: Path, modules: Sequence[Path]) -> Parts:
    """Gather an image with its modules and its config; a config that is not beside it may be inside."""
    image = KernelImage.read(path)
    parts = Parts(folder=folder, source=str(path), origin=f"image {path.absolute()}")
    add_image_file(parts, path)
    if path.name.startswith("vmlinuz"):
        add_config_file(parts, path.with_name(path.name.replace("vmlinuz", "config", 1)))
    place = INSTALLED / image.release
    if modules:
        _add_modules(parts, modules, image.release)
    elif place.is_dir():
        add_folder(parts, place)
    else:
        _require_no_modules(parts, f"its modules are not in {place}; name their folder with --modules DIR")
    return parts


def _built_tree(tree: Path, folder: Path, modules: Sequence[Path]) -> Parts:
    """Gather what a build left in a source tree, or in its output folder; nothing of it is run."""
    image = tree / _BUILT_IMAGE
    if not image.exists():
        raise UsageError(f"{tree}: not a built kernel tree: {_BUILT_IMAGE} is missing; run make bzImage modules there")
    KernelImage.read(image)
    parts = Parts(folder=folder, source=str(tree), origin=f"built tree {tree.absolute()}")
    add_image_file(parts, image)
    add_config_file(parts, tree / ".config")
    if modules:
        _add_modules(parts, modules, KernelImage.read(image).release)
        return parts
    if (tree / "modules.order").exists():
        _add_built_modules(parts, tree)
        _strip(parts)
    else:
        _require_no_modules(parts, "modules.order is missing; run make modules there")
    # A kernel without modules has these, too: guests look up in them what is built in.
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        if (tree / name).exists():
            add_module(parts, PurePosixPath(name), tree / name)
    return parts


def _add_built_modules(parts: Parts, tree: Path) -> None:
    """Add the modules that the build lists, in the folders where `make modules_install` puts them."""
    try:
        listed = read_bounded_text(tree / "modules.order", _MAX_LIST_BYTES).split()
    except UnreadableFile as error:
        raise UsageError(str(error)) from None
    order = []
    for line in listed:
        built = _built_module(tree, line)
        order.append(f"kernel/{built}\n")
        add_module(parts, "kernel" / built, tree / built)
    parts.add_module_file(PurePosixPath("modules.order"), io.BytesIO("".join(order).encode()))


def _strip(parts: Parts) -> None:
    """Take the debugging information out of modules, as INSTALL_MOD_STRIP=1 does; without binutils they stay large."""
    paths = [parts.modules / name for name in sorted(parts.module_names)]
    large = [str(path) for path in paths if _has_debugging(path.read_bytes())]
    with suppress(Unavailable):
        for start in range(0, len(large), _STRIPPED_AT_ONCE):
            argv = ["strip", "--strip-debug", *large[start : start + _STRIPPED_AT_ONCE]]
            commands.run(argv, timeout_s=_STRIP_TIMEOUT_S, error=CouldNotMeasure)


def _has_debugging(module: bytes) -> bool:
    try:
        return section(module, ".debug_info") is not None
    except ValueError:
        return False


def _built_module(tree: Path, line: str) -> PurePosixPath:
    """Return the module that a line of modules.order names, as a path in the tree.

    For fs/x.ko it is `fs/x.o` in new kernels, `fs/x.ko` in older ones, and `kernel/fs/x.ko` before 5.3.
    """
    named = PurePosixPath(line)
    if named.is_absolute() or ".." in named.parts or not named.name:
        raise UsageError(f"{tree}: modules.order names {line[:60]!a}, which is outside the tree")
    built = named.with_suffix(".ko")
    for place in (built, built.relative_to("kernel") if built.is_relative_to("kernel") else built):
        if (tree / place).exists():
            return place
    raise UsageError(f"{tree}: {built} is missing, which modules.order lists; run make modules there")


def _add_modules(parts: Parts, modules: Sequence[Path], release: str) -> None:
    """Add the modules of folders (or of root folders that have lib/modules/RELEASE), and of packages."""
    added = []
    for each in modules:
        if each.is_dir():
            places = [each / "lib/modules" / release, each / release, each]
            added.append(next(place for place in places if place.is_dir()))
            add_folder(parts, added[-1])
        elif is_package(each):
            added.append(each)
            add_package(parts, each)
        else:
            raise UsageError(f"--modules {each}: neither a folder nor a Debian package")
    if not parts.module_names:
        raise UsageError(f"--modules {', '.join(map(str, added))}: no kernel module (*.ko) is in it")


def _require_no_modules(parts: Parts, message: str) -> None:
    """Raise UsageError unless the config says that the kernel has everything built in."""
    if parts.config.exists():
        config = parts.config.read_text(encoding="utf-8", errors="replace")
        if _HAVE_MODULES not in config.splitlines() and "CONFIG_" in config:
            parts.modules.mkdir()
            return
    raise UsageError(f"{parts.source}: {message}")
