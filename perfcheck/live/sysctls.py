"""Sysctls of network namespaces of a live machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, Protocol, Self

from perfcheck.errors import Unavailable
from perfcheck.system import netns, sysctl
from perfcheck.system.netns import Mark, NetnsThread

OWN: Final = ""
"""The name of the namespace that perfctl runs in, as `FlowTable.hosts` has it."""
_OWN_PATH: Final = "/proc/self/ns/net"


class Sysctls(Protocol):
    """Reads and writes the sysctls of a namespace, which is given by its path."""

    def read(self, path: str, key: str) -> tuple[str, ...] | None:
        """Return a value's words; None where there is no such sysctl, or no such namespace."""

    def write(self, path: str, key: str, value: str) -> None:
        """Write a value; OSError is the kernel's answer."""

    def mark(self, path: str) -> Mark | None:
        """Return what tells the namespace from all others; None where there is none."""


class NamespaceSysctls:
    """The real ones; namespaces are entered by a thread of its own."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._thread = NetnsThread()

    def read(self, path: str, key: str) -> tuple[str, ...] | None:
        """Return a value's words."""
        try:
            return self._thread.inside(path, lambda: sysctl.read(key))
        except PermissionError:
            return sysctl.read(key) if _is_own(path) else None
        except OSError:
            return None

    def write(self, path: str, key: str, value: str) -> None:
        """Write a value."""
        self._thread.inside(path, lambda: sysctl.write(key, value))

    def mark(self, path: str) -> Mark | None:
        """Return the namespace's mark; Unavailable without the right to enter it."""
        try:
            return netns.mark_of(path)
        except PermissionError:
            raise Unavailable(
                f"network namespace {path}", "it may not be entered", "run as root (CAP_SYS_ADMIN)"
            ) from None
        except OSError:
            return None

    def close(self) -> None:
        """End the thread."""
        self._thread.close()

    def __enter__(self) -> Self:
        """Return the sysctls."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the thread."""
        self.close()


def path_of_host(name: str) -> str:
    """Return the path of a namespace by its name in `FlowTable.hosts`: the own one, a name of `ip netns`, a path."""
    return _OWN_PATH if name == OWN else netns.path_of(name)


def _is_own(path: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(path).stat().st_ino == Path(_OWN_PATH).stat().st_ino
    return False
