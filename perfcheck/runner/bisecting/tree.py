"""The kernels of a bisect by commit: each is checked out in a copy of the tree, built, and measured."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import BuildFailed, LabError, Unavailable, UsageError
from perfcheck.kernels.store import Kernel, KernelStore
from perfcheck.runner.bisecting.building import Build, build
from perfcheck.runner.bisecting.commits import COPYING_S, SHOWN, CommitOrder, described, git
from perfcheck.runner.cost import GuestKernel
from perfcheck.runner.guests import GuestSide
from perfcheck.runner.sides import Side
from perfcheck.system import Journal, new_tag
from perfcheck.system.undo import TREE_PREFIX

CONFIG: Final = ".config"
"""How the configuration of a kernel's tree is called."""


def work_base() -> Path:
    """Return where copies of trees are made: below $XDG_CACHE_HOME/perfcheck, else as other caches are."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "perfcheck" / "trees"
    root = Path("/var/cache/perfcheck") if os.geteuid() == 0 else Path.home() / ".cache" / "perfcheck"
    return root / "trees"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFolder:
    """A folder for a copy of a tree and the kernels that are built in it; it goes with its journal."""

    path: Path
    journal: Journal

    @classmethod
    @contextmanager
    def made(cls, base: Path) -> Iterator[Self]:
        """Yield a new folder; it and all processes that were started for it are gone afterwards."""
        with Journal.create(new_tag()) as journal, ExitStack() as stack:
            folder = base / f"{TREE_PREFIX}{journal.tag}"
            try:
                base.mkdir(mode=0o700, parents=True, exist_ok=True)
                _remove_left(base)
                journal.note("folder", str(folder))
                folder.mkdir(mode=0o700)
                journal.note("folder", str(folder), inode=str(folder.lstat().st_ino))
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise Unavailable(
                    f"a folder for a kernel's tree in {base}",
                    str(error.strerror),
                    "free space there, or set XDG_CACHE_HOME to a folder that you can write",
                ) from None
            yield cls(path=folder, journal=journal)

    @property
    def store(self) -> KernelStore:
        """The kernels that were built here: none of them comes into the user's store."""
        return KernelStore.create(self.path / "kernels")

    @property
    def tree(self) -> Path:
        """The copy of the tree."""
        return self.path / "tree"

    @property
    def log(self) -> Path:
        """What the last build has said."""
        return self.path / "build.log"


def _remove_left(base: Path) -> None:
    """Remove the folders of owners that are gone without a journal, as after a power cut."""
    for folder in base.glob(f"{TREE_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _nobody(text: str) -> None:
    """Tell nobody."""
    del text


@dataclass(slots=True, kw_only=True)
class KernelTree:
    """The commits of a kernel's repository from a good to a bad one, by their whole hashes.

    The repository is only read: commits are checked out and built in a copy that shares its objects. `told` is told
    what begins.
    """

    repository: Path
    good: str
    bad: str
    build: Build
    config: Path | None
    base: Path = field(default_factory=work_base)
    told: Callable[[str], None] = _nobody
    _work: WorkFolder | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def order(self) -> CommitOrder:
        """Return the order of the history."""
        return CommitOrder(self.repository)

    def described(self, candidate: str) -> str:
        """Return a commit's short hash and subject."""
        return described(self.repository, candidate)

    def __enter__(self) -> Self:
        """Make nothing yet: a bisect that is done already needs no copy."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the copy, with all that was built."""
        self._stack.close()
        self._work = None

    @contextmanager
    def built(self, candidate: str) -> Iterator[GuestSide]:
        """Check a commit out, build it, and yield it as a side; BuildFailed where it does not build."""
        work = self._copy()
        named = candidate[:SHOWN]
        self.told(f"checking out {named}")
        checkout = ("checkout", "--quiet", "--detach", "--force", candidate)
        git(work.tree, *checkout, timeout_s=COPYING_S, tag=work.journal.tag)
        self._configure(work)
        self.told(f"building {named}: {self.build}")
        build(self.build, work.tree, work.log, work.journal)
        with added(work.store, work.tree / self.build.result, candidate[:40]) as kernel:
            yield tree_side(kernel)

    def _copy(self) -> WorkFolder:
        if self._work is None:
            self.told(f"copying {self.repository}")
            work = self._stack.enter_context(WorkFolder.made(self.base))
            git(
                self.repository, "clone", "--quiet", "--shared", "--no-checkout", str(self.repository), str(work.tree),
                timeout_s=COPYING_S, tag=work.journal.tag,
            )  # fmt: skip
            self._work = work
        return self._work

    def _configure(self, work: WorkFolder) -> None:
        """Begin each build with the same configuration: what one commit makes of it is not the next one's."""
        if self.config is not None:
            try:
                shutil.copyfile(self.config, work.tree / CONFIG)
            except OSError as error:
                raise LabError(f"{self.config}: cannot be copied: {error.strerror}") from None


@contextmanager
def added(store: KernelStore, built: Path, name: str) -> Iterator[Kernel]:
    """Yield what a build has made as a kernel of the store; it is removed afterwards."""
    try:
        kernel = store.add(built, name)
    except UsageError as error:
        raise BuildFailed(f"the build has made no kernel that can be booted: {error}") from None
    try:
        yield kernel
    finally:
        store.remove([kernel.name])


def tree_side(kernel: Kernel) -> GuestSide:
    """Return a kernel that was built here as a side of a comparison."""
    side = Side(kind="kernel", text=f"kernel={kernel.name}", value=kernel.name)
    return GuestSide(side=side, guest=GuestKernel(kernel=kernel))


def config_of(repository: Path, given: Path | None, *, needed: bool) -> Path | None:
    """Return the configuration of all builds: the given file, else the tree's own; UsageError where one is needed."""
    config = given or repository / CONFIG
    if config.is_file():
        return config
    if given is not None or needed:
        raise UsageError(
            f"{config}: there is no such configuration: make one in the tree (make defconfig kvm_guest.config), or "
            "name it with --config"
        )
    return None
