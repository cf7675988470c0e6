"""Journals and a kernel for tests of what a `clean` makes of them."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from perfcheck.system import cgroup, netns
from perfcheck.system.netns import Mark
from perfcheck.system.processes import boot_id

TAG = "ab12cd34"
DEAD = {"owner": {"pid": 2**22 + 7, "start_ticks": 1, "boot": boot_id()}}


class Machine:
    """Stands in for the kernel: namespaces and control groups by name, so that undoing them can be seen."""

    def __init__(self) -> None:
        self.netns = {f"pc-{TAG}-client", f"pc-{TAG}-server", "pc-other-host"}
        self.groups = {f"/cg/pc-{TAG}", "/cg/user.slice"}
        self.refuse: set[str] = set()

    def remove(self, name: str, mark: Mark | None) -> bool:
        del mark
        if name in self.refuse:
            raise OSError(errno.EBUSY, "Device or resource busy")
        found = name in self.netns
        self.netns.discard(name)
        return found

    def remove_group(self, group: Path) -> bool:
        found = str(group) in self.groups
        self.groups.discard(str(group))
        return found


@contextmanager
def machine() -> Iterator[Machine]:
    fake = Machine()
    with (
        patch.object(netns, "remove", fake.remove),
        patch.object(cgroup, "remove", fake.remove_group),
        patch.object(cgroup, "ours", lambda group, inode: inode == 7 and str(group) in fake.groups),
    ):
        yield fake


@contextmanager
def run_directory() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


NOTES = [
    {"kind": "cgroup", "name": f"/cg/pc-{TAG}", "inode": "7"},
    {"kind": "netns", "name": f"pc-{TAG}-client"},
    {"kind": "process", "name": "iperf3"},
    {"kind": "netns", "name": f"pc-{TAG}-server"},
]
