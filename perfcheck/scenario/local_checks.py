"""Finds names in a file that neither Linux nor this machine has: misspelt congestion controls and sysctls.

It reports only mistakes of the file. The lab reports what this kernel lacks, scenario by scenario: a suite may hold
scenarios for several kernels.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

from perfcheck.errors import Problem
from perfcheck.scenario.real_hosts import real_hosts
from perfcheck.scenario.suggest import hint, nearest
from perfcheck.scenario.sysctls import refusal
from perfcheck.scenario.tree import Document
from perfcheck.system import sysctl
from perfcheck.system.place import Loc

CONGESTION_KEY: Final = "net.ipv4.tcp_congestion_control"
MAX_COMPARED: Final = 20
"""Sysctls of one host that this kernel lacks and that are compared with those that it has."""
_AVAILABLE: Final = "net.ipv4.tcp_available_congestion_control"
CONGESTION_CONTROLS: Final = (
    "bbr", "bic", "cdg", "cubic", "dctcp", "highspeed", "htcp", "hybla", "illinois", "lp", "nv", "reno", "scalable",
    "vegas", "veno", "westwood", "yeah",
)  # fmt: skip
"""Those of Linux itself (net/ipv4/tcp_*.c)."""


def check_here(document: Document) -> Iterator[Problem]:
    """Return every name that can only be a mistake."""
    real = real_hosts(document)
    for host in document.table("hosts"):
        if host in real:
            continue  # another kernel, which its agent asks
        yield from _congestion(document, ("hosts", host, "congestion"))
        yield from _congestion(document, ("hosts", host, "sysctl", CONGESTION_KEY))
        yield from _sysctls(document, ("hosts", host, "sysctl"))
    for index in range(len(document.listing("traffic"))):
        yield from _congestion(document, ("traffic", index, "iperf3", "congestion"))


def _congestion(document: Document, loc: Loc) -> Iterator[Problem]:
    name = document.text(*loc)
    message = None if name is None else unknown_congestion(name)
    if message is not None:
        found = document.find(loc)
        yield document.problem(found.node.place, found.path, message)


def unknown_congestion(name: str) -> str | None:
    """Say that there is no such congestion control, or None where Linux or this machine has it."""
    if name in CONGESTION_CONTROLS:
        return None
    known = sorted({*CONGESTION_CONTROLS, *(sysctl.read(_AVAILABLE) or ())})
    if name in known or _has_module(name):
        return None
    return f"unknown congestion control {name!r}: neither Linux nor this machine has it{hint(name, known)}"


def _has_module(name: str) -> bool:
    """Whether a module of the running kernel would bring it."""
    return f"/tcp_{name}.ko" in _modules(os.uname().release)


@functools.lru_cache(maxsize=1)
def _modules(release: str) -> str:
    try:
        return Path(f"/lib/modules/{release}/modules.dep").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctls(document: Document, loc: Loc) -> Iterator[Problem]:
    """Say which keys are missing here but for a letter or two; others may belong to a newer kernel, or to a module."""
    compared = 0
    for key, entry in document.table(*loc).items():
        if refusal(key) is not None or sysctl.path_of(key).exists():
            continue
        compared += 1
        if compared > MAX_COMPARED:
            return
        folder, _, last = key.rpartition(".")
        try:
            beside = {path.name for path in sysctl.path_of(f"{folder}.x").parent.iterdir() if path.is_file()}
        except (OSError, ValueError):  # ValueError: a NUL in the key
            continue
        meant = nearest(last, beside)
        if meant is not None and _differ_little(last, meant):
            message = f"this kernel has no sysctl {key!r}; did you mean {folder}.{meant}?"
            yield document.problem(entry.place, document.find((*loc, key)).path, message)


def _differ_little(one: str, other: str) -> bool:
    """Whether one is the other with a letter changed, added, left out, or two neighbours swapped."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    head, tail = one[shared:], other[shared:]
    ends = {(head[1:], tail[1:]), (head[1:], tail), (head, tail[1:])}
    swapped = len(head) > 1 and len(tail) > 1 and (head[0], head[1]) == (tail[1], tail[0]) and head[2:] == tail[2:]
    return swapped or any(here == there for here, there in ends)
