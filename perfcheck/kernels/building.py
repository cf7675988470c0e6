"""Makes a kernel of the store from its gathered parts: types, lists of modules, description."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from perfcheck.errors import CouldNotMeasure, Unavailable, UsageError
from perfcheck.kernels.bzimage import KernelImage, embedded_config, kernel_types
from perfcheck.kernels.compression import decompress
from perfcheck.kernels.description import Description
from perfcheck.kernels.names import check_name, default_name, flavour_of
from perfcheck.kernels.parts import MAX_MODULE_BYTES, Parts
from perfcheck.system import commands

_INDEX_TIMEOUT_S: Final = 300.0
_VERMAGIC: Final = re.compile(rb"vermagic=([!-~]{1,80}) ")
_MODULE_GLOB: Final = "*.ko*"


def build(parts: Parts, work: Path, *, name: str | None, added_at: datetime) -> Path:
    """Return a folder below `work` that is complete as a kernel of the store; UsageError for parts that do not fit.

    `name`: None for the one that the release gives.
    """
    image = KernelImage.read(parts.image, Path(parts.source))
    vmlinux = image.vmlinux()
    types = kernel_types(image, vmlinux)
    if not parts.config.exists() and (config := embedded_config(vmlinux)) is not None:
        parts.config.write_bytes(config)
    del vmlinux
    finished = work / "kernel"
    finished.mkdir()
    parts.image.rename(finished / "vmlinuz")
    if parts.config.exists():
        parts.config.rename(finished / "config")
    if types is not None:
        (finished / "btf").write_bytes(types)
    parts.modules.mkdir(exist_ok=True)
    _check_release(parts, image.release)
    _index(parts.modules, image.release, work)
    parts.modules.rename(finished / "modules")
    description = Description(
        name=check_name(name or default_name(image.release)), release=image.release,
        flavour=flavour_of(image.release), origin=parts.origin,
        package_version=parts.package_version, image_sha256=image.digest(), added_at=added_at,
    )  # fmt: skip
    description.write(finished)
    return finished


def _check_release(parts: Parts, release: str) -> None:
    """Raise UsageError where the modules were built for another kernel than the image: it would refuse them."""
    for path in sorted(parts.modules.rglob(_MODULE_GLOB)):
        try:
            content = path.read_bytes()
            module = content if path.suffix == ".ko" else decompress(content, MAX_MODULE_BYTES)
        except ValueError as error:
            raise UsageError(f"{parts.source}: {path.relative_to(parts.folder)}: {error}") from None
        found = _VERMAGIC.search(module)
        if found is None:
            raise UsageError(f"{parts.source}: {path.relative_to(parts.folder)}: not a kernel module (no vermagic)")
        built_for = found[1].decode("ascii")
        if built_for != release:
            raise UsageError(f"{parts.source}: the image is {release}, but its modules are of {built_for}")
        return


def _index(modules: Path, release: str, work: Path) -> None:
    """Run depmod on the modules; those that Debian's depmod cannot read (*.ko.gz) are decompressed before."""
    for path in sorted(modules.rglob("*.ko.gz")):
        try:
            path.with_suffix("").write_bytes(decompress(path.read_bytes(), MAX_MODULE_BYTES))
        except ValueError as error:
            raise UsageError(f"modules/{path.relative_to(modules)}: {error}") from None
        path.unlink()
    place = work / "root/lib/modules" / release
    place.parent.mkdir(parents=True)
    modules.rename(place)
    commands.run(["depmod", "-b", str(work / "root"), release], timeout_s=_INDEX_TIMEOUT_S, error=CouldNotMeasure)
    if not (place / "modules.dep").read_bytes() and any(place.rglob(_MODULE_GLOB)):
        raise Unavailable(
            "an index of the modules", "depmod cannot read the way in which they are compressed", "update kmod"
        )
    place.rename(modules)
