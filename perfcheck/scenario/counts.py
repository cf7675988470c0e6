"""Checks how much a file contains against its bounds. These checks run first: later checks compare all with all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perfcheck.errors import Problem
from perfcheck.model import bounds
from perfcheck.model.scenario import Scenario
from perfcheck.model.traffic import (
    CommandSpec,
    ConnectionsSpec,
    HttpSpec,
    Iperf3Spec,
    LoadSpec,
    SockperfSpec,
    TrafficSpec,
)
from perfcheck.scenario.notation import duration_text
from perfcheck.scenario.tree import Document
from perfcheck.system.place import Loc

_DEFAULT_NS = 5 * 10**9


def too_many(document: Document) -> list[Problem]:
    """Return a problem for each block of the tree that has more entries than a scenario may have."""
    hosts = document.table("hosts")
    counted: Sequence[tuple[Loc, int, int, str]] = (
        (("hosts",), len(hosts), bounds.MAX_HOSTS, "hosts"),
        (("links",), len(document.listing("links")), bounds.MAX_LINKS, "links"),
        (("traffic",), len(document.listing("traffic")), bounds.MAX_TRAFFIC, "entries"),
        (("matrix",), len(document.table("matrix")), bounds.MAX_POINTS, "keys"),
        (("phases",), len(document.table("phases")), bounds.MAX_PHASES, "phases"),
        (("expect",), len(document.table("expect")), bounds.MAX_EXPECTED, "lines"),
        (("tolerance",), len(document.table("tolerance")), bounds.MAX_EXPECTED, "lines"),
        (("hosts",), sum(len(document.listing("hosts", name, "setup")) for name in hosts), bounds.MAX_SETUP,
         "setup commands in all hosts"),
        (("hosts",), sum(len(document.table("hosts", name, "sysctl")) for name in hosts), bounds.MAX_SYSCTLS,
         "sysctls in all hosts"),
        (("hosts",), sum(len(document.table("hosts", name, "via")) for name in hosts), bounds.MAX_ROUTES,
         "entries of via in all hosts"),
        (("hosts",), sum(len(document.listing("hosts", name, "teardown")) for name in hosts), bounds.MAX_SETUP,
         "teardown commands in all hosts"),
    )  # fmt: skip
    return [
        _at(document, loc, f"expected at most {most} {what}, got {count}") for loc, count, most, what in counted
        if count > most
    ]  # fmt: skip


def too_many_connections(document: Document, traffic: Iterable[TrafficSpec]) -> Iterator[Problem]:
    """Yield a problem where all traffic together would open more connections than a host has room for."""
    count = sum(_connections(entry) for entry in traffic)
    if count > bounds.MAX_CONNECTIONS:
        message = f"expected at most {bounds.MAX_CONNECTIONS} streams and connections in all, got {count}"
        yield _at(document, ("traffic",), message)


def too_long(document: Document, scenarios: Sequence[Scenario]) -> Iterator[Problem]:
    """Yield a problem where all runs of all scenarios of the file would take longer than a day."""
    total_ns = sum(scenario.repeat * _longest_ns(scenario.traffic) for scenario in scenarios)
    if total_ns > bounds.MAX_TOTAL_NS:
        most, asked = duration_text(bounds.MAX_TOTAL_NS), f"{total_ns / 10**9:.0f}s"
        points = f" of {len(scenarios)} combinations" if len(scenarios) > 1 else ""
        message = f"expected at most {most} of traffic in all runs{points} together, got {asked}"
        loc: Loc = ("traffic",) if document.get("repeat") is None else ("repeat",)
        yield _at(document, loc, message)


def _longest_ns(traffic: Iterable[TrafficSpec]) -> int:
    return max(map(_time_ns, traffic), default=0)


def _time_ns(entry: TrafficSpec) -> int:
    """Return the time that an entry asks for; a transfer of a fixed size and a command end by themselves."""
    spec = entry.spec
    if isinstance(spec, CommandSpec | LoadSpec):
        return 0
    if not isinstance(spec, Iperf3Spec):
        return spec.duration_ns
    known_ns = 0 if spec.size_bytes is not None else _DEFAULT_NS
    return spec.start_ns + (known_ns if spec.duration_ns is None else spec.duration_ns)


def _connections(entry: TrafficSpec) -> int:
    spec = entry.spec
    if isinstance(spec, Iperf3Spec):
        return spec.streams
    if isinstance(spec, HttpSpec):
        return spec.connections
    if isinstance(spec, ConnectionsSpec):
        return spec.concurrency
    return 1 if isinstance(spec, SockperfSpec | LoadSpec) else 0


def _at(document: Document, loc: Loc, message: str) -> Problem:
    found = document.find(loc)
    return document.problem(found.key, found.path, message)
