"""What of this machine a guest needs to run perfcheck: Python, its packages, and the tools that measure."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from perfcheck.errors import Unavailable
from perfcheck.kernels.machine_files import MachineFiles, packaged_with
from perfcheck.system import commands

TOOLS: Final = (
    "ip", "tc", "ss", "nft", "ethtool", "sysctl", "kmod", "modprobe", "ping", "iperf3", "h2load", "nghttpd",
    "sockperf", "bpftool", "conntrack", "iptables",
)  # fmt: skip
"""What perfcheck or a host's setup may call; those that are not installed here are not there in the guest either."""
BASE_TOOLS: Final = (
    "sh", "bash", "env", "cat", "echo", "printf", "true", "false", "test", "sleep", "timeout", "seq", "head", "tail",
    "grep", "sed", "awk", "cut", "sort", "uniq", "tr", "wc", "dd", "ls", "cp", "mv", "rm", "mkdir", "rmdir", "chmod",
    "ln", "touch", "mktemp", "date", "kill", "ps", "xargs", "tee", "expr", "id", "uname", "stty", "mount", "umount",
    "taskset", "nice", "chrt", "setpriv", "unshare", "nsenter", "find", "basename", "dirname", "readlink", "stat", "od",
    "poweroff", "dmesg", "nproc", "yes",
)  # fmt: skip
NOT_INSTALLED: Final = frozenset({
    "__pycache__", "pip", "setuptools", "mypy", "mypyc", "ruff", "test", "tests", "idlelib", "tkinter", "turtledemo",
    "ensurepip", "lib2to3", "dist-packages", "site-packages", "node_modules", ".git",
})  # fmt: skip
"""Folders of Python's libraries that nothing needs to measure; folders of packages are added by themselves."""
VOLATILE: Final = frozenset({"mtab", "resolv.conf", "adjtime", "hostname", "hosts", "machine-id", ".pwd.lock"})
"""Files of /etc that change by themselves, and say nothing to a guest."""
_SCRIPT_BYTES: Final = 1 << 16
_BCC_PLACES: Final = (
    "/usr/lib/python3/dist-packages",
    f"/usr/lib/python3.{sys.version_info.minor}/site-packages",
    f"/usr/lib64/python3.{sys.version_info.minor}/site-packages",
)
_STATUS: Final = Path("/var/lib/dpkg/status")
_DATA: Final = (
    "/usr/share/iproute2", "/usr/lib/locale/C.utf8", "/usr/share/terminfo/d", "/usr/share/terminfo/x", "/etc",
    "/lib/terminfo",
)  # fmt: skip


def environment_files(programs: Sequence[Path] = (), more: Sequence[Path] = ()) -> MachineFiles:
    """Return what stands for the environment: Python, packages, tools, and these programs, files and folders.

    Their libraries, and what else is in the packages of programs, join them by `complete`.
    """
    files = MachineFiles()
    _add_python(files)
    files.add_programs([*_installed(TOOLS), *_installed(BASE_TOOLS), *programs])
    for folder in _DATA:
        files.add_below(Path(folder), VOLATILE)
    for path in more:
        if path.is_dir():
            files.add_below(path)
        else:
            files.add(path)
    return files


def complete(files: MachineFiles, programs: Sequence[Path] = ()) -> None:
    """Add the libraries of all programs, and what else is in the packages of the tools."""
    for path in packaged_with([*_installed(TOOLS), *programs]):
        if not path.is_dir():
            files.add(path)
    files.add_libraries(required=[*_installed(TOOLS), *programs, Path(sys.executable)])


def stand_in() -> str:
    """Return a text that changes whenever packages or libraries were installed."""
    found = []
    for path in (_STATUS, Path("/etc/ld.so.cache")):
        if path.exists():
            status = path.stat()
            found.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(found)


def _installed(names: Sequence[str]) -> list[Path]:
    found = []
    for name in names:
        try:
            found.append(Path(commands.find(name)))
        except Unavailable:
            continue
    return found


def _add_python(files: MachineFiles) -> None:
    executable = Path(sys.executable)
    files.add(executable)
    prefix = Path(sys.prefix)
    files.add(prefix / "pyvenv.cfg")
    if sys.prefix != sys.base_prefix:
        # Scripts and the links to Python, but not the compiled tools of others.
        for path in sorted(executable.parent.iterdir()):
            if path.is_symlink() or path.stat().st_size < _SCRIPT_BYTES:
                files.add(path)
    for name in ("stdlib", "platstdlib"):
        files.add_below(Path(sysconfig.get_path(name)), NOT_INSTALLED)
    for folder in _package_folders():
        for path in sorted(folder.iterdir()):
            if path.name in NOT_INSTALLED or "__mypyc" in path.name:
                continue
            if path.is_dir() and not path.is_symlink():
                files.add_below(path, NOT_INSTALLED - {"test"})
            else:
                files.add(path)
    for place in _BCC_PLACES:
        files.add_below(Path(place) / "bcc", {"__pycache__"})


def _package_folders() -> tuple[Path, ...]:
    """Return the folders of installed packages that this Python imports from."""
    names = ("site-packages", "dist-packages")
    found = [Path(entry) for entry in dict.fromkeys(sys.path) if Path(entry).name in names]
    return tuple(folder for folder in found if folder.is_dir())
