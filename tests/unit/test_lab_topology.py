"""Addresses and routes of any lab, walked hop by hop as the hosts' own routing tables would."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.errors import LabError
from perfcheck.lab.topology import IPV4_RANGE, IPV6_RANGE, Topology, lay_out
from perfcheck.model.names import Family
from perfcheck.model.scenario import HostSpec, LinkSpec

NAMES = "abcdefg"
FAMILIES: Final[tuple[Family, ...]] = ("ipv4", "ipv6")


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    names = NAMES[: draw(st.integers(2, len(NAMES)))]
    hosts = {name: HostSpec(router=draw(st.booleans())) for name in names}
    pairs = st.sampled_from([pair for one, two in combinations(names, 2) for pair in ((one, two), (two, one))])
    links = [LinkSpec(between=pair) for pair in draw(st.lists(pairs, max_size=10))]
    return lay_out(hosts, links, ipv6=draw(st.booleans()))


def owner_of(topology: Topology, address: str) -> str:
    (owner,) = {end.host for link in topology.links for end in link.ends if address in end.addresses}
    return owner


def next_hop(topology: Topology, host: str, address: str) -> str | None:
    """Look the address up in the host's table: its static routes and connected subnets, the longest prefix first."""
    found: list[tuple[int, str]] = []
    for link in topology.links_of(host):
        lengths = [subnet.prefixlen for subnet in link.subnets if ip_address(address) in subnet]
        found += [(length, link.end_opposite(host).host) for length in lengths]
    for route in topology.routes_of(host):
        if ip_address(address) in ip_network(route.subnet):
            (link,) = (link for link in topology.links_of(host) if link.end_of(host).ifname == route.ifname)
            assert route.via in link.end_opposite(host).addresses
            found.append((ip_network(route.subnet).prefixlen, link.end_opposite(host).host))
    return max(found, default=(0, None), key=lambda entry: entry[0])[1]


def walk(topology: Topology, source: str, address: str) -> list[str]:
    """Follow a packet to the host that has the address; raises where it is dropped or goes round."""
    visited = [source]
    while address not in {own for link in topology.links_of(visited[-1]) for own in link.end_of(visited[-1]).addresses}:
        here = visited[-1]
        assert len(visited) <= len(topology.hosts), f"a loop: {visited}"
        assert here == source or topology.hosts[here].router, f"{here} does not forward: {visited}"
        following = next_hop(topology, here, address)
        assert following is not None, f"{here} has no route to {address}: {visited}"
        visited.append(following)
    return visited


def reachable(topology: Topology, source: str) -> set[str]:
    """Hosts that packets can get to, by exhaustive search (the oracle)."""
    found = {source}
    grown = True
    while grown:
        edges = [link.spec.between for link in topology.links]
        new = {
            there for here in found if here == source or topology.hosts[here].router
            for pair in edges if here in pair for there in pair
        } - found  # fmt: skip
        found |= new
        grown = bool(new)
    return found - {source}


@given(topologies())
def test_every_pair_that_is_connected_has_a_route_both_ways(topology: Topology) -> None:
    for source in topology.hosts:
        connected = reachable(topology, source)
        for target in set(topology.hosts) - {source}:
            if target not in connected:
                with pytest.raises(LabError, match=f"no path from {source} to {target}"):
                    topology.address_towards(target, source)
                continue
            address = topology.address_towards(target, source)
            assert owner_of(topology, address) == target
            assert walk(topology, source, address)[-1] == target
            back = topology.address_towards(source, target)
            assert walk(topology, target, back)[-1] == source


@given(topologies())
def test_both_families_take_the_same_way(topology: Topology) -> None:
    for host in topology.hosts:
        routes = topology.routes_of(host)
        for link in topology.links:
            ways = [
                (route.ifname, ip_network(route.subnet)) for route in routes if ip_network(route.subnet) in link.subnets
            ]
            assert not ways or {subnet for _, subnet in ways} == set(link.subnets)
            assert len({ifname for ifname, _ in ways}) <= 1


@given(topologies())
def test_names_and_addresses_are_unique_and_of_the_benchmark_ranges(topology: Topology) -> None:
    ends = [end for link in topology.links for end in link.ends]
    addresses = [address for end in ends for address in end.addresses]
    assert len(addresses) == len(set(addresses))
    assert len({end.mac for end in ends}) == len(ends)
    assert len({(end.host, end.ifname) for end in ends}) == len(ends)
    assert all(ip_address(address) in (IPV6_RANGE if ":" in address else IPV4_RANGE) for address in addresses)
    assert all(int(end.mac[:2], 16) & 3 == 2 for end in ends)  # locally administered, unicast
    for link in topology.links:
        for end in link.ends:
            inside = [ip_address(a) in subnet for a, subnet in zip(end.addresses, link.subnets, strict=True)]
            assert all(inside)


