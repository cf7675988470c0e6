"""Asks apt for kernels: with the machine's own lists, or with private ones that change nothing of the machine."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import CouldNotMeasure, Unavailable, UsageError
from perfcheck.kernels.candidates import Candidate
from perfcheck.system import commands
from perfcheck.system.clock import wait_until
from perfcheck.system.files import replace_file

_ASK_TIMEOUT_S: Final = 120.0
_UPDATE_TIMEOUT_S: Final = 600.0
_DOWNLOAD_TIMEOUT_S: Final = 1800.0
_LOOK_INTERVAL_S: Final = 0.1
_NAMES_AT_ONCE: Final = 500
_NETWORK: Final = ("Acquire::Retries=2", "Acquire::http::Timeout=30", "Acquire::https::Timeout=30")
_SIZE: Final = re.compile(r"^'[^']*' \S+ (\d+)", re.MULTILINE)
_DEPENDS: Final = re.compile(r"^Depends: (.*)$", re.MULTILINE)
_DIVIDED: Final = ("linux-binary", "linux-modules", "linux-base")
"""What Debian's kernels are divided into since 6.19: image, modules, and config with the lists of what is built in."""
_FULL: Final = os.strerror(errno.ENOSPC).encode()
_GONE: Final = re.compile(rb"^E: Failed to fetch .* 404 ", re.MULTILINE)
_CLEARED: Final = b"#clear APT::Update;\n#clear DPkg;\n"
"""What the machine does after an update is not for private lists."""


