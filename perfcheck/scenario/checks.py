"""Checks the keys of a file against each other: hosts that exist, paths that join them, times that fit.

The checks read the tree, not the validated models, so that they also run on a file with other mistakes.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.impairments import Impairments
from perfcheck.model.link import DIRECTIONS
from perfcheck.model.traffic import GENERATORS
from perfcheck.scenario.cost import check_cost
from perfcheck.scenario.own_metrics import check_own_metrics
from perfcheck.scenario.real_hosts import check_real_hosts, is_real
from perfcheck.scenario.subjects import check_subjects
from perfcheck.scenario.suggest import hint, nearest
from perfcheck.scenario.sysctls import refusal
from perfcheck.scenario.tree import Document, Found, Node, Scalar
from perfcheck.system.place import Loc

DEFAULT_DURATION_NS: Final = 5 * 10**9
MAX_TRAFFIC_NS: Final = 3600 * 10**9

_BETWEEN_HOSTS: Final = {"iperf3": "tcp", "http": "tcp", "sockperf": "udp", "connections": "tcp", "load": "tcp"}
"""Generators that name two hosts by `from` and `to`, with the protocol where the file says none."""

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z][A-Za-z0-9-]{0,14})\}")
_MAX_COMPARED: Final = 5
"""Words in braces of one command that are compared with the hosts' names; one with more has braces of its own."""
_IMPAIRMENTS: Final = (*(field.alias or name for name, field in Impairments.model_fields.items()), *DIRECTIONS)


def check(document: Document) -> list[Problem]:
    """Return every contradiction between the file's keys."""
    links = list(_links(document))
    # Paths are judged only where the links are sound: else a misspelt host would be told twice.
    connected = () if links or not _joined(document) else _connections(document)
    rest = (
        *_measured(document), *check_subjects(document), *check_own_metrics(document), *_followed(document),
        *check_cost(document), *check_real_hosts(document),
    )  # fmt: skip
    return [*_hosts(document), *links, *_traffic(document), *connected, *rest]


def _hosts(document: Document) -> Iterator[Problem]:
    for name in document.table("hosts"):
        yield from _sysctls(document, name)
        yield from _named_neighbours(document, name)
        for index in range(len(document.listing("hosts", name, "setup"))):
            yield from _words(document, ("hosts", name, "setup", index))


def _sysctls(document: Document, host: str) -> Iterator[Problem]:
    loc: Loc = ("hosts", host, "sysctl")
    settings = document.table(*loc)
    for key, entry in settings.items():
        why = refusal(key, machine=is_real(document, host))
        if why is not None:
            yield document.problem(entry.place, document.find((*loc, key)).path, why)
    congestion = document.find(("hosts", host, "congestion"))
    if "net.ipv4.tcp_congestion_control" in settings and not congestion.rest:
        message = "the sysctl net.ipv4.tcp_congestion_control sets this as well; keep one of the two"
        yield document.problem(congestion.key, congestion.path, message)


def _named_neighbours(document: Document, host: str) -> Iterator[Problem]:
    """Check the hosts that `nat` and `via` name: they exist, are neighbours, and may forward."""
    neighbours = _neighbours(document).get(host, set())
    nat: Loc = ("hosts", host, "nat")
    if document.listing(*nat) and not _is_true(document.get("hosts", host, "router")):
        yield _at(document, document.find(nat), "only a router translates addresses: set router: true as well")
    for index in range(len(document.listing(*nat))):
        yield from _neighbour(document, (*nat, index), neighbours)
    for target, entry in document.table("hosts", host, "via").items():
        loc: Loc = ("hosts", host, "via", target)
        hosts = document.table("hosts")
        if target not in hosts or target == host:
            message = f"expected another host, got {target!r}{hint(target, set(hosts) - {host})}"
            yield document.problem(entry.place, document.find(loc).path, message)
        else:
            yield from _neighbour(document, loc, neighbours)
            yield from _forwards(document, loc, host, target)


def _neighbour(document: Document, loc: Loc, neighbours: set[str]) -> Iterator[Problem]:
    name = document.text(*loc)
    if name is not None and name not in neighbours:
        have = ", ".join(sorted(neighbours)) or "none"
        yield _at(document, document.find(loc), f"expected a host on a link with this one ({have}), got {name!r}")


def _forwards(document: Document, loc: Loc, host: str, target: str) -> Iterator[Problem]:
    """Follow the way of a packet, which must end at the target."""
    neighbours = _neighbours(document)
    routers = {name for name in document.table("hosts") if _is_true(document.get("hosts", name, "router"))}
    here, taken = host, [host]
    while here != target:
        way = _path(neighbours, routers, here, target)
        following = document.text("hosts", here, "via", target) or (None if way is None else (*way, target)[0])
        if following is None or following not in neighbours.get(here, ()):
            return  # told elsewhere, or there is no path at all
        if following in taken:
            message = f"routing loop for packets to {target}: {', '.join((*taken, following))}"
            yield _at(document, document.find(loc), message)
            return
        if following != target and following not in routers:
            yield _at(document, document.find(loc), f"{following} does not forward: set router: true on it")
            return
        taken.append(following)
        here = following


