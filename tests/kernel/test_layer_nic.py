"""Softirqs, NAPI polls, interrupts and interfaces' counters against /proc, sysfs and what was sent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import collect_lab as lab
import pytest

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect.drops import DropsCollector
from perfcheck.collect.machine import MachineCollector
from perfcheck.collect.netlink import NetlinkCollector
from perfcheck.collect.nic import NicCollector
from perfcheck.system.clock import now_ns, wait_until

DATAGRAMS = 20_000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


@pytest.fixture(scope="module")
def nic() -> Iterator[NicCollector]:
    made = NicCollector()
    made.open()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[lab.Pair]:
    with lab.pair() as made:
        yield made


def flood(pair: lab.Pair, count: int = DATAGRAMS) -> None:
    """Send datagrams to a port that a socket holds which never reads."""
    with (
        pair.server(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver,
        pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender,
    ):
        receiver.bind((pair.addresses[1], 0))
        for _ in range(count):
            sender.sendto(bytes(100), receiver.getsockname())


def softirqs() -> dict[str, int]:
    """Runs of each softirq on all CPUs, from /proc/softirqs."""
    rows = (line.split() for line in Path("/proc/softirqs").read_text().splitlines()[1:])
    return {name.rstrip(":"): sum(map(int, counts)) for name, *counts in rows}


def interrupts() -> int:
    """Interrupts of all kinds on all CPUs, added up from /proc/interrupts, another file than the collector's.

    TLB shootdowns come as function calls (CAL), and ERR and MIS are errors: all of them would count twice.
    """
    head, *lines = Path("/proc/interrupts").read_text().splitlines()
    cpus = len(head.split())
    kinds = (line.split() for line in lines)
    return sum(
        int(word) for name, *words in kinds if name not in {"TLB:", "ERR:", "MIS:", "HYP:"}
        for word in words[:cpus] if word.isdigit()
    )  # fmt: skip


def statistic(pair: lab.Pair, end: int, name: str) -> int:
    return int(lab.run("ip", "netns", "exec", pair.names[end], "cat", f"/sys/class/net/eth0/statistics/{name}"))


def test_each_run_of_a_network_softirq_is_measured_once(nic: NicCollector, pair: lab.Pair) -> None:
    with lab.measuring(pair.scope(), nic) as seen:
        before = softirqs()
        flood(pair)
        after = softirqs()
    runs = seen["nic"].distributions["nic.rx_softirq_run_us"]
    assert runs.count == pytest.approx(after["NET_RX"] - before["NET_RX"], rel=0.02, abs=20)
    assert runs.count > 1000
    delays = seen["nic"].distributions["nic.rx_softirq_delay_us"]
    assert delays.count == pytest.approx(runs.count, rel=0.02, abs=20)
    assert delays.total > 0
    assert sum(one.lost_events for one in seen.values()) == 0


def test_the_busiest_cpus_share_is_its_runs_added_up(nic: NicCollector, pair: lab.Pair) -> None:
    started_ns = now_ns()
    with lab.measuring(pair.scope(), nic) as seen:
        flood(pair)
    elapsed_us = (now_ns() - started_ns) / 1000
    runs, share = seen["nic"].distributions["nic.rx_softirq_run_us"], seen["nic"].metrics["nic.rx_softirq_pct"]
    # With two CPUs at work the busier one has at least half of it, and none more than all.
    assert 0 < share <= 100
    assert share * elapsed_us / 100 <= 1.05 * runs.total + 1


def test_every_packet_is_the_work_of_one_poll(nic: NicCollector, pair: lab.Pair) -> None:
    # Other namespaces' packets go through the same backlogs, so that at least ours must be there.
    with lab.measuring(pair.scope(), nic) as seen:
        flood(pair)
    work = seen["nic"].distributions["nic.napi_work_packets"]
    assert work.total >= 0.98 * DATAGRAMS
    assert seen["nic"].metrics["nic.napi_polls"] == work.count > 0


def test_interrupts_and_softirqs_of_the_machine_are_those_of_proc(pair: lab.Pair) -> None:
    machine = MachineCollector()
    with lab.measuring(pair.scope(), machine) as seen:
        started_ns, before, irqs = now_ns(), softirqs(), interrupts()
        flood(pair)
        ends_ns = now_ns() + 500_000_000
        assert wait_until(lambda: now_ns() > ends_ns, timeout_s=5, interval_s=0.02)
        elapsed_s, after, served = (now_ns() - started_ns) / 1e9, softirqs(), interrupts() - irqs
    found = seen["machine"].metrics
    assert found["nic.interrupts_per_s"] == pytest.approx(served / elapsed_s, rel=0.05)
    assert found["nic.rx_softirqs"] == pytest.approx(after["NET_RX"] - before["NET_RX"], rel=0.02, abs=20)
    assert found["nic.softnet_processed"] >= 0.98 * DATAGRAMS
    assert 0 < found["cpu.host_busy_pct"] <= found["cpu.busiest_pct"] + 0.1 <= 100.1


def test_interfaces_count_what_passed_and_what_they_dropped(pair: lab.Pair) -> None:
    with contextlib.ExitStack() as stack:
        drops = DropsCollector()
        drops.open()
        stack.callback(drops.close)
        netlink = NetlinkCollector()
        with lab.measuring(pair.scope(), netlink, drops) as seen:
            names = ("rx_packets", "tx_packets", "rx_dropped", "tx_dropped", "tx_bytes")
            before = {name: sum(statistic(pair, end, name) for end in (0, 1)) for name in names}
            flood(pair, 1000)
            after = {name: sum(statistic(pair, end, name) for end in (0, 1)) for name in names}
    grew = {name: after[name] - before[name] for name in names}
    found = layer_metrics(tuple(seen.values()))
    assert grew["tx_packets"] >= 1000
    assert found["nic.tx_packets"] == pytest.approx(grew["tx_packets"], rel=0.02)
    assert found["nic.rx_packets"] == pytest.approx(grew["rx_packets"], rel=0.02)
    assert found["nic.tx_packet_bytes.mean"] == pytest.approx(grew["tx_bytes"] / grew["tx_packets"], rel=0.02)
    assert found["nic.tx_drops"] == grew["tx_dropped"] == 0


def test_offloads_are_those_that_ethtool_shows(pair: lab.Pair) -> None:
    words = {"tso": "tcp-segmentation-offload", "gso": "generic-segmentation-offload",
             "gro": "generic-receive-offload", "rx_csum": "rx-checksumming", "tx_csum": "tx-checksumming"}  # fmt: skip
    lab.run("ip", "netns", "exec", pair.names[0], "ethtool", "-K", "eth0", "tso", "on", "gso", "on")
    netlink = NetlinkCollector()
    with lab.measuring(pair.scope(), netlink) as seen:
        flood(pair, 1)
    shown = [lab.run("ip", "netns", "exec", name, "ethtool", "-k", "eth0") for name in pair.names]
    for name, word in words.items():
        on = sum(f"\n{word}: on" in text for text in shown)
        assert seen["netlink"].metrics[f"nic.offload_{name}_pct"] == 100 * on / 2, name


def test_a_devices_busiest_transmit_queue_is_that_of_tc(pair: lab.Pair) -> None:
    """A device of four queues under mq; packets of one flow all take the same one."""
    lab.run("ip", "-n", pair.names[0], "link", "add", "many", "numtxqueues", "4", "type", "veth", "peer", "name", "far")
    for device in ("many", "far"):
        lab.run("ip", "-n", pair.names[0], "link", "set", device, "up")
    lab.run("ip", "-n", pair.names[0], "address", "add", "203.0.113.1/24", "dev", "many")
    lab.run("ip", "-n", pair.names[0], "neigh", "add", "203.0.113.2", "lladdr", "02:00:00:00:00:02", "dev", "many")
    lab.run("tc", "-n", pair.names[0], "qdisc", "replace", "dev", "many", "root", "mq")
    netlink = NetlinkCollector()
    with pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.connect(("203.0.113.2", 9))
        with lab.measuring(pair.scope(), netlink) as seen:
            for _ in range(300):
                sender.send(b"x")
    shown = json.loads(lab.run("tc", "-n", pair.names[0], "-s", "-j", "qdisc", "show", "dev", "many"))
    packets = [one["packets"] for one in shown if not one.get("root")]
    assert len(packets) == 4
    assert seen["netlink"].metrics["nic.tx_queues"] == 4
    assert seen["netlink"].metrics["nic.tx_queue_busiest_pct"] == pytest.approx(
        100 * max(packets) / sum(packets), abs=5
    )


def test_a_full_ring_of_a_tap_is_told_by_its_reason(pair: lab.Pair) -> None:
    """A TAP that nobody reads takes as many packets as its ring holds; the rest is dropped, and says why."""
    lab.run("ip", "-n", pair.names[0], "tuntap", "add", "tap0", "mode", "tap")
    lab.run("ip", "-n", pair.names[0], "link", "set", "tap0", "txqueuelen", "100", "up")
    lab.run("ip", "-n", pair.names[0], "address", "add", "203.0.113.1/24", "dev", "tap0")
    reader = pair.client(lambda: attach_tap("tap0"))
    try:
        lab.run("ip", "-n", pair.names[0], "neigh", "add", "203.0.113.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0")
        drops, netlink = DropsCollector(), NetlinkCollector()
        drops.open()
        sender = pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with contextlib.closing(drops), sender, lab.measuring(pair.scope(), drops, netlink) as seen:
            for _ in range(500):
                sender.sendto(bytes(100), ("203.0.113.2", 9))
    finally:
        os.close(reader)
    found = layer_metrics(tuple(seen.values()))
    assert found["nic.drops_ring_full"] == pytest.approx(400, abs=20)
    assert found["nic.tx_drops"] == pytest.approx(found["nic.drops_ring_full"], rel=0.02)


def attach_tap(ifname: str) -> int:
    """Hold the other side of a TAP; gives the descriptor."""
    held = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(held, TUNSETIFF, struct.pack("16sH22x", ifname.encode(), IFF_TAP | IFF_NO_PI))
    return held
