"""`perfcheck` without guests: bisects with kernels that are files, for tests that start it as a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bisect_trees import FakeStore, ReadingCompare
from scripted_session import ScriptedSession

import perfcheck.cli.bisecting
import perfcheck.runner.bisecting.kernel_list
import perfcheck.runner.bisecting.tree
from perfcheck.cli import main
from perfcheck.errors import UsageError
from perfcheck.kernels.store import Kernel


def run(words: list[str]) -> int:
    """Run the command line with measurements that read a kernel's file."""
    log = Path(os.environ["COMPARED"])
    setattr(perfcheck.cli.bisecting, "GuestComparison", lambda **_: ReadingCompare(log))  # noqa: B010
    setattr(perfcheck.cli.bisecting, "Runner", ScriptedSession())  # noqa: B010
    setattr(perfcheck.runner.bisecting.tree, "KernelStore", FakeStore)  # noqa: B010
    setattr(perfcheck.runner.bisecting.kernel_list, "stored_kernel", _stored)  # noqa: B010
    return main(words)


def _stored(name: str) -> Kernel:
    place = Path(os.environ["STORE"]) / name
    if not place.exists():
        raise UsageError(f"no kernel is called {name!r}")
    return Kernel(name=name, release="6.12.0", folder=place)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
