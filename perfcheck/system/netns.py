"""Network namespaces, created and entered without a fork, in the folder of ip-netns(8).

setns(2) and unshare(2) move only the calling thread, so a separate thread does all such work. The caller's thread
never leaves its namespace, not even when a signal raises an exception in the middle.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from perfcheck.errors import LabError, Unavailable

if TYPE_CHECKING:
    from types import TracebackType

    from pyroute2 import IPRoute

    from perfcheck.model.seams import UndoLog

NETNS_DIR: Final = Path("/run/netns")
OWN_NETNS: Final = "/proc/thread-self/ns/net"

_CLONE_NEWNET: Final = 0x40000000
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_SHARED: Final = 1 << 20
_SO_NETNS_COOKIE: Final = 71
"""include/uapi/asm-generic/socket.h, since Linux 5.14"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What tells one network namespace from every other of this boot.

    The kernel gives the inode number of a removed namespace to the next one. It never uses a cookie twice.
    """

    inode: int
    cookie: int | None

    def detail(self) -> Mapping[str, str]:
        """Return the mark as a journal's note holds it."""
        return {"inode": str(self.inode)} | ({} if self.cookie is None else {"cookie": str(self.cookie)})

    @classmethod
    def of(cls, detail: Mapping[str, str]) -> Mark | None:
        """Return the mark in a journal's note, or None where there is none."""
        try:
            cookie = detail.get("cookie")
            return cls(inode=int(detail["inode"]), cookie=None if cookie is None else int(cookie))
        except (KeyError, ValueError):
            return None


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

    def create(self, name: str, undo: UndoLog) -> Mark:
        """Make a network namespace and return its mark; `undo` knows both before it has a name."""
        return self._executor.submit(_create, name, undo).result()

    def call(self, work: Callable[[], T]) -> T:
        """Return what `work` returns when called in this thread, in the namespace of the caller."""
        return self._executor.submit(work).result()

    def inside(self, path: str, work: Callable[[], T]) -> T:
        """Return what `work` gives when called inside the namespace."""
        return self._executor.submit(_work_inside, path, work).result()

    def netlink(self, path: str, work: Callable[[IPRoute], T], *, what: str) -> T:
        """Return what `work` gives with an rtnetlink socket of the namespace; LabError says `what` was refused."""
        return self._executor.submit(self._with_netlink, path, work, what).result()

    def close(self) -> None:
        """Close the netlink sockets and end the thread; safe to call twice."""
        with contextlib.suppress(RuntimeError):
            self._executor.submit(self._forget_all)
        self._executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        """Return the thread."""
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
    """Return the path of a named network namespace, for setns(2)."""
    return str(NETNS_DIR / name)


def inode_of(path: str) -> int:
    """Return the inode number by which the kernel (and BPF's net->ns.inum) knows a network namespace."""
    return Path(path).stat().st_ino


def mark_of(path: str) -> Mark:
    """Return the mark of the network namespace at a path; OSError where there is none or it cannot be entered."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mark") as executor:
        return executor.submit(_work_inside, path, _own_mark).result()


def remove(name: str, mark: Mark | None) -> bool:
    """Remove a named network namespace; False where there is none of this name and mark.

    What else has the name is left alone: another namespace, a link, a file with content. An empty file is
    what a process leaves that was killed between making the file and mounting the namespace on it.
    """
    path = path_of(name)
    found = False
    with contextlib.suppress(FileNotFoundError):
        if _is_namespace(path):
            if mark is None or Path(path).lstat().st_ino != mark.inode or mark_of(path) != mark:
                return False
            _detach(path)
            found = True
        status = Path(path).lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size == 0 and status.st_uid == os.geteuid():
            Path(path).unlink()
            found = True
    return found


def _is_namespace(path: str) -> bool:
    return Path(path).lstat().st_dev == Path("/proc/self/ns/net").stat().st_dev


def _detach(path: str) -> None:
    try:
        _call("umount2", os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW)
    except OSError as problem:
        # Somebody beside us has unmounted it.
        if problem.errno not in {errno.ENOENT, errno.EINVAL}:
            raise


def _own_mark() -> Mark:
    cookie = None
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        cookie = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
    return Mark(inode=inode_of(OWN_NETNS), cookie=cookie)


def _create(name: str, undo: UndoLog) -> Mark:
    path = path_of(name)
    try:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        _prepare_directory()
        with _own_namespace_kept():
            _call("unshare", _CLONE_NEWNET)
            # Noted while it has no name and ends with this thread: an undo never has to guess whose it is.
            mark = _own_mark()
            undo.note("netns", name, **mark.detail())
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
            _call("mount", OWN_NETNS.encode(), os.fsencode(path), b"none", _MS_BIND, None)
    except PermissionError as refused:
        raise Unavailable(
            "network namespaces", f"the kernel refuses to create one: {refused.strerror}", "run as root (CAP_SYS_ADMIN)"
        ) from None
    except OSError as problem:
        raise LabError(
            f"network namespace {name} could not be created: {problem.strerror} ({problem.filename})"
        ) from None
    return mark


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
        if os.path.samestat(os.fstat(target), os.stat(OWN_NETNS)):  # noqa: PTH116 - called at each look
            return work()  # to enter one's own takes a right that nothing here needs
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
    """Return what `work` gives when called in a nameless network namespace that ends with the call.

    For finding out what the kernel can do: nothing of it can stay behind.
    """

    def run() -> T:
        with _own_namespace_kept():
            _call("unshare", _CLONE_NEWNET)
            return work()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="scratch") as executor:
        return executor.submit(run).result()
