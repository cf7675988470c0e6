"""Chooses the emulator of each link: the one that the file names, else the simplest that can carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.errors import InvalidLink, Unavailable
from perfcheck.lab.topology import Link
from perfcheck.model.link import LinkSpec
from perfcheck.model.seams import LinkEmulator

PLAIN: Final = "veth"
IMPAIRING: Final = ("netem", "relay")
"""Tried in this order for `emulator: auto`: in the kernel where it can, else in user space."""


def impaired(link: LinkSpec) -> bool:
    """Whether the file asks for anything in either direction that a plain wire does not do."""
    return any(direction.impairs or direction.ecn for direction in link.directions)


def candidates(link: LinkSpec) -> Sequence[str]:
    """Return the names of the emulators that may carry the link, the preferred first."""
    if link.emulator == "none":
        return (PLAIN,)
    if link.emulator == "auto":
        return IMPAIRING if impaired(link) else (PLAIN,)
    return (link.emulator,)


def choose(links: Sequence[Link], emulators: Mapping[str, LinkEmulator]) -> tuple[LinkEmulator, ...]:
    """Choose an emulator for each link; InvalidLink says for each candidate why it cannot carry it."""
    lacking: dict[str, str | None] = {}
    return tuple(_choose_one(link, emulators, lacking) for link in links)


def _choose_one(link: Link, emulators: Mapping[str, LinkEmulator], lacking: dict[str, str | None]) -> LinkEmulator:
    refusals: list[str] = []
    absent: list[str] = []
    for name in candidates(link.spec):
        if name not in emulators:
            absent.append(f"{name}: unknown emulator")
            continue
        if name not in lacking:
            lacking[name] = _lack(emulators[name])
        refusal = lacking[name] or emulators[name].floor(link.spec)
        if refusal is None:
            return emulators[name]
        (absent if lacking[name] else refusals).append(f"{name}: {refusal}")
    # What is wrong with the link comes before what this machine has not.
    raise InvalidLink(f"{link.label}: {'; '.join([*refusals, *absent])}")


def _lack(emulator: LinkEmulator) -> str | None:
    try:
        emulator.check()
    except Unavailable as lack:
        return str(lack)
    return None
