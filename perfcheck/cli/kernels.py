"""`perfcheck kernel`: fetch, add, list and remove the kernels that guests boot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from perfcheck.cli.stage_line import StageLine
from perfcheck.errors import UsageError
from perfcheck.output.terminal import console_for
from perfcheck.system.printing import complain, say, say_json
from perfcheck.system.signals import stop_on_signals

if TYPE_CHECKING:
    from perfcheck.kernels.candidates import Candidate
    from perfcheck.kernels.debian import Archive
    from perfcheck.kernels.store import Kernel, KernelStore

_DEFAULT_FLAVOUR: Final = "cloud"
_MB: Final = 1_000_000


def fetch_kernel(arguments: argparse.Namespace) -> int:
    """Fetch a kernel from Debian into the store, or list what could be fetched."""
    from perfcheck.kernels.apt import OutdatedLists
    from perfcheck.kernels.debian import Archive

    if arguments.release is None and not arguments.list:
        raise UsageError("name a release such as 6.12, or give --list")
    with stop_on_signals(), StageLine() as progress:
        archive = Archive.open(arguments.suite, arguments.mirror, progress)
        if arguments.list:
            progress.clear()
            return _list_candidates(archive, arguments.release or "", arguments.flavour)
        before = {kernel.name for kernel in _store().kernels()}
        try:
            kernel = _fetched(arguments, archive, progress)
        except OutdatedLists:
            # The machine's lists are renewed by others, and not here.
            if arguments.suite is not None or arguments.mirror is not None:
                raise
            kernel = _fetched(arguments, Archive.open(progress=progress, fresh=True), progress)
    say(f"{_described(kernel)}{' (was in the store already)' if kernel.name in before else ''}")
    return 0


def _fetched(arguments: argparse.Namespace, archive: Archive, progress: StageLine) -> Kernel:
    return _store().fetch(
        arguments.release, archive=archive, flavour=arguments.flavour or _DEFAULT_FLAVOUR, name=arguments.name,
        progress=progress,
    )  # fmt: skip


def add_kernel(arguments: argparse.Namespace) -> int:
    """Add a kernel of the user's to the store."""
    with stop_on_signals(), StageLine() as progress:
        kernel = _store().add(
            arguments.path, arguments.name, modules=arguments.modules, progress=progress
        )  # fmt: skip
    say(_described(kernel))
    return 0


def list_kernels(arguments: argparse.Namespace) -> int:
    """List the kernels of the store; what is damaged is told on standard error."""
    store = _store()
    kernels = store.kernels()
    for problem in store.damaged():
        complain(f"perfcheck: {problem}")
    if arguments.json:
        say_json(json.dumps([_as_json(kernel) for kernel in kernels], indent=1))
        return 0
    if not kernels:
        say(f"no kernel in {store.folder}; `perfcheck kernel fetch 6.12` gets one from Debian")
        return 0
    table = Table(box=None, header_style="bold")
    for heading in ("name", "release", "flavour", "BTF", "modules", "size", "caches", "in use", "origin"):
        right = heading in {"modules", "size", "caches"}
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading in {"name", "release"})
    for kernel in kernels:
        cells = (
            kernel.name, kernel.release, kernel.flavour, "yes" if kernel.btf else "no", str(kernel.module_count()),
            _megabytes(kernel.size_bytes()), _megabytes(kernel.cache_bytes()), "yes" if kernel.is_in_use() else "",
            kernel.origin,
        )  # fmt: skip
        table.add_row(*map(Text, cells))
    console_for().print(table)
    return 0


def remove_kernels(arguments: argparse.Namespace) -> int:
    """Remove kernels and what was made of them."""
    for name in _store().remove(arguments.names):
        say(f"{name}: removed")
    return 0


def _store() -> KernelStore:
    # Not above: reading packages and images takes modules that no other command needs.
    from perfcheck.kernels.store import KernelStore

    return KernelStore.create()


def _list_candidates(archive: Archive, series: str, flavour: str | None) -> int:
    found = archive.listed(series, flavour)
    if not found:
        raise UsageError(f"{archive.where} has no such kernel; `perfcheck kernel fetch --list` lists all")
    table = Table("release", "flavours", "version", "suite", box=None, header_style="bold")
    for row in _by_release(found):
        table.add_row(*map(Text, row))
    console_for().print(table)
    return 0


def _by_release(candidates: Sequence[Candidate]) -> list[tuple[str, str, str, str]]:
    """Return a row for each release, with its flavours."""
    releases = list(dict.fromkeys((each.abi, each.version, each.suite) for each in candidates))
    return [
        (abi, ", ".join(each.flavour for each in candidates if (each.abi, each.version) == (abi, version)), version,
         suite)
        for abi, version, suite in releases
    ]  # fmt: skip


def _described(kernel: Kernel) -> str:
    types = "" if kernel.btf else "; it has no BTF, so that perfcheck's collectors do not work in it"
    return (
        f"{kernel.name}: Linux {kernel.release}, {kernel.module_count()} modules, "
        f"{_megabytes(kernel.size_bytes())}{types}"
    )


def _as_json(kernel: Kernel) -> dict[str, object]:
    return {
        "name": kernel.name, "release": kernel.release, "flavour": kernel.flavour, "btf": kernel.btf is not None,
        "config": kernel.config is not None, "modules": kernel.module_count(), "size_bytes": kernel.size_bytes(),
        "cache_bytes": kernel.cache_bytes(), "in_use": kernel.is_in_use(), "origin": kernel.origin,
        "package_version": kernel.package_version, "image_sha256": kernel.image_sha256,
        "added_at": kernel.added_at.isoformat() if kernel.added_at else None, "folder": str(kernel.folder),
    }  # fmt: skip


def _megabytes(size: int) -> str:
    return f"{size / _MB:.0f} MB" if size else ""