def _words(document: Document, loc: Loc) -> Iterator[Problem]:
    """Check a command: it can be split into words, and what looks like a misspelt {HOST} is said."""
    text = document.text(*loc)
    if text is None:
        return
    found = document.find(loc)
    try:
        words = shlex.split(text)
    except ValueError as error:
        yield _at(document, found, f"cannot be split into words by the quoting rules of a shell: {str(error).lower()}")
        return
    if not words:
        yield _at(document, found, "expected a command, got an empty text")
    if "&&" in words or "||" in words:
        yield _at(
            document,
            found,
            "'&&' and '||' need a shell, and commands run without one; write each command as a separate entry",
        )
    hosts = document.table("hosts")
    unknown = [name for name in dict.fromkeys(_PLACEHOLDER.findall(text)) if name not in hosts]
    for name in unknown[:_MAX_COMPARED]:
        meant = nearest(name, hosts)
        if meant is not None:
            yield _at(document, found, f"unknown host {{{name}}}; did you mean {{{meant}}}?")


def _links(document: Document) -> Iterator[Problem]:
    joined: dict[frozenset[str], int] = {}
    for index in range(len(document.listing("links"))):
        loc: Loc = ("links", index)
        names = [document.text(*loc, "between", end) for end in range(len(document.listing(*loc, "between")))]
        for end in range(len(names)):
            yield from _known_host(document, (*loc, "between", end))
        pair = frozenset(name for name in names if name is not None)
        if len(pair) == 2:
            first = joined.setdefault(pair, index)
            if first != index:
                message = f"links[{first}] joins the same two hosts; a second path needs a router between them"
                yield _at(document, document.find((*loc, "between")), message)
        yield from _emulator_none(document, loc)


def _joined(document: Document) -> bool:
    """Whether every link has two different ends."""
    ends = [
        [document.text("links", index, "between", end) for end in (0, 1)]
        for index in range(len(document.listing("links")))
    ]
    return all(here is not None and there is not None and here != there for here, there in ends)


def _emulator_none(document: Document, loc: Loc) -> Iterator[Problem]:
    given = [key for key in document.table(*loc) if key in _IMPAIRMENTS]
    if document.text(*loc, "emulator") == "none" and given:
        message = f"emulator none does not support {', '.join(given)}"
        yield _at(document, document.find((*loc, "emulator")), message)


def _traffic(document: Document) -> Iterator[Problem]:
    for index in range(len(document.listing("traffic"))):
        for generator in _BETWEEN_HOSTS:
            yield from _between_hosts(document, ("traffic", index, generator))
        yield from _command(document, ("traffic", index, "command"))


def _between_hosts(document: Document, loc: Loc) -> Iterator[Problem]:
    if document.table(*loc):
        yield from _known_host(document, (*loc, "from"))
        yield from _known_host(document, (*loc, "to"))
        yield from _no_warmup(document, loc) if loc[-1] == "load" else _times(document, loc)


def _no_warmup(document: Document, loc: Loc) -> Iterator[Problem]:
    if document.duration_ns("warmup") and not _is_true(document.get(*loc, "background")):
        message = "load does an exact amount of work, without a warm-up; set warmup: 0s"
        yield _at(document, document.find(("warmup",)), message)


def _times(document: Document, loc: Loc) -> Iterator[Problem]:
    duration = document.duration_ns(*loc, "duration")
    sized = document.get(*loc, "bytes") is not None
    length = duration if duration is not None else DEFAULT_DURATION_NS
    start = document.duration_ns(*loc, "start") or 0
    if start + length > MAX_TRAFFIC_NS >= max(start, length):
        found = document.find((*loc, "duration") if duration is not None else (*loc, "start"))
        yield _at(document, found, "expected traffic that ends within an hour")
    warmup = document.duration_ns("warmup") or 0
    if not warmup or _is_true(document.get(*loc, "background")):
        return
    if sized:
        message = "a transfer of a fixed size cannot have a warm-up; set warmup: 0s, or give duration instead of bytes"
        yield _at(document, document.find((*loc, "bytes")), message)
    elif warmup >= length and duration is not None:
        message = "expected a duration longer than the warm-up, which is not measured"
        yield _at(document, document.find((*loc, "duration")), message)
    elif warmup >= length:
        message = f"expected less than the duration of {document.find(loc).path}, which is 5s by default"
        yield _at(document, document.find(("warmup",)), message)


