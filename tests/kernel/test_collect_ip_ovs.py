"""Open vSwitch's datapaths against packets sent into them and ovs-dpctl's counts; for a kernel that has the module.

`make vm` runs these in a guest that has one.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator

import collect_lab as lab
import pytest
from bracketing import Bracket, bracketed
from lab_building import need_program

from perfcheck.collect.ip.ovs import OvsCollector, family_of
from perfcheck.errors import Unavailable

GENERIC = 16
NEW_DATAPATH = 1
NAME, UPCALL_PID = 1, 2
REQUEST_ACK = 0x5
SENT = 50
HIT = 400
PEER, STRANGER = "203.0.113.2", "203.0.113.3"
LOOKUPS = re.compile(r"lookups: hit:(\d+) missed:(\d+) lost:(\d+)\s+flows: (\d+)")
"""Of each datapath, as `ovs-dpctl show` tells it."""
NAMES = ("hits", "upcalls", "lost", "flows")


@pytest.fixture(autouse=True)
def ovs() -> OvsCollector:
    """The collector, on a kernel with Open vSwitch and a machine with the program that its counts are compared with."""
    collector = OvsCollector()
    try:
        collector.check()
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    need_program("ovs-dpctl", "openvswitch-switch")
    return collector


def dpctl(pair: lab.Pair, end: int, *words: str) -> str:
    return lab.run("ip", "netns", "exec", pair.names[end], "ovs-dpctl", *words)


def dpctl_counts(pair: lab.Pair) -> dict[str, float]:
    """Add up what ovs-dpctl says of all datapaths of both hosts."""
    shown = [counts for end in (0, 1) for counts in LOOKUPS.findall(dpctl(pair, end, "show"))]
    return {name: float(sum(map(int, values))) for name, values in zip(NAMES, zip(*shown, strict=True), strict=True)}


def agree(kept: Bracket, collector: OvsCollector) -> dict[str, float]:
    """Fail where the collector counted otherwise than ovs-dpctl; return its metrics."""
    metrics = dict(kept.seen[collector.name].metrics)
    for name in ("hits", "upcalls", "lost"):
        kept.holds(name, metrics[f"ip.ovs_{name}"])
    return metrics


def address(pair: lab.Pair, end: int, ifname: str) -> None:
    """Have the host reach others through its datapath's own interface, and say nothing there by itself."""
    name = pair.names[end]
    pair.set_sysctl(name, "net.ipv6.conf.all.disable_ipv6", "1")
    lab.run("ip", "-n", name, "link", "set", ifname, "up")
    lab.run("ip", "-n", name, "address", "add", "203.0.113.1/24", "dev", ifname)
    for number, other in enumerate((PEER, STRANGER), 2):
        lab.run("ip", "-n", name, "neigh", "add", other, "lladdr", f"02:00:00:00:00:0{number}", "dev", ifname)


def send(pair: lab.Pair, end: int, other: str, count: int) -> None:
    inside = (pair.client, pair.server)[end]
    with inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for _ in range(count):
            sender.sendto(b"x", (other, 9))


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


@contextlib.contextmanager
def served_datapath(ifname: str) -> Iterator[socket.socket]:
    """Make a datapath in the calling thread's namespace, and yield the socket that is sent what has no flow."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC) as netlink:
        netlink.bind((0, 0))
        netlink.settimeout(5)
        family = family_of(netlink, "ovs_datapath")
        port, _ = netlink.getsockname()
        body = bytes(4) + attribute(NAME, ifname.encode() + b"\0") + attribute(UPCALL_PID, struct.pack("=I", port))
        netlink.send(struct.pack("=IHHIIBBH", 20 + len(body), family, REQUEST_ACK, 0, 0, NEW_DATAPATH, 2, 0) + body)
        (status,) = struct.unpack_from("=i", netlink.recv(1 << 16), 16)
        assert status == 0
        yield netlink


def test_packets_without_a_flow_are_upcalls_and_lost_where_nobody_answers(pair: lab.Pair, ovs: OvsCollector) -> None:
    dpctl(pair, 0, "add-dp", "dp0")
    address(pair, 0, "dp0")
    with bracketed(lambda: dpctl_counts(pair), pair.scope(), ovs) as kept:
        send(pair, 0, PEER, SENT)
    found = agree(kept, ovs)
    assert found["ip.ovs_upcalls"] == found["ip.ovs_lost"] == SENT
    assert found["ip.ovs_hits"] == found["ip.ovs_flows"] == 0


def test_packets_without_a_flow_that_somebody_takes_are_not_lost(pair: lab.Pair, ovs: OvsCollector) -> None:
    with contextlib.ExitStack() as stack:
        served = pair.client(lambda: stack.enter_context(served_datapath("dp0")))
        address(pair, 0, "dp0")
        with lab.measuring(pair.scope(), ovs) as seen:
            send(pair, 0, PEER, SENT)
            for _ in range(SENT):
                assert b"\x02\x00\x00\x00\x00\x02" in served.recv(1 << 16)
        # Not before: upcalls were seen to go to nobody once ovs-dpctl had looked at the datapath.
        shown = dpctl_counts(pair)
    found = seen["ovs"].metrics
    assert {name: found[f"ip.ovs_{name}"] for name in NAMES} == shown
    assert found["ip.ovs_upcalls"] == SENT
    assert found["ip.ovs_lost"] == found["ip.ovs_hits"] == 0


def test_packets_of_a_flow_are_hits_and_all_datapaths_of_all_hosts_count(pair: lab.Pair, ovs: OvsCollector) -> None:
    flow = f"in_port(0),eth(),eth_type(0x0800),ipv4(dst={PEER})"
    for end, ifname in ((0, "dp0"), (1, "dp1")):
        dpctl(pair, end, "add-dp", ifname)
        dpctl(pair, end, "add-if", ifname, "eth0")
        dpctl(pair, end, "add-flow", ifname, flow, "1")
        address(pair, end, ifname)
    # What leaves one host's datapath comes in at the other's, where no flow is for it.
    with bracketed(lambda: dpctl_counts(pair), pair.scope(), ovs) as kept:
        send(pair, 0, PEER, HIT)
        send(pair, 1, PEER, HIT)
        send(pair, 0, STRANGER, SENT)
    found = agree(kept, ovs)
    assert found["ip.ovs_hits"] == 2 * HIT
    assert found["ip.ovs_upcalls"] == found["ip.ovs_lost"] == 2 * HIT + SENT
    assert found["ip.ovs_flows"] == dpctl_counts(pair)["flows"] == 2


def test_the_flows_of_ovs_dpctl_have_carried_what_hit_them(pair: lab.Pair, ovs: OvsCollector) -> None:
    dpctl(pair, 0, "add-dp", "dp0")
    dpctl(pair, 0, "add-if", "dp0", "eth0")
    dpctl(pair, 0, "add-flow", "dp0", f"in_port(0),eth(),eth_type(0x0800),ipv4(dst={PEER})", "1")
    address(pair, 0, "dp0")
    with lab.measuring(pair.scope(), ovs) as seen:
        send(pair, 0, PEER, HIT)
    (packets,) = re.findall(r"packets:(\d+)", dpctl(pair, 0, "dump-flows", "dp0"))
    assert seen["ovs"].metrics["ip.ovs_hits"] == int(packets) == HIT
