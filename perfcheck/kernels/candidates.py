"""Debian's kernels by what a user calls them: a series, a point release, an exact release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from perfcheck.errors import UsageError
from perfcheck.kernels.debian_version import version_key

_PACKAGE: Final = re.compile(r"linux-image-(?P<abi>\d+\.\d+\.\d[a-z0-9.+~-]*?)(?:-(?P<flavour>cloud|rt))?-amd64")
_ASKED: Final = re.compile(r"\d+\.\d[A-Za-z0-9.+~-]{0,60}")
_NEAREST: Final = 3
"""How many releases below and above a missing one a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A package that can be fetched: `abi` is its release without flavour and architecture, e.g. 6.1.0-57."""

    package: str
    version: str
    suite: str
    abi: str
    flavour: str

    @classmethod
    def of(cls, package: str, version: str, suite: str) -> Self | None:
        """Return the candidate, or None for a package that has no kernel image for this architecture."""
        found = _PACKAGE.fullmatch(package)
        if found is None:
            return None
        return cls(
            package=package, version=version, suite=suite, abi=found["abi"], flavour=found["flavour"] or "generic"
        )  # fmt: skip

    @property
    def release(self) -> str:
        """What `uname -r` says under it."""
        return self.package.removeprefix("linux-image-")

    def origin(self) -> str:
        """Return where it comes from, as the store keeps it."""
        return f"Debian {self.suite} {self.version}"

    def answers(self, asked: str) -> bool:
        """Return whether this is what is asked for: by release, or by the upstream version (6.1.192 is 6.1.0-57)."""
        return asked == self.release or any(
            text == asked or (text.startswith(asked) and not text[len(asked)].isalnum())
            for text in (self.abi, self.version)
        )


def newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates, the newest version first; of one version and flavour, the higher release."""
    return sorted(candidates, key=lambda each: (version_key(each.version), version_key(each.abi)), reverse=True)


def choose(candidates: Sequence[Candidate], asked: str, flavour: str, where: str) -> Candidate:
    """Return the newest candidate that answers to a release; UsageError names the nearest ones.

    `where`: the places that the candidates come from, for the message.
    """
    if _ASKED.fullmatch(asked) is None:
        raise UsageError(f"expected a release such as 6.12, 6.12.107+deb12 or 6.1.0-56, got {asked[:80]!a}")
    own = _package_of(asked)
    flavour = own.flavour if own is not None else flavour
    of_flavour = newest_first(each for each in candidates if each.flavour == flavour)
    found = [each for each in of_flavour if each.answers(asked)]
    if found:
        return found[0]
    others = sorted({each.flavour for each in candidates if each.answers(asked)})
    if others:
        raise UsageError(f"{where} has {asked} not as {flavour}, but as {' and '.join(others)}: see --flavour")
    if not of_flavour:
        raise UsageError(f"{where} has no {flavour} kernel at all")
    raise UsageError(
        f"{where} has no {flavour} kernel {asked}; the nearest are {', '.join(_nearest(of_flavour, asked))}. "
        f"`perfcheck kernel fetch --list` lists all; other suites with --suite, such as trixie or trixie-backports"
    )


def _package_of(asked: str) -> Candidate | None:
    """Return what a whole release (`uname -r`) names: its flavour goes before the option's."""
    return Candidate.of(f"linux-image-{asked}", "0", "")


def _nearest(candidates: Sequence[Candidate], asked: str) -> list[str]:
    key = version_key(asked)
    releases = list(dict.fromkeys(each.abi for each in candidates))
    releases.sort(key=version_key)
    below = [release for release in releases if version_key(release) <= key]
    above = [release for release in releases if version_key(release) > key]
    return [*below[-_NEAREST:], *above[:_NEAREST]]
