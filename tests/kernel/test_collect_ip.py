"""Routes, fragments, ICMP, neighbours and packet filter against what was sent and nft counted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import collect_lab as lab
import pytest

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect.drops import DropsCollector
from perfcheck.collect.ip.routes import IpCollector
from perfcheck.collect.kernel.netlink import NetlinkCollector
from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.model.seams import Collector
from perfcheck.system.clock import wait_until

SENT = 500


@pytest.fixture(scope="module")
def collectors() -> Iterator[tuple[Collector, ...]]:
    made = (IpCollector(), DropsCollector(), HostCountersCollector(), NetlinkCollector())
    with contextlib.ExitStack() as stack:
        for one in made:
            stack.enter_context(lab.opened(one))
        yield made


def send(pair: lab.Pair, count: int, size: int = 100, address: str = "", port: int = 9) -> None:
    """Send datagrams over an unconnected socket: each of them looks its route up."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pair.client(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        for _ in range(count):
            sender.sendto(bytes(size), (address or pair.addresses[1], port))


@contextlib.contextmanager
def open_port(pair: lab.Pair) -> Iterator[socket.socket]:
    """A socket of the server that takes datagrams."""
    with pair.server(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind((pair.addresses[1], 0))
        receiver.settimeout(5)
        yield receiver


@pytest.mark.parametrize("address", ["198.18.0.2", "2001:2::2"])
def test_each_datagram_of_an_unconnected_socket_looks_up_a_route(
    pair: lab.Pair, collectors: tuple[Collector, ...], address: str
) -> None:
    lab.run("ip", "netns", "exec", pair.names[0], "ping", "-c1", "-W2", address)
    for end in (0, 1):
        pair.nft(end, "add table inet t", "add chain inet t c { type filter hook prerouting priority -300; }",
                 "add rule inet t c meta l4proto udp counter drop")  # fmt: skip
    with lab.measuring(pair.scope(), *collectors) as seen:
        send(pair, SENT, address=address)
    found = layer_metrics(tuple(seen.values()))
    # Neighbours may be probed meanwhile, which takes a look-up or two.
    assert found["ip.route_lookups"] == pytest.approx(SENT, rel=0.02, abs=8)
    assert found["ip.drops_netfilter"] == pytest.approx(SENT, rel=0.02)


def test_datagrams_beyond_the_mtu_are_fragments(pair: lab.Pair, collectors: tuple[Collector, ...]) -> None:
    with open_port(pair) as receiver, lab.measuring(pair.scope(), *collectors) as seen:
        send(pair, SENT, size=4000, port=receiver.getsockname()[1])
        assert {len(receiver.recv(5000)) for _ in range(SENT)} == {4000}
    found = layer_metrics(tuple(seen.values()))
    assert found["ip.frag_creates"] == 3 * SENT
    assert found["ip.reasm_fails"] == 0
    assert found["udp.datagrams_out"] == found["udp.datagrams_in"] == SENT


def test_a_closed_port_is_answered_by_icmp(pair: lab.Pair, collectors: tuple[Collector, ...]) -> None:
    # The kernel limits how many of these it sends.
    with lab.measuring(pair.scope(), *collectors) as seen:
        send(pair, 20)
    found = layer_metrics(tuple(seen.values()))
    assert found["udp.no_ports"] == found["socket.drops_no_socket"] == 20
    assert 0 < found["ip.icmp_errors_out"] <= 20
    assert found["ip.icmp_errors_in"] == found["ip.icmp_errors_out"]


def test_an_unknown_neighbour_costs_its_packets(pair: lab.Pair, collectors: tuple[Collector, ...]) -> None:
    pair.set_sysctl(pair.names[0], "net.ipv4.neigh.eth0.retrans_time_ms", "20")
    with lab.measuring(pair.scope(), *collectors) as seen:
        send(pair, 5, address="198.18.0.77")
        assert wait_until(lambda: "FAILED" in lab.run("ip", "-n", pair.names[0], "neigh"), timeout_s=5)
    found = layer_metrics(tuple(seen.values()))
    assert found["ip.neighbours_failed"] == 1
    assert found["ip.drops_neighbour"] == 5


def test_without_a_route_nothing_is_sent(pair: lab.Pair, collectors: tuple[Collector, ...]) -> None:
    with lab.measuring(pair.scope(), *collectors) as seen:
        for _ in range(100):
            with pytest.raises(OSError, match="unreachable"):
                send(pair, 1, address="192.0.2.1")
    # Both hosts have something to say to all IPv6 routers, too, and no route there yet.
    assert layer_metrics(tuple(seen.values()))["ip.no_routes"] == pytest.approx(100, abs=6)


def test_other_namespaces_do_not_count(pair: lab.Pair, collectors: tuple[Collector, ...]) -> None:
    with lab.pair() as others, lab.measuring(pair.scope(), *collectors) as seen:
        send(others, SENT)
    found = layer_metrics(tuple(seen.values()))
    assert found["ip.route_lookups"] <= 8
    assert found["socket.drops_no_socket"] == 0
