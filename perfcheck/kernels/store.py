"""The store of kernels: folders by name, each complete or absent, in a folder of the user's."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import Unavailable, UsageError
from perfcheck.kernels import folders
from perfcheck.kernels.building import build
from perfcheck.kernels.candidates import Candidate
from perfcheck.kernels.debian import Archive
from perfcheck.kernels.debian_version import version_key
from perfcheck.kernels.description import FILE, Description
from perfcheck.kernels.names import check_name, default_name
from perfcheck.kernels.parts import Parts
from perfcheck.kernels.progress import NoProgress, Progress
from perfcheck.kernels.sources import gather, gather_packages
from perfcheck.system.files import UNFINISHED

_CACHE: Final = "cache"
IMAGES: Final = "images"
"""The folder of a kernel's cache with the images that guests boot from."""
_FILES: Final = ("vmlinuz", "config", "btf", "modules", FILE)
"""What a kernel consists of; all else in its folder was made of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel of the store: its name there, its release (what `uname -r` says), and its files."""

    name: str
    release: str
    folder: Path
    flavour: str = ""
    origin: str = ""
    package_version: str | None = None
    image_sha256: str = ""
    added_at: datetime | None = None

    @property
    def image(self) -> Path:
        """The bootable image."""
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        """What belongs into /lib/modules/RELEASE, indexed by depmod."""
        return self.folder / "modules"

    @property
    def config(self) -> Path | None:
        """The config, or None where it is unknown."""
        path = self.folder / "config"
        return path if path.exists() else None

    @property
    def btf(self) -> Path | None:
        """The kernel's types (BTF), or None where it was built without."""
        path = self.folder / "btf"
        return path if path.exists() else None

    @property
    def cache(self) -> Path:
        """Where what is made of this kernel may be kept; it goes with the kernel, and may be missing."""
        return self.folder / _CACHE

    def size_bytes(self) -> int:
        """Return the size of its files without what was made of them."""
        return sum(_size_bytes(self.folder / name) for name in _FILES)

    def cache_bytes(self) -> int:
        """Return the size of all that was made of it and kept."""
        return _size_bytes(self.folder) - self.size_bytes()

    def module_count(self) -> int:
        """Return how many modules it has."""
        try:
            return (self.modules / "modules.dep").read_bytes().count(b"\n")
        except OSError:
            return 0

    def is_in_use(self) -> bool:
        """Return whether a guest runs it."""
        with folders.only_user(self.folder) as alone:
            return not alone

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the kernel from being removed while the block runs."""
        with folders.in_use(self.folder):
            if not (self.folder / FILE).exists():
                raise UsageError(f"the kernel {self.name} was removed")
            yield


class KernelStore:
    """Kernels by name. What a killed process left unfinished is removed by the next one that writes.

    Example:
        >>> store = KernelStore.create()
        >>> store.add(Path("/boot/vmlinuz-6.12.117+deb12-cloud-amd64")).name     # doctest: +SKIP
        '6.12.117-cloud'
    """

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        """Take the folder, which may be missing, and a clock; see `create`."""
        self.folder = folder
        self._now = now

    @classmethod
    def create(cls, directory: Path | None = None) -> Self:
        """Return the store in `directory`, or in the user's folder (folders.store_folder)."""
        return cls(directory or folders.store_folder(), lambda: datetime.now(UTC))

    def kernels(self) -> tuple[Kernel, ...]:
        """Return all kernels in the order of their versions; folders that are none are left out, see `damaged`."""
        return tuple(kernel for folder in self._folders() if isinstance(kernel := _read(folder), Kernel))

    def damaged(self) -> tuple[str, ...]:
        """Return what is wrong with folders that should be kernels."""
        found = [_read(folder) for folder in self._folders()]
        return tuple(str(problem) for problem in found if isinstance(problem, UsageError))

    def get(self, name: str) -> Kernel:
        """Return the kernel of this name; UsageError names those that there are."""
        folder = self.folder / check_name(name)
        if not folder.is_dir():
            raise UsageError(self._unknown(name))
        kernel = _read(folder)
        if isinstance(kernel, UsageError):
            raise UsageError(f"{kernel}. Remove it with `perfcheck kernel remove {name}`, and add it again")
        return kernel

    def add(
        self, path: Path, name: str | None = None, *, modules: Sequence[Path] = (), progress: Progress | None = None
    ) -> Kernel:
        """Add a package, an image with its modules, or a built source tree; see `sources.gather`.

        `name`: default: made of the release, e.g. 6.12.117-cloud.
        """
        if name is not None:
            self._require_free(check_name(name))
        with self._work() as work:
            progress = progress or NoProgress()
            progress.stage(f"reading {path}")
            return self._finish(gather(path, _parts_folder(work), modules), work, name, progress)

    def fetch(
        self, release: str, *, archive: Archive, flavour: str, name: str | None = None,
        progress: Progress | None = None,
    ) -> Kernel:  # fmt: skip
        """Fetch a kernel of Debian's; the one that is there already where name and version are the same.

        `release`: 6.12 for the newest of a series, or an exact one: 6.12.107+deb12, 6.1.0-56.
        """
        if name is not None:
            check_name(name)
        progress = progress or NoProgress()
        candidate = archive.find(release, flavour)
        name = name or default_name(candidate.release)
        if (present := self._same(name, candidate)) is not None:
            return present
        self._require_free(name)
        with self._work() as work:
            progress.stage(f"fetching {candidate.package} {candidate.version}")
            packages = archive.download(candidate, work, progress.share)
            progress.stage(f"unpacking {candidate.package}")
            parts = gather_packages(packages, _parts_folder(work))
            parts.origin = candidate.origin()
            for package in packages:
                package.unlink()
            return self._finish(parts, work, name, progress)

    def remove(self, names: Sequence[str]) -> tuple[str, ...]:
        """Remove kernels, damaged ones too, with their caches: all or none; return their names.

        UsageError where one is unknown or in use.
        """
        places = [self.folder / check_name(name) for name in dict.fromkeys(names)]
        with ExitStack() as held:
            for place in places:
                if not place.is_dir():
                    raise UsageError(self._unknown(place.name))
                if not held.enter_context(folders.only_user(place)):
                    raise UsageError(f"the kernel {place.name} is in use by a running guest; nothing was removed")
            work = held.enter_context(self._work())
            for place in places:
                # Renamed first: it is in the store whole or not at all.
                place.rename(work / place.name)
        return tuple(place.name for place in places)

    def clean(self) -> tuple[Path, ...]:
        """Remove what killed processes left unfinished here, and of guests' images; return the folders."""
        places = [self.folder, *sorted(self.folder.glob(f"*/{_CACHE}/{IMAGES}"))]
        with suppress(Unavailable):  # a user without a home has no cache either
            places.append(folders.environments_folder())
        with folders.writing(self.folder):
            return tuple(place / name for place in places for name in folders.remove_unfinished(place))

    def _same(self, name: str, candidate: Candidate) -> Kernel | None:
        """Return the kernel of this name where it is this very package."""
        found = _read(self.folder / name)
        if isinstance(found, Kernel) and (found.release, found.package_version) == (
            candidate.release, candidate.version
        ):  # fmt: skip
            return found
        return None

    @contextmanager
    def _work(self) -> Iterator[Path]:
        """Yield a folder for unfinished work, on the store's file system."""
        with folders.writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            folders.remove_unfinished(self.folder)
            with folders.unfinished_work(self.folder) as work:
                yield work

    def _finish(self, parts: Parts, work: Path, name: str | None, progress: Progress) -> Kernel:
        progress.stage("reading types, indexing modules")
        finished = build(parts, work, name=name, added_at=self._now().replace(microsecond=0))
        name = Description.read(finished).name
        self._require_free(name)
        place = self.folder / name
        try:
            finished.rename(place)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:  # another process was faster
                raise UsageError(_taken(name, "a kernel that was just added")) from None
            raise
        return self.get(name)

    def _require_free(self, name: str) -> None:
        if (self.folder / name).is_dir():
            found = _read(self.folder / name)
            raise UsageError(_taken(name, found.release if isinstance(found, Kernel) else "a damaged kernel"))

    def _folders(self) -> list[Path]:
        try:
            # 6.12.20 before 6.12.100.
            found = sorted(self.folder.iterdir(), key=lambda path: version_key(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"the kernel store {self.folder} cannot be read: {error.strerror}") from None
        return [path for path in found if path.is_dir() and not path.name.startswith(UNFINISHED)]

    def _unknown(self, name: str) -> str:
        known = ", ".join(kernel.name for kernel in self.kernels())
        return f"no kernel is called {name!r} in {self.folder}; " + (
            f"there are: {known}" if known else "it is empty: `perfcheck kernel fetch 6.12` gets one from Debian"
        )


def _read(folder: Path) -> Kernel | UsageError:
    try:
        return _kernel(folder)
    except UsageError as problem:
        return problem


def _kernel(folder: Path) -> Kernel:
    """Return the kernel of a folder; UsageError where it is damaged."""
    description = Description.read(folder)
    if description.name != folder.name:
        raise UsageError(f"{folder / FILE}: damaged: it is of {description.name}")
    for needed in ("vmlinuz", "modules/modules.dep"):
        if not (folder / needed).exists():
            raise UsageError(f"{folder}: damaged: {needed} is missing")
    return Kernel(
        name=description.name, release=description.release, folder=folder, flavour=description.flavour,
        origin=description.origin, package_version=description.package_version,
        image_sha256=description.image_sha256, added_at=description.added_at,
    )  # fmt: skip


def _taken(name: str, by: str) -> str:
    return (
        f"the name {name} is taken by {by}; give another with --name, or remove that with "
        f"`perfcheck kernel remove {name}`"
    )


def _parts_folder(work: Path) -> Path:
    folder = work / "parts"
    folder.mkdir()
    return folder


def _size_bytes(path: Path) -> int:
    """Return the size of a file, or of all files below a folder; what goes away meanwhile counts nothing."""
    places = [Path(place) / name for place, _, names in os.walk(path) for name in names] or [path]
    total = 0
    for place in places:
        with suppress(OSError):
            total += 0 if place.is_dir() else place.lstat().st_size
    return total
