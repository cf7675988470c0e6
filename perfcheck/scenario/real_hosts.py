"""Checks the keys of real hosts (`interface`, `ssh`, `netns`) against each other, and against what only a lab has."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.impairments import Impairments
from perfcheck.model.link import DIRECTIONS
from perfcheck.scenario.tree import Document, Listing
from perfcheck.system.place import Loc

REACHED_BY: Final = ("ssh", "netns")
"""Keys that say where a real host is; one without either is this machine."""
MAKE_REAL: Final = ("interface", *REACHED_BY, "selftest")
"""Keys of which each makes a host a real one."""
OF_REAL_HOSTS: Final = ("address", "python", "settings", "teardown")
"""Keys that a host of the lab does not have."""
OF_THE_LAB: Final = ("router", "nat", "via")
"""Keys that perfcheck would have to change a real machine's routes for."""
_IMPAIRMENTS: Final = tuple(field.alias or name for name, field in Impairments.model_fields.items())
_OF_LINKS: Final = (*_IMPAIRMENTS, *DIRECTIONS, "seed", "trace")


def real_hosts(document: Document) -> tuple[str, ...]:
    """Return the names of the hosts that are real machines."""
    return tuple(name for name in document.table("hosts") if is_real(document, name))


def is_real(document: Document, host: str) -> bool:
    """Whether a host is a real machine, or means to be one."""
    return any(key in document.table("hosts", host) for key in MAKE_REAL)


def check_real_hosts(document: Document) -> Iterator[Problem]:
    """Return every contradiction that real hosts bring into a file."""
    real = real_hosts(document)
    for host in document.table("hosts"):
        yield from _real(document, host) if host in real else _of_the_lab(document, host)
    if not real:
        return
    emulated = [host for host in document.table("hosts") if host not in real]
    for host in emulated:
        message = (
            f"a host of the lab cannot be joined with real ones ({', '.join(real)}): give it an interface, too, or "
            "take theirs away"
        )
        yield _at_key(document, ("hosts", host), message)
    for index in range(len(document.listing("links"))):
        yield from _link(document, ("links", index))


def _real(document: Document, host: str) -> Iterator[Problem]:
    keys = document.table("hosts", host)
    given = next((key for key in REACHED_BY if key in keys), None)
    if given is not None and not {"interface", "address"} & keys.keys():
        message = f"{given} needs interface as well (the real interface on the link), or the address that it has"
        yield _at_key(document, ("hosts", host, given), message)
    for key in ("interface", *REACHED_BY, "address"):
        if "selftest" in keys and key in keys:
            message = f"the environment of the kernel's selftests says it: keep selftest or {key}"
            yield _at_key(document, ("hosts", host, key), message)
    if all(key in keys for key in REACHED_BY):
        yield _at_key(document, ("hosts", host, "netns"), "a host is reached by ssh or by netns; keep one of the two")
    for key in OF_THE_LAB:
        if key in keys:
            message = f"{key} is for hosts of the lab: perfcheck does not change the routes of real machines"
            yield _at_key(document, ("hosts", host, key), message)
    if "setup" in keys and "teardown" not in keys and not _is_empty(document, ("hosts", host, "setup")):
        message = "on a real machine setup needs teardown as well: the commands that undo it, [] where none is needed"
        yield _at_key(document, ("hosts", host, "setup"), message)
    for index in range(len(document.listing("hosts", host, "teardown"))):
        yield from _command(document, ("hosts", host, "teardown", index))


def _of_the_lab(document: Document, host: str) -> Iterator[Problem]:
    keys = document.table("hosts", host)
    for key in OF_REAL_HOSTS:
        if key in keys:
            instead = "; use setup in a host of the lab" if key == "settings" else ""
            message = f"{key} is for real machines: give interface as well{instead}"
            yield _at_key(document, ("hosts", host, key), message)


def _link(document: Document, loc: Loc) -> Iterator[Problem]:
    for key in document.table(*loc):
        if key in _OF_LINKS:
            message = f"{key} cannot be had on a real link: it is measured as it is, and nothing of it is changed"
            yield _at_key(document, (*loc, key), message)
    if document.text(*loc, "emulator") not in {None, "auto", "none"}:
        yield _at_key(document, (*loc, "emulator"), "a real link has no emulator; leave the key out")


def _command(document: Document, loc: Loc) -> Iterator[Problem]:
    text = document.text(*loc)
    if text is None:
        return
    found = document.find(loc)
    try:
        words = shlex.split(text)
    except ValueError as error:
        why = f"cannot be split into words by the quoting rules of a shell: {str(error).lower()}"
        yield document.problem(found.node.place, found.path, why)
        return
    if not words:
        yield document.problem(found.node.place, found.path, "expected a command, got an empty text")


def _is_empty(document: Document, loc: Loc) -> bool:
    node = document.get(*loc)
    return isinstance(node, Listing) and not node.items


def _at_key(document: Document, loc: Loc, message: str) -> Problem:
    found = document.find(loc)
    return document.problem(found.key, found.path, message)
