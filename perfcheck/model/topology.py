"""Which links a scenario's measured traffic crosses, and what they decide of it; pure functions of a Scenario."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from perfcheck.model.scenario import Scenario, TrafficSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One link on a path; `ways` are the directions that carry data (both where nobody knows)."""

    link: int
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPath:
    """The links, in order, that one entry of `traffic` sends its data over."""

    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The slowest direction of a path."""

    link: int
    way: str
    rate_bps: int


def measured_paths(scenario: Scenario) -> tuple[TrafficPath, ...]:
    """Give the distinct paths of the traffic that is not background, by fewest links between its hosts.

    A command that names one host only may talk to any: then each link is a path of its own.
    """
    paths: list[TrafficPath] = []
    for spec in scenario.traffic:
        if not spec.background:
            paths += [path for path in _paths_of(scenario, spec) if path not in paths]
    return tuple(paths)


def base_rtt_ns(scenario: Scenario, path: TrafficPath) -> int:
    """Round-trip time that the delays of the path's links add up to, in ns."""
    return sum(scenario.links[hop.link].rtt_ns() for hop in path.hops)


def bottleneck(scenario: Scenario, path: TrafficPath) -> Bottleneck | None:
    """Give the slowest direction that carries the path's data, or None where no link has a rate."""
    rated = [
        Bottleneck(link=hop.link, way=way, rate_bps=rate)
        for hop in path.hops
        for way in hop.ways
        if (rate := scenario.links[hop.link].direction(way).rate_bps) is not None
    ]
    return min(rated, key=lambda found: found.rate_bps, default=None)


def impairs(scenario: Scenario) -> bool:
    """Whether any link of the scenario delays, limits, drops or disturbs packets at all."""
    return any(_direction_impairs(scenario, link, way) for link in range(len(scenario.links)) for way in _BOTH)


_BOTH = ("forward", "reverse")


def _direction_impairs(scenario: Scenario, link: int, way: str) -> bool:
    found = scenario.links[link].direction(way)
    lossy = found.loss is not None and found.loss.mean_pct > 0
    rest = (found.reorder_pct, found.duplicate_pct, found.corrupt_pct, found.trace, found.policer, found.schedule)
    return lossy or any((found.delay_ns, found.jitter_ns, found.rate_bps, *rest))


def _paths_of(scenario: Scenario, spec: TrafficSpec) -> list[TrafficPath]:
    asking = spec.http or spec.sockperf
    if asking is not None:
        return _routed(scenario, asking.from_host, asking.to_host, both_ways=True)
    if spec.iperf3 is not None:
        source, target = spec.iperf3.from_host, spec.iperf3.to_host
        if spec.iperf3.reverse:
            source, target = target, source
        return _routed(scenario, source, target, both_ways=False)
    command = spec.command
    assert command is not None  # noqa: S101 - the model holds exactly one generator
    others = [host for host in scenario.hosts if host != command.host]
    if command.server is not None and command.server.host != command.host:
        return _routed(scenario, command.host, command.server.host, both_ways=True)
    if len(others) == 1:
        return _routed(scenario, command.host, others[0], both_ways=True)
    return [TrafficPath(hops=(Hop(link=index, ways=_BOTH),)) for index in range(len(scenario.links))]


def _routed(scenario: Scenario, source: str, target: str, *, both_ways: bool) -> list[TrafficPath]:
    """Search breadth first, links in the file's order; no path gives an empty list."""
    waiting: deque[tuple[str, tuple[Hop, ...]]] = deque([(source, ())])
    seen = {source}
    while waiting:
        host, hops = waiting.popleft()
        if host == target:
            return [TrafficPath(hops=hops)]
        for index, link in enumerate(scenario.links):
            if host not in link.between:
                continue
            forward = link.between[0] == host
            peer = link.between[1 if forward else 0]
            if peer in seen:
                continue
            seen.add(peer)
            ways = _BOTH if both_ways else ("forward",) if forward else ("reverse",)
            waiting.append((peer, (*hops, Hop(link=index, ways=ways))))
    return []
