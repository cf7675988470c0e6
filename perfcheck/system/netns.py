"""Network namespaces, made and entered without forking, in the place where ip-netns(8) keeps them.

setns(2) and unshare(2) move only the calling thread, so all such work is done by a thread of
its own: the caller's thread never leaves its namespace, not even when a signal's exception
hits it in the middle.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from perfcheck.errors import LabError, Unavailable

if TYPE_CHECKING:
    from types import TracebackType

    from pyroute2 import IPRoute

NETNS_DIR: Final = Path("/run/netns")
OWN_NETNS: Final = "/proc/thread-self/ns/net"

_CLONE_NEWNET: Final = 0x40000000
_MNT_DETACH: Final = 2
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_SHARED: Final = 1 << 20

T = TypeVar("T")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc(), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


class NetnsThread:
    """A thread that makes and enters network namespaces on behalf of its callers, one call at a time.

    Netlink sockets are kept open, one a namespace. Calls may come from any thread; `close` waits for
    a call that is under way.

    Example:
        >>> with NetnsThread() as thread:                                         # doctest: +SKIP
        ...     thread.inside("/run/netns/x", lambda: Path("/proc/net/dev").read_text())
    """

    def __init__(self) -> None:
        """Start nothing yet: the thread starts with the first call."""
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns")
        self._netlink: dict[str, IPRoute] = {}

    def create(self, name: str) -> str:
        """Make a network namespace and give its path; it must have been journalled before."""
        return self._executor.submit(_create, name).result()

    def inside(self, path: str, work: Callable[[], T]) -> T:
        """Give what `work` gives when called inside the namespace."""
        return self._executor.submit(_work_inside, path, work).result()

    def netlink(self, path: str, work: Callable[[IPRoute], T], *, what: str) -> T:
        """Give what `work` gives with an rtnetlink socket of the namespace; LabError says `what` was refused."""
        return self._executor.submit(self._with_netlink, path, work, what).result()

    def close(self) -> None:
        """Close the netlink sockets and end the thread; safe to call twice."""
        with contextlib.suppress(RuntimeError):
            self._executor.submit(self._forget_all)
        self._executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        """Give the thread."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread."""
        self.close()

    # From here on: in the thread.

    def _with_netlink(self, path: str, work: Callable[[IPRoute], T], what: str) -> T:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        if path not in self._netlink:
            self._netlink[path] = _work_inside(path, IPRoute)
        try:
            return work(self._netlink[path])
        except NetlinkError as refused:
            raise LabError(f"{what}: refused by the kernel: {os.strerror(refused.code)}") from refused

    def _forget(self, path: str) -> None:
        socket = self._netlink.pop(path, None)
        if socket is not None:
            socket.close()

    def _forget_all(self) -> None:
        for path in tuple(self._netlink):
            self._forget(path)


def path_of(name: str) -> str:
    """Give the path of a named network namespace, for setns(2)."""
    return str(NETNS_DIR / name)


def inode_of(path: str) -> int:
    """Give the inode number by which the kernel (and BPF's net->ns.inum) knows a network namespace."""
    return Path(path).stat().st_ino


def remove(name: str) -> bool:
    """Remove a named network namespace; whether there was one."""
    path = path_of(name)
    found = False
    try:
        _call("umount2", os.fsencode(path), _MNT_DETACH)
        found = True
    except OSError as problem:
        # EINVAL: the file is there, but killed in between the namespace was not mounted on it yet.
        if problem.errno not in {errno.ENOENT, errno.EINVAL}:
            raise
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
        found = True
    return found


def remove_device(ifname: str) -> bool:
    """Remove a network interface of the caller's own namespace; whether there was one."""
    from pyroute2.netlink.exceptions import NetlinkError

    def delete(ip: IPRoute) -> bool:
        try:
            ip.link("del", ifname=ifname)
        except NetlinkError as refused:
            if refused.code == errno.ENODEV:
                return False
            raise OSError(refused.code, os.strerror(refused.code)) from refused
        return True

    with NetnsThread() as thread:
        return thread.netlink(OWN_NETNS, delete, what=f"removing {ifname}")


def _create(name: str) -> str:
    path = path_of(name)
    try:
        _prepare_directory()
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        with _own_namespace_kept():
            _call("unshare", _CLONE_NEWNET)
            _call("mount", OWN_NETNS.encode(), os.fsencode(path), b"none", _MS_BIND, None)
    except PermissionError as refused:
        raise Unavailable(
            "network namespaces", f"making one was refused: {refused.strerror}", "run as root (CAP_SYS_ADMIN)"
        ) from None
    except OSError as problem:
        raise LabError(f"network namespace {name} could not be made: {problem.strerror} ({problem.filename})") from None
    return path


def _prepare_directory() -> None:
    """Make /run/netns a shared mount as ip-netns(8) does, or a first `ip netns add` beside us would hide ours."""
    NETNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = os.fsencode(NETNS_DIR)
    fd = os.open(NETNS_DIR, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # ip-netns(8) takes the same lock, so that two first users do not both mount.
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            _call("mount", b"", directory, b"none", _MS_SHARED | _MS_REC, None)
        except OSError as problem:
            if problem.errno != errno.EINVAL:
                raise
            _call("mount", directory, directory, b"none", _MS_BIND | _MS_REC, None)
            _call("mount", b"", directory, b"none", _MS_SHARED | _MS_REC, None)
    finally:
        os.close(fd)


def _work_inside(path: str, work: Callable[[], T]) -> T:
    target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _own_namespace_kept():
            _call("setns", target, _CLONE_NEWNET)
            return work()
    finally:
        os.close(target)


@contextlib.contextmanager
def _own_namespace_kept() -> Iterator[None]:
    home = os.open(OWN_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _call("setns", home, _CLONE_NEWNET)
        os.close(home)


def scratch(work: Callable[[], T]) -> T:
    """Give what `work` gives when called in a nameless network namespace that ends with the call.

    For finding out what the kernel can do: nothing of it can stay behind.
    """

    def run() -> T:
        with _own_namespace_kept():
            _call("unshare", _CLONE_NEWNET)
            return work()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="scratch") as executor:
        return executor.submit(run).result()