class OutdatedLists(CouldNotMeasure):
    """The lists name a package that the archive has no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apt:
    """apt-get and apt-cache with some options; without any they use the machine's lists."""

    options: tuple[str, ...] = ()

    @classmethod
    def machine(cls) -> Self:
        """Return apt with the machine's own lists."""
        return cls()

    @classmethod
    def private(cls, folder: Path, sources: str) -> Self:
        """Return apt with lists of these sources in `folder`; proxies, keys and trust stay the machine's."""
        for name in ("lists/partial", "cache/archives/partial", "state", "sources"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        replace_file(folder / "clear.conf", _CLEARED, durable=False)
        replace_file(folder / "sources/perfcheck.sources", sources.encode(), durable=False)
        replace_file(folder / "state/status", b"", durable=False)
        settings = (
            f"Dir::State={folder}/state", f"Dir::State::lists={folder}/lists",
            f"Dir::State::status={folder}/state/status",
            f"Dir::Cache={folder}/cache", "Dir::Etc::sourcelist=/dev/null", f"Dir::Etc::sourceparts={folder}/sources",
            "Dir::Etc::preferences=/dev/null", "Dir::Etc::preferencesparts=/dev/null",
            "Acquire::Languages=none", "Acquire::GzipIndexes=true", "Acquire::PDiffs=false",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false", "APT::Architecture=amd64",
            "APT::Architectures=amd64",
        )  # fmt: skip
        return cls(options=("-c", str(folder / "clear.conf"), *_settings(settings)))

    def packages(self) -> tuple[Candidate, ...]:
        """Return all kernels that the lists have, each in its newest version."""
        names = self._ask("apt-cache", "pkgnames", "linux-image-").split()
        wanted = sorted(name for name in names if Candidate.of(name, "0", "") is not None)
        found: dict[str, Candidate] = {}
        for start in range(0, len(wanted), _NAMES_AT_ONCE):
            for line in self._ask("apt-cache", "madison", *wanted[start : start + _NAMES_AT_ONCE]).splitlines():
                candidate = _candidate(line)
                # Versions of one package come newest first.
                if candidate is not None:
                    found.setdefault(candidate.package, candidate)
        return tuple(found.values())

    def sources(self, form: str) -> tuple[str, ...]:
        """Return a line of this form for each list of packages that the machine's sources name."""
        return tuple(self._ask("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines())

    def update(self) -> None:
        """Renew the lists; CouldNotMeasure says what could not be fetched."""
        argv = self._argv("apt-get", "update", "-q", "--error-on=any")
        done = commands.finish(
            commands.popen(_bound_to_us(argv), env=_plain_words()), argv, timeout_s=_UPDATE_TIMEOUT_S,
            error=CouldNotMeasure,
        )  # fmt: skip
        if done.returncode != 0:
            raise CouldNotMeasure(f"Debian's lists could not be fetched: {_reason(done.stderr)}")

    def download(self, candidate: Candidate, folder: Path, share: Callable[[float], None]) -> tuple[Path, ...]:
        """Fetch a kernel's packages into an empty folder, their signed checksums checked; CouldNotMeasure says why not.

        OutdatedLists where the archive has newer ones in their place, OSError where the disk is full.
        """
        wanted = [f"{name}={candidate.version}" for name in self._packages_of(candidate)]
        sizes = _SIZE.findall(self._ask("apt-get", "download", "--print-uris", *wanted))
        argv = self._argv("apt-get", "download", "-q", *wanted)
        process = commands.popen(_bound_to_us(argv), env=_plain_words(), cwd=str(folder))
        try:
            total = sum(map(int, sizes))

            def ended() -> bool:
                share(min(1.0, _size_below(folder) / total) if total else 0.0)
                return process.poll() is not None

            wait_until(ended, timeout_s=_DOWNLOAD_TIMEOUT_S, interval_s=_LOOK_INTERVAL_S)
            done = commands.finish(process, argv, timeout_s=1.0, error=CouldNotMeasure)
        finally:
            commands.kill(process)
        found = sorted(folder.glob("*.deb"))
        if _FULL in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if _GONE.search(done.stderr) is not None:
            raise OutdatedLists(f"{candidate.package} {candidate.version} is no longer in the archive: apt-get update")
        if done.returncode != 0 or len(found) != len(wanted):
            raise CouldNotMeasure(
                f"{candidate.package} could not be fetched: {_reason(done.stderr)}. Check the network and apt's sources"
            )
        return tuple(found)

    def _packages_of(self, candidate: Candidate) -> tuple[str, ...]:
        """Return the packages that a kernel consists of: its own, or those that it depends on where it is empty."""
        wanted = f"{candidate.package}={candidate.version}"
        depends = _DEPENDS.search(self._ask("apt-cache", "show", wanted))
        needed = [word.split()[0] for word in depends[1].split(",") if word.strip()] if depends is not None else []
        divided = [f"{kind}-{candidate.release}" for kind in _DIVIDED]
        return tuple(divided) if set(divided) <= set(needed) else (candidate.package,)

    def _ask(self, program: str, *words: str) -> str:
        try:
            done = commands.run(
                self._argv(program, *words), timeout_s=_ASK_TIMEOUT_S, env=_plain_words(), error=CouldNotMeasure
            )
        except Unavailable:
            raise Unavailable(
                program, "this machine has no apt",
                "fetch the kernel's .deb on a machine that has, then `perfcheck kernel add FILE.deb`",
            ) from None  # fmt: skip
        return done.stdout.decode(errors="replace")

    def _argv(self, program: str, *words: str) -> list[str]:
        # As root apt would give itself to another user, who cannot write below this one's home.
        user = ("APT::Sandbox::User=root",) if program == "apt-get" and os.geteuid() == 0 else ()
        return [program, *self.options, *_settings((*_NETWORK, *user)), *words]


@contextmanager
def private_lists(folder: Path) -> Iterator[None]:
    """Be the only one to renew the lists in a folder; Unavailable where it cannot be written."""
    descriptor = -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise Unavailable(
            f"{folder}, the folder of apt's lists,", f"it cannot be written: {error.strerror}",
            "free space there, or set XDG_CACHE_HOME to a folder that you can write",
        ) from None  # fmt: skip
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def require_safe(text: str, pattern: re.Pattern[str], what: str) -> str:
    """Return the text where it matches; UsageError for what would be more than one word of a list of sources."""
    if pattern.fullmatch(text) is None:
        raise UsageError(f"expected {what}, got {text[:80]!a}")
    return text


def _settings(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for value in values for word in ("-o", value))


def _plain_words() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _bound_to_us(argv: Sequence[str]) -> list[str]:
    """Return a command that ends when this process is killed, too."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def _candidate(line: str) -> Candidate | None:
    """Read `package | version | http://... bookworm-security/main amd64 Packages`."""
    match [word.strip() for word in line.split("|")]:
        case [package, version, place] if place.endswith(" amd64 Packages"):
            return Candidate.of(package, version, place.split()[1].partition("/")[0])
    return None


def _size_below(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except OSError:
            continue  # renamed or removed at this moment
    return total


def _reason(said: bytes) -> str:
    """Return the first error of apt's."""
    lines = said.decode(errors="replace").splitlines()
    errors = [line[2:].strip() for line in lines if line.startswith("E:")]
    return (errors or [line for line in lines if line.strip()] or ["apt-get says nothing"])[0][:400].rstrip(". ")
