"""The links that a scenario's measured traffic crosses, and the limits that they set; pure functions of a Scenario."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from perfcheck.model.link import DIRECTIONS, LinkDirection
from perfcheck.model.scenario import Scenario, TrafficSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One link on a path; `directions` are those that carry data (both where nobody knows)."""

    link: int
    directions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPath:
    """The links, in order, that one entry of `traffic` sends its data over.

    `back` are those over which the answers come, where they take another path; both then name one direction each.
    """

    hops: tuple[Hop, ...]
    back: tuple[Hop, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The slowest direction of a path."""

    link: int
    direction: str
    rate_bps: int


def measured_paths(scenario: Scenario) -> tuple[TrafficPath, ...]:
    """Return the distinct paths of the traffic that is not background, by fewest links between its hosts.

    A command that names one host only may talk to any: then each link is a path of its own.
    """
    paths: list[TrafficPath] = []
    for spec in scenario.traffic:
        if not spec.background:
            paths += [path for path in paths_of(scenario, spec) if path not in paths]
    return tuple(paths)


def base_rtt_ns(scenario: Scenario, path: TrafficPath) -> int:
    """Round-trip time that the delays of the path's links add up to, in ns."""
    if not path.back:
        return sum(scenario.links[hop.link].rtt_ns() for hop in path.hops)
    return sum(direction.delay_ns for _, direction in _crossed(scenario, (*path.hops, *path.back)))


def bottleneck(scenario: Scenario, path: TrafficPath) -> Bottleneck | None:
    """Return the slowest direction that carries the path's data; None where no link has a rate or one changes."""
    return slowest(scenario, path, policers=True)


def slowest(scenario: Scenario, path: TrafficPath, *, policers: bool) -> Bottleneck | None:
    """Return the bottleneck, with or without what a policer drops beyond: it limits a rate, and makes nobody wait."""
    rated = []
    for link, direction in _crossed(scenario, path.hops):
        if direction.rate_varies:
            return None
        policed = direction.policer.rate_bps if policers and direction.policer is not None else None
        rates = [rate for rate in (direction.at_start().rate_bps, policed) if rate is not None]
        rated += [Bottleneck(link=link, direction=direction.name, rate_bps=rate) for rate in rates]
    return min(rated, key=lambda found: found.rate_bps, default=None)


def rate_varies(scenario: Scenario, path: TrafficPath) -> bool:
    """Whether the rate of any direction that carries the path's data changes while it does."""
    return any(direction.rate_varies for _, direction in _crossed(scenario, path.hops))


def _crossed(scenario: Scenario, hops: Iterable[Hop]) -> Iterator[tuple[int, LinkDirection]]:
    return ((hop.link, scenario.links[hop.link].direction(name)) for hop in hops for name in hop.directions)


def data_path(scenario: Scenario, source: str, target: str) -> TrafficPath | None:
    """Return the path of data from one host to another; None where packets do not arrive, or for unknown hosts."""
    if source == target or not {source, target} <= scenario.hosts.keys():
        return None
    hops = _route(scenario, source, target)
    return None if hops is None else TrafficPath(hops=hops)


def highest_rates(scenario: Scenario) -> dict[tuple[int, str], int]:
    """Return the most that each direction carries at any moment, by link and direction, where the file says it."""
    found = {}
    for index, link in enumerate(scenario.links):
        for direction in link.directions:
            limits = [] if direction.policer is None else [direction.policer.rate_bps]
            if direction.trace is None and direction.at_start().rate_bps is not None:
                limits.append(max(moment.rate_bps or 0 for moment in direction.moments()))
            if limits:
                found[index, direction.name] = min(limits)
    return found


def steady_together_bps(scenario: Scenario, paths: Sequence[TrafficPath]) -> int | None:
    """Return what the paths carry together; None where the rate of any direction that they cross changes."""
    if any(rate_varies(scenario, path) for path in paths):
        return None
    return together_bps(paths, highest_rates(scenario))


def together_bps(paths: Iterable[TrafficPath], rates: Mapping[tuple[int, str], int]) -> int | None:
    """Return the most that the paths carry together: the least sum of rates of directions that all of them cross.

    Opposite directions of a link are two directions. None where some path crosses none that has a rate. A hop
    with two directions carries data in both: what both carry is its rate.
    """
    choices: set[frozenset[_Crossing]] = set()
    for path in paths:
        crossed = frozenset(
            (frozenset(directions), sum(rates[direction] for direction in directions))
            for directions in ([(hop.link, name) for name in hop.directions] for hop in path.hops)
            if rates.keys() >= set(directions)
        )
        if not crossed:
            return None
        choices.add(crossed)
    return _least(tuple(sorted(choices, key=len)), frozenset(), rates) if choices else None


def _least(
    choices: tuple[frozenset[_Crossing], ...], taken: frozenset[tuple[int, str]], rates: Mapping[tuple[int, str], int]
) -> int:
    """Try each direction of the first path that crosses none of those taken; a few paths cross a few links."""
    open_ = [crossed for crossed in choices if not any(directions <= taken for directions, _ in crossed)]
    if not open_:
        return sum(rates[each] for each in taken)
    if len(open_) > _TRIED:
        slowest = min(open_[0], key=lambda crossing: crossing[1])
        return _least(tuple(open_), taken | slowest[0], rates)
    return min(_least(tuple(open_), taken | directions, rates) for directions, _ in open_[0])


_Crossing = tuple[frozenset[tuple[int, str]], int]
_TRIED = 6
"""With more paths than so many, the slowest direction of each is taken until so many are left."""


def impairs(scenario: Scenario) -> bool:
    """Whether any link of the scenario delays, limits, drops or disturbs packets at all."""
    return any(direction.impairs for link in scenario.links for direction in link.directions)


def paths_of(scenario: Scenario, spec: TrafficSpec) -> list[TrafficPath]:
    """Return the paths of one entry of `traffic`."""
    if spec.load is not None:
        return _routed(scenario, spec.load.from_host, spec.load.to_host, both=spec.load.answered)
    asking = spec.http or spec.sockperf or spec.connections
    if asking is not None:
        return _routed(scenario, asking.from_host, asking.to_host, both=True)
    if spec.iperf3 is not None:
        source, target = spec.iperf3.from_host, spec.iperf3.to_host
        if spec.iperf3.reverse:
            source, target = target, source
        return _routed(scenario, source, target, both=False)
    command = spec.command
    assert command is not None  # noqa: S101 - the model holds exactly one generator
    others = [host for host in scenario.hosts if host != command.host]
    if command.server is not None and command.server.host != command.host:
        return _routed(scenario, command.host, command.server.host, both=True)
    if len(others) == 1:
        return _routed(scenario, command.host, others[0], both=True)
    return [TrafficPath(hops=(Hop(link=index, directions=DIRECTIONS),)) for index in range(len(scenario.links))]


def _routed(scenario: Scenario, source: str, target: str, *, both: bool) -> list[TrafficPath]:
    """Return the path that packets take, or an empty list where they do not arrive."""
    there, back = _route(scenario, source, target), _route(scenario, target, source)
    if there is None or back is None:
        return []
    if [hop.link for hop in there] != [hop.link for hop in reversed(back)]:
        return [TrafficPath(hops=there, back=back)]
    return [
        TrafficPath(hops=tuple(Hop(link=hop.link, directions=DIRECTIONS if both else hop.directions) for hop in there))
    ]


def _route(scenario: Scenario, source: str, target: str) -> tuple[Hop, ...] | None:
    """Follow `via` where a host has it, else the path with the fewest links."""
    here = source
    hops: list[Hop] = []
    while here != target:
        if len(hops) > len(scenario.hosts):
            return None
        via = scenario.hosts[here].via.get(target)
        link = _first_link(scenario, here, target if via is None else via)
        if link is None:
            return None
        forward = scenario.links[link].between[0] == here
        hops.append(Hop(link=link, directions=("forward",) if forward else ("reverse",)))
        here = scenario.links[link].between[1 if forward else 0]
    return tuple(hops)


def _first_link(scenario: Scenario, source: str, target: str) -> int | None:
    """Search breadth first, links in the file's order, and return the first link of the path."""
    waiting: deque[tuple[str, int | None]] = deque([(source, None)])
    seen = {source}
    while waiting:
        host, first = waiting.popleft()
        if host == target:
            return first
        for index, link in enumerate(scenario.links):
            if host not in link.between:
                continue
            peer = link.between[1 if link.between[0] == host else 0]
            if peer not in seen:
                seen.add(peer)
                waiting.append((peer, index if first is None else first))
    return None
