"""Finds the parts of a scenario file that run commands, for users who do not trust its author (`--no-commands`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perfcheck.errors import Problem
from perfcheck.scenario.real_hosts import MAKE_REAL
from perfcheck.scenario.tree import Document, Listing
from perfcheck.system.place import Loc

REFUSED: Final = "this runs commands as root on this machine, which --no-commands forbids"
REFUSED_MACHINE: Final = (
    "this measures on a real machine as root, and changes it meanwhile, which --no-commands forbids"
)


def commands_of(document: Document) -> Iterator[Problem]:
    """Yield a problem for each block whose text is run: `setup` of a host, real machines, and traffic by `command`.

    Nothing else of a file is run. Sysctls are written to the host's own network namespace only, a trace is read
    as data, and the arguments of the known generators are numbers and names that perfcheck checks and formats.
    """
    for host in document.table("hosts"):
        loc: Loc = ("hosts", host, "setup")
        node = document.get(*loc)
        if node is not None and not (isinstance(node, Listing) and not node.items):
            yield _at(document, loc)
        for key in MAKE_REAL:
            if document.get("hosts", host, key) is not None:
                yield _at(document, ("hosts", host, key), REFUSED_MACHINE)
                break
    for index in range(len(document.listing("traffic"))):
        loc = ("traffic", index, "command")
        if document.get(*loc) is not None:
            yield _at(document, loc)


def _at(document: Document, loc: Loc, message: str = REFUSED) -> Problem:
    found = document.find(loc)
    return document.problem(found.key, found.path, message)
