"""Names of kernels in the store, and what their releases tell."""

from __future__ import annotations

import re
from typing import Final

from perfcheck.errors import UsageError

RELEASE: Final = re.compile(r"[0-9]+\.[0-9][A-Za-z0-9._+~-]{0,63}")
"""What `uname -r` can say; safe as the name of a folder."""
FLAVOURS: Final = ("cloud", "generic", "rt")
"""Debian's flavours."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")


def is_name(name: str) -> bool:
    """Return whether a kernel may be called so; such a name is safe as the name of a folder."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return the name where it may be a kernel's; UsageError says what a name is."""
    if not is_name(name):
        raise UsageError(
            f"expected a kernel's name of at most 64 letters, digits and . _ + ~ -, such as 6.12-cloud, "
            f"got {name[:80]!a}"
        )  # fmt: skip
    return name


def flavour_of(release: str) -> str:
    """Return the flavour that Debian's releases end with: cloud, rt, generic; else own."""
    for ending, flavour in (("-cloud-amd64", "cloud"), ("-rt-amd64", "rt"), ("-amd64", "generic")):
        if release.endswith(ending):
            return flavour
    return "own"


def default_name(release: str) -> str:
    """Return the name that a kernel gets by its release: 6.12.117+deb12-cloud-amd64 is 6.12.117-cloud."""
    flavour = flavour_of(release)
    if flavour == "own":
        return release
    core = release.removesuffix("-amd64").removesuffix(f"-{flavour}").partition("+deb")[0]
    return f"{core}-{flavour}"