def test_a_chain_goes_through_its_router() -> None:
    hosts = {"client": HostSpec(), "middle": HostSpec(router=True), "server": HostSpec()}
    links = [LinkSpec(between=("client", "middle")), LinkSpec(between=("middle", "server"))]
    topology = lay_out(hosts, links, ipv6=True)
    assert topology.address_towards("server", "client") == "198.18.1.2"
    assert topology.address_towards("client", "server") == "198.18.0.1"
    assert topology.address_towards("middle", "server") == "198.18.1.1"
    assert [(route.subnet, route.via, route.ifname) for route in topology.routes_of("client")] == [
        ("198.18.1.0/24", "198.18.0.2", "eth0"),
        ("2001:2:0:1::/64", "2001:2::2", "eth0"),
    ]
    assert topology.routes_of("middle") == ()
    assert [end.ifname for link in topology.links_of("middle") for end in [link.end_of("middle")]] == ["eth0", "eth1"]


@st.composite
def detours(draw: st.DrawFn) -> Topology:
    """Labs of routers in which some hosts name a neighbour for some target, as far as packets then arrive."""
    names = NAMES[: draw(st.integers(3, len(NAMES)))]
    pairs = st.sampled_from(list(combinations(names, 2)))
    links = [LinkSpec(between=pair) for pair in draw(st.lists(pairs, min_size=2, max_size=10, unique=True))]
    hosts = {name: HostSpec(router=True) for name in names}
    for name, target in draw(st.lists(st.permutations(names).map(lambda order: (order[0], order[1])), max_size=4)):
        neighbours = [there for link in links if name in link.between for there in link.between if there != name]
        if neighbours:
            via = {**hosts[name].via, target: draw(st.sampled_from(neighbours))}
            changed = hosts | {name: HostSpec(router=True, via=via)}
            with suppress(LabError):
                lay_out(changed, links, ipv6=True)
                hosts = changed
    return lay_out(hosts, links, ipv6=True)


@settings(deadline=None)
@given(detours())
def test_packets_take_the_way_that_the_file_names(topology: Topology) -> None:
    for source, spec in topology.hosts.items():
        for target in set(topology.hosts) - {source}:
            path = topology.path(source, target)
            if path is None:
                continue
            for family in FAMILIES:
                address = topology.address_towards(target, source, family)
                visited = walk(topology, source, address)
                assert visited[-1] == target
                assert len(visited) == len(path) + 1
                assert target not in spec.via or visited[1] == spec.via[target]


def test_the_way_back_is_another() -> None:
    hosts = {
        "client": HostSpec(via={"server": "up"}), "up": HostSpec(router=True), "down": HostSpec(router=True),
        "server": HostSpec(via={"client": "down"}),
    }  # fmt: skip
    pairs = (("client", "up"), ("up", "server"), ("server", "down"), ("down", "client"))
    topology = lay_out(hosts, [LinkSpec(between=pair) for pair in pairs], ipv6=True)
    there, back = topology.address_towards("server", "client"), topology.address_towards("client", "server")
    assert walk(topology, "client", there) == ["client", "up", "server"]
    assert walk(topology, "server", back) == ["server", "down", "client"]
    # The client answers from the address on the link that it sends over; packets to that, too, go back over `down`.
    assert walk(topology, "server", topology.links[0].end_of("client").addresses[0]) == ["server", "down", "client"]


def test_ways_that_lead_nowhere_are_told() -> None:
    links = [LinkSpec(between=("a", "b")), LinkSpec(between=("b", "c"))]
    with pytest.raises(LabError, match="host a: packets via c do not reach b"):
        lay_out({"a": HostSpec(via={"b": "c"}), "b": HostSpec(), "c": HostSpec()}, links, ipv6=True)
    with pytest.raises(LabError, match="host a: nat names c"):
        lay_out({"a": HostSpec(router=True, nat=("c",)), "b": HostSpec(), "c": HostSpec()}, links, ipv6=True)
    with pytest.raises(LabError, match="this kernel has no IPv6"):
        lay_out({"a": HostSpec(), "b": HostSpec(), "c": HostSpec()}, links, ipv6=False).address_towards(
            "a", "b", "ipv6"
        )


def test_the_first_listed_of_two_links_is_taken() -> None:
    links = [LinkSpec(between=("a", "b")), LinkSpec(between=("b", "a"))]
    topology = lay_out({"a": HostSpec(), "b": HostSpec()}, links, ipv6=False)
    assert topology.address_towards("b", "a") == "198.18.0.2"
    assert topology.address_towards("a", "b") == "198.18.0.1"


def test_as_many_links_as_there_are_subnets() -> None:
    hosts = {"a": HostSpec(), "b": HostSpec()}
    links = [LinkSpec(between=("a", "b"))] * 512
    last = lay_out(hosts, links, ipv6=True).links[-1]
    assert last.ends[1].addresses == ("198.19.255.2", "2001:2:0:1ff::2")
    with pytest.raises(LabError, match="513 links are too many"):
        lay_out(hosts, [*links, links[0]], ipv6=True)


def test_unknown_hosts_and_paths_to_oneself_are_told() -> None:
    with pytest.raises(LabError, match=r"links\[0\]: there is no host b; hosts are a"):
        lay_out({"a": HostSpec()}, [LinkSpec(between=("a", "b"))], ipv6=True)
    with pytest.raises(LabError, match="no path to itself"):
        lay_out({"a": HostSpec()}, [], ipv6=True).address_towards("a", "a")
