"""The order of Debian's version numbers (deb-version(7)), so that the newest kernel can be told."""

from __future__ import annotations

import re
from typing import Final

_PIECES: Final = re.compile(r"(\D*)(\d*)")
_END: Final = 0
"""The end of a text sorts before letters, and after a tilde."""

VersionKey = tuple[int, tuple[tuple[tuple[int, ...], int], ...], tuple[tuple[tuple[int, ...], int], ...]]


def version_key(version: str) -> VersionKey:
    """Return a key that sorts versions as dpkg does.

    Example:
        >>> sorted(["6.12.9-1", "6.12.10~rc1-1", "6.12.10-1"], key=version_key)
        ['6.12.9-1', '6.12.10~rc1-1', '6.12.10-1']
    """
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    if not upstream:
        upstream, revision = rest, "0"
    return int(epoch), _key(upstream), _key(revision)


def _key(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return the text's pieces, letters and numbers by turns, ended as an empty one that sorts like dpkg's end."""
    pieces = [
        ((*(_order(letter) for letter in letters), _END), int(digits or "0"))
        for letters, digits in _PIECES.findall(text)
        if letters or digits
    ]
    return (*pieces, ((_END,), 0))


def _order(letter: str) -> int:
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256
