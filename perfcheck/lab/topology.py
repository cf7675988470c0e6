"""Who is joined to whom: interfaces, addresses and routes of a lab, worked out before anything is made."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from perfcheck.errors import LabError
from perfcheck.model.link import LinkSpec
from perfcheck.model.names import Family
from perfcheck.model.scenario import HostSpec

IPV4_RANGE: Final = IPv4Network("198.18.0.0/15")
"""RFC 2544's range for benchmarks; each link takes a /24 of it."""

IPV6_RANGE: Final = IPv6Network("2001:2::/48")
"""RFC 5180's range for benchmarks; each link takes a /64 of it."""

MAX_LINKS: Final = 2 ** (24 - IPV4_RANGE.prefixlen)

Subnet = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a link: `addresses` are the host's on it, IPv4 first, in the order of the link's subnets."""

    link: int
    host: str
    ifname: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link with its subnets (IPv4 first) and its two ends, in the order of `between`."""

    index: int
    spec: LinkSpec
    subnets: tuple[Subnet, ...]
    ends: tuple[End, End]

    @property
    def label(self) -> str:
        """How messages and records speak of it."""
        return f"links[{self.index}] {'-'.join(self.spec.between)}"

    def end_of(self, host: str) -> End:
        """Return the host's end."""
        return self.ends[0] if self.ends[0].host == host else self.ends[1]

    def end_opposite(self, host: str) -> End:
        """Return the other host's end."""
        return self.ends[1] if self.ends[0].host == host else self.ends[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A static route of a host: a subnet that is not its own, through a neighbour's address on an interface."""

    subnet: str
    via: str
    ifname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A lab on paper; hosts forward only where the file says `router: true`."""

    hosts: Mapping[str, HostSpec]
    links: tuple[Link, ...]

    def links_of(self, host: str) -> tuple[Link, ...]:
        """Return the host's links in the file's order, which is that of its interfaces."""
        return tuple(link for link in self.links if host in link.spec.between)

    def paths_from(self, host: str) -> Mapping[str, tuple[Link, ...]]:
        """Return the shortest path to each host that can be reached, the first listed link winning a tie."""
        paths: dict[str, tuple[Link, ...]] = {host: ()}
        queue = deque([host])
        while queue:
            here = queue.popleft()
            if here != host and not self.hosts[here].router:
                continue
            for link in self.links_of(here):
                there = link.end_opposite(here).host
                if there not in paths:
                    paths[there] = (*paths[here], link)
                    queue.append(there)
        return paths

    def next_link(self, host: str, target: str) -> Link | None:
        """Return the link over which the host reaches the target: the file's word, else the shortest path's."""
        via = self.hosts[host].via.get(target)
        if via is not None:
            return next((link for link in self.links_of(host) if link.end_opposite(host).host == via), None)
        path = self.paths_from(host).get(target)
        return path[0] if path else None

    def path(self, source: str, target: str) -> tuple[Link, ...] | None:
        """Return the links that packets take from one host to another; None where they do not arrive."""
        here = source
        taken: list[Link] = []
        while here != target:
            link = self.next_link(here, target)
            if link is None or len(taken) > len(self.hosts) or not (here == source or self.hosts[here].router):
                return None
            taken.append(link)
            here = link.end_opposite(here).host
        return tuple(taken)

    def routes_of(self, host: str) -> tuple[Route, ...]:
        """Return the host's static routes, those to single addresses of hosts that some `via` names last."""
        return (*self._subnet_routes(host), *self._address_routes(host))

    def _address_routes(self, host: str) -> Iterator[Route]:
        """Return routes to all addresses of each host that is not reached by the shortest path from everywhere."""
        for target in dict.fromkeys(name for spec in self.hosts.values() for name in spec.via):
            if target == host or self.path(host, target) is None:
                continue
            first = self.next_link(host, target)
            assert first is not None  # noqa: S101 - there is a path
            gateways = first.end_opposite(host)
            for link in self.links_of(target):
                if link is first:
                    continue
                for address, via in zip(link.end_of(target).addresses, gateways.addresses, strict=True):
                    yield Route(subnet=str(ip_network(address)), via=via, ifname=first.end_of(host).ifname)

    def _subnet_routes(self, host: str) -> tuple[Route, ...]:
        """Return static routes to the subnets of all other links in reach, each towards its nearer router."""
        paths = self.paths_from(host)
        routes = []
        for link in self.links:
            if host in link.spec.between:
                continue
            reachable = [paths[end.host] for end in link.ends if end.host in paths and self.hosts[end.host].router]
            if not reachable:
                continue
            first = min(reachable, key=len)[0]
            gateway = first.end_opposite(host)
            routes += [
                Route(subnet=str(subnet), via=via, ifname=first.end_of(host).ifname)
                for subnet, via in zip(link.subnets, gateway.addresses, strict=True)
            ]
        return tuple(routes)

    def address_towards(self, host: str, peer: str, family: Family = "ipv4") -> str:
        """Return the address of `host` on the path from `peer`; LabError where there is no path, or no IPv6."""
        if peer == host:
            raise LabError(f"host {host}: a host has no path to itself in the lab")
        path = self.path(peer, host)
        if path is None:
            raise LabError(
                f"there is no path from {peer} to {host}: add a link, or set `router: true` on the hosts in between"
            )
        addresses = path[-1].end_of(host).addresses
        if family == "ipv4":
            return addresses[0]
        if len(addresses) == 1:
            raise LabError(f"host {host}: this kernel has no IPv6, which the traffic asks for (family: ipv6)")
        return addresses[1]


def lay_out(hosts: Mapping[str, HostSpec], links: Sequence[LinkSpec], *, ipv6: bool) -> Topology:
    """Name interfaces (eth0, eth1 ... in the file's order of links) and give addresses; LabError for unknown hosts."""
    if len(links) > MAX_LINKS:
        raise LabError(f"{len(links)} links are too many: {IPV4_RANGE} has addresses for {MAX_LINKS}")
    used = dict.fromkeys(hosts, 0)
    laid: list[Link] = []
    for index, spec in enumerate(links):
        for name in spec.between:
            if name not in hosts:
                raise LabError(f"links[{index}]: there is no host {name}; hosts are {', '.join(hosts)}")
        subnets = _subnets(index, ipv6=ipv6)
        first, second = (
            End(
                link=index,
                host=name,
                ifname=f"eth{used[name]}",
                mac=f"02:00:00:{index // 256:02x}:{index % 256:02x}:{n:02x}",
                addresses=tuple(str(subnet[n]) for subnet in subnets),
            )
            for n, name in enumerate(spec.between, start=1)
        )
        for name in spec.between:
            used[name] += 1
        laid.append(Link(index=index, spec=spec, subnets=subnets, ends=(first, second)))
    topology = Topology(hosts=hosts, links=tuple(laid))
    _check_named_neighbours(topology)
    return topology


def _check_named_neighbours(topology: Topology) -> None:
    for host, spec in topology.hosts.items():
        for target, via in spec.via.items():
            if target not in topology.hosts or target == host or topology.path(host, target) is None:
                raise LabError(f"host {host}: packets via {via} do not reach {target}")
        for neighbour in spec.nat:
            if not any(neighbour in link.spec.between for link in topology.links_of(host)) or neighbour == host:
                raise LabError(f"host {host}: nat names {neighbour}, which is not its neighbour")


def _subnets(index: int, *, ipv6: bool) -> tuple[Subnet, ...]:
    second, third = divmod(index, 256)
    ipv4 = ip_network(f"198.{18 + second}.{third}.0/24")
    return (ipv4, ip_network(f"2001:2:0:{index:x}::/64")) if ipv6 else (ipv4,)
