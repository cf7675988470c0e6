"""Open vSwitch's datapath against packets sent into it; for a kernel that has the module loaded.

python tests/vm/guest.py -- sh -c 'modprobe openvswitch; .venv/bin/python -m pytest tests/kernel/test_collect_ip_ovs.py'
"""

from __future__ import annotations

import socket
import struct

import collect_lab as lab
import pytest

from perfcheck.collect.ip.ovs import OvsCollector, family_of
from perfcheck.errors import Unavailable

NEW_DATAPATH = 1
NAME, UPCALL_PID = 1, 2
REQUEST_ACK = 0x5
SENT = 50


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def add_datapath(ifname: str) -> None:
    """Make a datapath that nobody in user space serves, in the calling thread's namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as netlink:
        family = family_of(netlink, "ovs_datapath")
        body = bytes(4) + attribute(NAME, ifname.encode() + b"\0") + attribute(UPCALL_PID, bytes(4))
        netlink.send(struct.pack("=IHHIIBBH", 20 + len(body), family, REQUEST_ACK, 0, 0, NEW_DATAPATH, 2, 0) + body)
        (status,) = struct.unpack_from("=i", netlink.recv(1 << 16), 16)
        assert status == 0


def test_packets_without_a_flow_are_upcalls_and_lost_where_nobody_answers() -> None:
    collector = OvsCollector()
    try:
        collector.check()
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    with lab.pair() as pair:
        pair.client(lambda: add_datapath("dp0"))
        lab.run("ip", "-n", pair.names[0], "link", "set", "dp0", "up")
        lab.run("ip", "-n", pair.names[0], "address", "add", "203.0.113.1/24", "dev", "dp0")
        lab.run("ip", "-n", pair.names[0], "neigh", "add", "203.0.113.2", "lladdr", "02:00:00:00:00:02", "dev", "dp0")
        sender = pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with lab.measuring(pair.scope(), collector) as seen, sender:
            for _ in range(SENT):
                sender.sendto(b"x", ("203.0.113.2", 9))
    found = seen["ovs"].metrics
    assert found["ip.ovs_upcalls"] == found["ip.ovs_lost"] == pytest.approx(SENT, abs=4)
    assert found["ip.ovs_hits"] == found["ip.ovs_flows"] == 0