def _command(document: Document, loc: Loc) -> Iterator[Problem]:
    for end in (loc, (*loc, "server")):
        yield from _known_host(document, (*end, "host"))
        yield from _words(document, (*end, "run"))


def _known_host(document: Document, loc: Loc) -> Iterator[Problem]:
    name = document.text(*loc)
    hosts = document.table("hosts")
    if name is not None and hosts and name not in hosts:
        yield _at(document, document.find(loc), f"unknown host {name!r}{hint(name, hosts)}")


def _connections(document: Document) -> Iterator[Problem]:
    hosts = document.table("hosts")
    for index in range(len(document.listing("traffic"))):
        ends_of = dict.fromkeys(_BETWEEN_HOSTS, (("from",), ("to",))) | {"command": (("host",), ("server", "host"))}
        for generator, ends in ends_of.items():
            loc: Loc = ("traffic", index, generator)
            source, target = (document.text(*loc, *end) for end in ends)
            if source in hosts and target in hosts and source is not None and target is not None:
                yield from _connected(document, loc, source, target)


def _connected(document: Document, loc: Loc, source: str, target: str) -> Iterator[Problem]:
    neighbours = _neighbours(document)
    routers = {name for name in document.table("hosts") if _is_true(document.get("hosts", name, "router"))}
    if source == target or _path(neighbours, routers, source, target) is not None:
        return
    message = f"no link joins {source} and {target}"
    way = _path(neighbours, set(neighbours), source, target)
    if way is not None:
        between = [name for name in way if name not in routers]
        message += f"; for a path through {', '.join(way)} set router: true on {', '.join(between)}"
    found = document.find(loc)
    yield document.problem(found.key, found.path, message)


def _neighbours(document: Document) -> Mapping[str, set[str]]:
    neighbours: dict[str, set[str]] = {}
    for index in range(len(document.listing("links"))):
        here, there = (document.text("links", index, "between", end) for end in (0, 1))
        if here is not None and there is not None:
            neighbours.setdefault(here, set()).add(there)
            neighbours.setdefault(there, set()).add(here)
    return neighbours


def _path(
    neighbours: Mapping[str, set[str]], routers: set[str], source: str, target: str
) -> tuple[str, ...] | None:  # fmt: skip
    """Return the hosts between the two on a shortest path over routers, or None where there is none."""
    waiting: deque[tuple[str, tuple[str, ...]]] = deque([(source, ())])
    seen = {source}
    while waiting:
        host, way = waiting.popleft()
        for peer in sorted(neighbours.get(host, ())):
            if peer == target:
                return way
            if peer in routers and peer not in seen:
                seen.add(peer)
                waiting.append((peer, (*way, peer)))
    return None


def _measured(document: Document) -> Iterator[Problem]:
    """Check that something is measured, and that each expected layer has traffic of its protocol."""
    entries = [document.table("traffic", index) for index in range(len(document.listing("traffic")))]
    protocols: set[str] = set()
    for index, entry in enumerate(entries):
        for generator in entry.keys() & GENERATORS:
            loc: Loc = ("traffic", index, generator)
            if not _is_true(document.get(*loc, "background")):
                protocols.add(_protocol(document, loc, generator))
    if entries and all(entry.keys() & GENERATORS for entry in entries) and not protocols:
        found = document.find(("traffic",))
        yield document.problem(
            found.key, found.path, "all traffic has background: true, so nothing is measured; remove it from one entry"
        )
        return
    if protocols not in ({"tcp"}, {"udp"}):
        return
    for name, line in document.table("expect").items():
        layer = name.partition(".")[0]
        if name in CATALOGUE and layer in ("tcp", "udp") and layer not in protocols:
            message = f"needs measured {layer.upper()} traffic, but all measured traffic is {min(protocols).upper()}"
            yield document.problem(line.place, document.find(("expect", name)).path, message)


def _protocol(document: Document, loc: Loc, generator: str) -> str:
    """Return the protocol of an entry; `any` of a command."""
    if generator == "load" and document.text(*loc, "kind") == "datagrams":
        return "udp"
    return document.text(*loc, "protocol") or _BETWEEN_HOSTS.get(generator, "any")


def _followed(document: Document) -> Iterator[Problem]:
    """Check what belongs to detail mode: a filter's host exists, and there is a detail mode to filter."""
    host, hosts = document.text("measure", "filter", "host"), document.table("hosts")
    if host is not None and hosts and host not in hosts:
        found = document.find(("measure", "filter", "host"))
        yield _at(document, found, f"unknown host {host!r}{hint(host, hosts)}")


def _is_true(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.value is True


def _at(document: Document, found: Found, message: str) -> Problem:
    return document.problem(found.node.place, found.path, message)
