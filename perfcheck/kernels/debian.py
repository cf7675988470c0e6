"""Where kernels are fetched from: the machine's own apt lists, or another suite of its Debian mirror."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from perfcheck.errors import Unavailable, UsageError
from perfcheck.kernels.apt import Apt, private_lists, require_safe
from perfcheck.kernels.candidates import Candidate, choose, newest_first
from perfcheck.kernels.folders import cache_folder
from perfcheck.kernels.progress import NoProgress, Progress

_SUITE: Final = re.compile(r"[a-z][a-z0-9-]{1,40}")
_MIRROR: Final = re.compile(r"(?:https?|file)://?[A-Za-z0-9._~:/@%+-]{1,300}")
_KEYS: Final = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")
_KEYRINGS: Final = Path("/usr/share/keyrings")
_FORM: Final = "$(RELEASE) $(REPO_URI) $(ORIGIN)"
_ROLLING: Final = frozenset({"sid", "unstable", "experimental", "rc-buggy"})
"""Suites that have no updates and no security part."""
_SECURITY: Final = "-security"
_OS_RELEASE: Final = Path("/etc/os-release")
_DEBIAN: Final = re.compile(r"^ID=\"?debian\"?$", re.MULTILINE)
_CODENAME: Final = re.compile(r"^VERSION_CODENAME=\"?([a-z]+)\"?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """The Debian mirrors of a machine: the archive's, and that of security updates where it has one."""

    archive: str
    security: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Kernels that can be fetched; `where` says from where."""

    apt: Apt
    where: str
    candidates: tuple[Candidate, ...]

    @classmethod
    def open(
        cls, suite: str | None = None, mirror: str | None = None, progress: Progress | None = None, *,
        fresh: bool = False,
    ) -> Self:  # fmt: skip
        """Look at the machine's lists; at private ones for another suite, or where the machine has no lists.

        `mirror`: another one than the machine's. `fresh`: with private lists, which are always up to date.
        Unavailable where there is no apt, no mirror or no keyring.
        """
        progress = progress or NoProgress()
        machine = Apt.machine()
        if suite is None and mirror is None and not fresh:
            found = machine.packages()
            if found:
                return cls(apt=machine, where="this machine's apt", candidates=found)
        if suite is None and not _codename():
            raise UsageError("this machine is no Debian: name a suite of Debian's with --suite, such as trixie")
        suite = require_safe(suite or _codename(), _SUITE, "a suite of Debian's such as trixie or trixie-backports")
        given = Mirrors(archive=require_safe(mirror, _MIRROR, "a URL such as http://HOST/debian")) if mirror else None
        sources = source_list(suite, given or _mirrors(machine), _keyring())
        folder = cache_folder() / "apt" / f"{suite}-{hashlib.sha256(sources.encode()).hexdigest()[:12]}"
        with private_lists(folder):
            progress.stage(f"fetching the lists of {suite}")
            private = Apt.private(folder, sources)
            private.update()
            return cls(apt=private, where=f"Debian {suite}", candidates=private.packages())

    def listed(self, series: str = "", flavour: str | None = None) -> tuple[Candidate, ...]:
        """Return the kernels of a series and a flavour, or all, the newest first."""
        return tuple(
            each for each in newest_first(self.candidates)
            if flavour in (None, each.flavour) and (not series or each.answers(series))
        )  # fmt: skip

    def find(self, release: str, flavour: str) -> Candidate:
        """Return the newest kernel that answers to a release; UsageError names the nearest."""
        return choose(self.candidates, release, flavour, self.where)

    def download(self, candidate: Candidate, folder: Path, share: Callable[[float], None]) -> tuple[Path, ...]:
        """Fetch a kernel's packages into a new folder inside `folder`."""
        place = folder / "download"
        place.mkdir()
        return self.apt.download(candidate, place, share)


def source_list(suite: str, mirrors: Mirrors, keyring: Path) -> str:
    """Return a suite as a list of apt's (sources.list(5)), with its updates and security part where it has them."""
    security = suite.endswith(_SECURITY)
    parts = []
    if not security:
        whole = "-" not in suite and suite not in _ROLLING
        parts.append((mirrors.archive, f"{suite} {suite}-updates" if whole else suite))
    if mirrors.security is not None and (security or "-" not in suite) and suite not in _ROLLING:
        parts.append((mirrors.security, suite if security else f"{suite}{_SECURITY}"))
    if not parts:
        raise Unavailable(
            suite, "this machine's apt has no mirror of Debian's security updates", "add one to its sources"
        )
    return "\n".join(
        f"Types: deb\nURIs: {url}\nSuites: {suites}\nComponents: main\nArchitectures: amd64\nSigned-By: {keyring}\n"
        for url, suites in parts
    )


def mirrors_of(lines: tuple[str, ...], codename: str) -> Mirrors | None:
    """Return the Debian mirrors that lines of apt's sources name (`SUITE URL ORIGIN`), or None.

    The origin is known only where the lists have been fetched; else the suite tells.
    """
    archive = security = None
    for line in lines:
        words = line.split()
        if len(words) < 2 or (len(words) > 2 and words[2] != "Debian"):
            continue
        suite, url = words[0], words[1].rstrip("/")
        known = len(words) > 2 or suite.partition("-")[0] == codename
        if known and suite.endswith(_SECURITY):
            security = security or url
        elif known:
            archive = archive or url
    return None if archive is None else Mirrors(archive=archive, security=security)


def _mirrors(machine: Apt) -> Mirrors:
    found = mirrors_of(machine.sources(_FORM), _codename())
    if found is None:
        raise Unavailable("a Debian mirror", "this machine's apt sources name none", "name one with --mirror URL")
    return found


def _codename() -> str:
    """Return the codename of the machine's Debian, or an empty text where it is another system."""
    try:
        text = _OS_RELEASE.read_text(encoding="utf-8")
    except OSError:
        return ""
    found = _CODENAME.search(text)
    return found[1] if found is not None and _DEBIAN.search(text) is not None else ""


def _keyring() -> Path:
    for name in _KEYS:
        if (_KEYRINGS / name).exists():
            return _KEYRINGS / name
    raise Unavailable(
        "Debian's keyring", f"{_KEYRINGS / _KEYS[0]} is missing, and what is fetched must be signed",
        "apt-get install debian-archive-keyring",
    )  # fmt: skip
