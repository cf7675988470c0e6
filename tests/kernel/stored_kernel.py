"""A kernel of the machine's store for tests that boot one, and the smallest image that it boots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

from lab_building import do_without

from perfcheck.cli import main
from perfcheck.errors import PerfcheckError, Unavailable
from perfcheck.kernels import guest
from perfcheck.kernels.archive import Archive
from perfcheck.kernels.image import FOLDERS
from perfcheck.kernels.programs import program
from perfcheck.kernels.store import Kernel, KernelStore
from perfcheck.system import commands

WANTED: Final = "PERFCHECK_TEST_KERNEL"
"""Name of the kernel that tests boot; without it, the newest cloud kernel of the store."""
FETCHED: Final = "6.12"
"""What is fetched from Debian where the store has none."""


def stored_kernel() -> Kernel:
    """Return the kernel to boot; without one, or without QEMU, the test is skipped, or fails where CI demands it."""
    try:
        guest.check()
        commands.find("busybox")
        store = KernelStore.create()
        name = os.environ.get(WANTED)
        if name:
            return store.get(name)
        found = [kernel for kernel in store.kernels() if kernel.flavour == "cloud"]
        if not found and main(["kernel", "fetch", FETCHED]) == 0:
            found = list(store.kernels())
    except Unavailable as lacking:
        do_without(lacking)
    except PerfcheckError as error:
        do_without(Unavailable("a kernel to boot", str(error), "perfcheck kernel fetch 6.12"))
    if not found:
        do_without(Unavailable("a kernel to boot", "the store has none", "perfcheck kernel fetch 6.12"))
    return found[-1]


def write_smallest(out: BinaryIO) -> None:
    """Write an image of init and busybox: it boots in a few seconds."""
    archive = Archive(out)
    archive.folders(FOLDERS)
    archive.file("init", program("init"), 0o755)
    archive.add_program(Path(commands.find("busybox")))
    for name in ("sh", "cat", "tail", "sleep"):
        archive.link(f"usr/bin/{name}", "/usr/bin/busybox")
    archive.finish()
