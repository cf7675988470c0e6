"""Runs a command in a guest of the kernel lab, on copies of this machine's programs and of this folder.

    python tests/vm/guest.py [--kernel NAME | --release 6.1] [--modules NAME...] -- COMMAND...

The guest counts instructions instead of time, on one CPU: each run is the same, and a busy machine only makes it
slower. What the command writes to the folder is lost at the end. A kernel of `--release` is fetched from Debian's
archive where the store does not have it.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perfcheck.collect import compiled_for
from perfcheck.errors import PerfcheckError, Unavailable
from perfcheck.kernels.debian import Archive
from perfcheck.kernels.full_image import OwnFiles, full_image
from perfcheck.kernels.guest import GuestOptions, boot
from perfcheck.kernels.job import Step
from perfcheck.kernels.machine_files import below
from perfcheck.kernels.store import Kernel, KernelStore
from perfcheck.system import commands, stop_on_signals
from perfcheck.system.printing import complain, say

FLAVOUR: Final = "cloud"
MEMORY_MB: Final = 4096
PORT: Final = "/dev/ttyS2"
NOT_OF_A_TREE: Final = frozenset({".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"})
COMPILER: Final = (Path("/usr/lib/x86_64-linux-gnu/libbcc.so.0"), Path("/usr/lib/python3/dist-packages/bcc"))
"""Tests compile BPF programs of their own in the guest."""
PROGRAMS: Final = ("ovs-dpctl",)
"""What tests compare with, where it is installed here; perfcheck itself does not call it."""


def kernel_of(name: str | None, release: str) -> Kernel:
    """Return a kernel of the store: the named one, or the release's cloud kernel, fetched where it is missing."""
    store = KernelStore.create()
    if name is not None:
        return store.get(name)
    have = [one for one in store.kernels() if one.flavour == FLAVOUR and one.release.startswith(f"{release}.")]
    return have[-1] if have else store.fetch(release, archive=Archive.open(), flavour=FLAVOUR)


def run(kernel: Kernel, command: Sequence[str], directory: Path, timeout_s: float, modules: Sequence[str] = ()) -> int:
    """Run the command in a guest, with these modules loaded, and return its exit status.

    What it writes is printed at once.
    """
    own = OwnFiles(
        files=tuple(below(directory, NOT_OF_A_TREE)),
        contents={f"var/cache/perfcheck/{name}": content for name, content in _compiled(kernel).items()},
        programs=_installed(),
        environment=COMPILER,
    )
    image = full_image(kernel, own)
    words = f"cd {shlex.quote(str(directory))} && {shlex.join(command)}"
    steps = (
        Step(kind="run", arguments=("ip", "link", "set", "lo", "up")),
        Step(kind="run", arguments=("modprobe", "tun"), may_fail=True),
        *(Step(kind="run", arguments=("modprobe", name)) for name in modules),
        Step(
            kind="run", arguments=("sh", "-c", f"({words}) >{PORT} 2>&1"), timeout_s=20 * timeout_s, may_fail=True
        ),
    )  # fmt: skip
    options = GuestOptions(memory_mb=MEMORY_MB, mapped=image.mapped, limit_s=timeout_s)
    found = boot(kernel, image.write, steps, options, said=say)
    return found.report.steps[-1].status


def _installed() -> tuple[Path, ...]:
    found = []
    for name in PROGRAMS:
        with contextlib.suppress(Unavailable):
            found.append(Path(commands.find(name)))
    return tuple(found)


def _compiled(kernel: Kernel) -> dict[str, bytes]:
    return {} if kernel.btf is None else dict(compiled_for(kernel.btf, "all", "both", events=True))


def main() -> int:
    """Run the command line's command in a guest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", metavar="NAME", help="a kernel of the store (`perfcheck kernel list`)")
    parser.add_argument("--release", default="6.12", help="else Debian's cloud kernel: 6.1, or 6.12 (default)")
    parser.add_argument("--modules", nargs="+", default=(), metavar="NAME", help="modules that the guest loads first")
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="S")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    try:
        with stop_on_signals():
            kernel = kernel_of(arguments.kernel, arguments.release)
            return run(kernel, arguments.command, Path.cwd(), arguments.timeout, arguments.modules)
    except PerfcheckError as error:
        complain(str(error))
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
