"""Softirqs, NAPI polls, interrupts and interfaces' counters against /proc, sysfs and what was sent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import collect_lab as lab
import pytest
from bracketing import Bracket, bracketed
from slowing import slowed_tracepoint

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect.drops import DropsCollector
from perfcheck.collect.kernel.machine import MachineCollector
from perfcheck.collect.kernel.netlink import NetlinkCollector
from perfcheck.collect.nic import NicCollector
from perfcheck.ebpf.libbpf import Libbpf
from perfcheck.ebpf.run_stats import RunClock
from perfcheck.system.clock import now_ns, wait_until

DATAGRAMS = 20_000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
RING = 100
CLOCK_READS = 4000
CPUS = os.cpu_count() or 1
TRIES = 20


@pytest.fixture(scope="module")
def nic() -> Iterator[NicCollector]:
    collector = NicCollector()
    # However often programs run: these tests count each run.
    collector.timed_by(RunClock(often=math.inf))
    with lab.opened(collector) as made:
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


def released(pair: lab.Pair, count: int) -> None:
    """Send through a queue whose timer releases each datagram: every release raises NET_TX."""
    options = ("tbf", "rate", "8mbit", "burst", "200", "limit", "1000000")
    lab.run("tc", "-n", pair.names[0], "qdisc", "replace", "dev", "eth0", "root", *options)
    flood(pair, count)
    tc = ("tc", "-n", pair.names[0], "-s", "-j", "qdisc", "show", "dev", "eth0", "root")
    assert wait_until(lambda: json.loads(lab.run(*tc))[0]["qlen"] == 0, timeout_s=5)


def softirqs() -> dict[str, int]:
    """Runs of each softirq on all CPUs, from /proc/softirqs."""
    rows = (line.split() for line in Path("/proc/softirqs").read_text().splitlines()[1:])
    return {name.rstrip(":"): sum(map(int, counts)) for name, *counts in rows}


def received() -> dict[str, int]:
    """Packets that all CPUs took up, from /proc/net/softnet_stat."""
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return {"processed": sum(int(line.split()[0], 16) for line in lines)}


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


def rows_of_proc() -> dict[str, float]:
    return {**softirqs(), **received(), "interrupts": interrupts(), "ns": now_ns()}


def statistics(pair: lab.Pair) -> dict[str, int]:
    """The interfaces' counters in sysfs, of both hosts together."""
    names = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "tx_dropped")
    files = [f"/sys/class/net/eth0/statistics/{name}" for name in names]
    hosts = [lab.run("ip", "netns", "exec", host, "cat", *files).split() for host in pair.names]
    return {name: sum(int(values[index]) for values in hosts) for index, name in enumerate(names)}


def shown(nic: NicCollector, pair: lab.Pair, load: Callable[[lab.Pair, int], None]) -> Bracket:
    """Measure a load; again where the kernel called no program for softirqs that it counted.

    A virtual machine's kernel did so for as long as a thread of process 1 was current on a CPU: none of the programs
    at 23 tracepoints was called there, for interrupts and softirqs that came meanwhile neither, and none was told as
    missed. Of NET_TX as many runs were not seen as the queue's rate gives for that time (551 in 120 tries, 571 by
    the time; correlation 0.99). More than 2 were not seen in 21 tries of 120, and in 0 of 160 in which a SCHED_FIFO
    task kept all others from the CPU that served them.
    """
    lib, program = Libbpf(), nic.programs.program_fd("softirq_entry")

    def counted() -> tuple[int, int, int]:
        """Softirqs of all vectors, and before and after it the kernel's own count of calls: no work of the program."""
        before, runs, after = lib.run_counters(program).calls, softirqs(), lib.run_counters(program).calls
        return sum(runs.values()), before, after

    for _ in range(TRIES):
        with bracketed(softirqs, pair.scope(), nic) as found:
            runs_before, _, calls_before = counted()
            load(pair, 2000)
            runs_after, calls_after, _ = counted()
        # At the most: what came between two counts must hide none.
        not_shown = runs_after - runs_before - (calls_after - calls_before)
        if not_shown <= CPUS:
            return found
    raise AssertionError(f"{not_shown} softirqs called no program, as some in each of {TRIES} tries")


@pytest.mark.parametrize(("way", "load"), [("rx", flood), ("tx", released)])
def test_each_run_of_a_network_softirq_is_measured_once(
    nic: NicCollector, pair: lab.Pair, way: str, load: Callable[[lab.Pair, int], None]
) -> None:
    found = shown(nic, pair, load)
    runs = found.seen["nic"].distributions[f"nic.{way}_softirq_run_us"]
    # A run may be under way on each CPU when the source is read.
    found.holds(f"NET_{way.upper()}", runs.count, slack=CPUS)
    assert runs.count > 1000
    delays = found.seen["nic"].distributions[f"nic.{way}_softirq_delay_us"]
    assert delays.count == pytest.approx(runs.count, abs=CPUS)
    assert delays.total > 0
    assert sum(one.lost_events for one in found.seen.values()) == 0


@pytest.mark.parametrize(
    ("quantity", "tracepoint"),
    [
        # Inside of NET_RX, each packet; and where the sender has raised it, and has not let it run yet.
        ("run", "netif_receive_skb"),
        ("delay", "net_dev_xmit"),
    ],
)
def test_time_that_was_spent_on_purpose_is_in_the_softirqs_time(
    nic: NicCollector, pair: lab.Pair, quantity: str, tracepoint: str
) -> None:
    with slowed_tracepoint(tracepoint, clock_reads=CLOCK_READS) as spent, lab.measuring(pair.scope(), nic) as seen:
        before = spent()
        flood(pair, 1000)
        after = spent()
    distribution = seen["nic"].distributions[f"nic.rx_softirq_{quantity}_us"]
    spent_us = (after.run_ns - before.run_ns) / 1000
    assert after.calls - before.calls >= 1000
    # What remains is the softirq's own work, some us a packet where this took a hundred.
    assert spent_us > 50 * 1000
    assert distribution.total == pytest.approx(spent_us, rel=0.05)


def test_the_busiest_cpus_share_is_its_runs_added_up(nic: NicCollector, pair: lab.Pair) -> None:
    """All of it on one CPU: the sender's, which serves the softirqs that it raises."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    try:
        with bracketed(lambda: {"ns": now_ns()}, pair.scope(), nic) as found:
            flood(pair)
    finally:
        os.sched_setaffinity(0, everywhere)
    runs, share = (
        found.seen["nic"].distributions["nic.rx_softirq_run_us"],
        found.seen["nic"].metrics["nic.rx_softirq_pct"],
    )
    assert 0 < share < 100
    assert share / 100 * found.least["ns"] / 1000 == pytest.approx(runs.total, rel=0.05)


def test_softirqs_timed_a_part_of_the_time_stand_for_all_of_them(pair: lab.Pair) -> None:
    nic = NicCollector()
    nic.timed_by(RunClock(often=100))
    nic.open()
    # With timing on for all programs the kernel counts each call; the clock's own estimate goes by its spans alone.
    stats_fd = Libbpf().enable_stats()
    try:
        fd = nic.programs.program_fd("napi_poll")
        calls = Libbpf().run_counters(fd).calls
        with bracketed(softirqs, pair.scope(), nic) as found:
            ends_s = time.monotonic() + 6
            while time.monotonic() < ends_s:
                flood(pair, 200)
        calls = Libbpf().run_counters(fd).calls - calls
    finally:
        os.close(stats_fd)
        nic.close()
    seen = found.seen["nic"]
    timed = seen.metrics["nic.softirqs_timed_pct"] / 100
    assert 0.03 < timed < 0.3
    runs = seen.distributions["nic.rx_softirq_run_us"]
    assert runs.count / timed == pytest.approx(found.most["NET_RX"], rel=0.2)
    # A run that began before it could be seen, or that nobody raised as far as could be seen, would be far too long.
    assert seen.distributions["nic.rx_softirq_delay_us"].count == pytest.approx(runs.count, rel=0.02)
    estimated = {cost.program: cost.calls for cost in seen.overhead.programs}
    assert estimated["nic/napi_poll"] == pytest.approx(calls, rel=0.2)


def test_every_packet_is_the_work_of_one_poll(nic: NicCollector, pair: lab.Pair) -> None:
    # Other namespaces' packets go through the same backlogs.
    with bracketed(received, pair.scope(), nic) as found:
        flood(pair)
    work = found.seen["nic"].distributions["nic.napi_work_packets"]
    assert work.total >= DATAGRAMS
    found.holds("processed", work.total, slack=64 * CPUS)
    assert found.seen["nic"].metrics["nic.napi_polls"] == work.count > 0


def test_interrupts_and_softirqs_of_the_machine_are_those_of_proc(pair: lab.Pair) -> None:
    machine = MachineCollector()
    # Long enough that what passes while the rows are read is next to nothing.
    with bracketed(rows_of_proc, pair.scope(), machine) as found:
        released(pair, 8000)
    metrics = found.seen["machine"].metrics
    # The fewest in the longest time, and the most in the shortest.
    found.least["rate"] = found.least["interrupts"] / found.most["ns"] * 1e9
    found.most["rate"] = found.most["interrupts"] / found.least["ns"] * 1e9
    found.holds("rate", metrics["nic.interrupts_per_s"])
    found.holds("NET_RX", metrics["nic.rx_softirqs"])
    found.holds("NET_TX", metrics["nic.tx_softirqs"])
    found.holds("processed", metrics["nic.softnet_processed"])
    # In ticks, whose sums over CPUs and whose parts are not of one moment.
    assert 0 <= metrics["cpu.busiest_pct"] <= 100


def test_interfaces_count_what_passed_and_what_they_dropped(pair: lab.Pair) -> None:
    with bracketed(lambda: statistics(pair), pair.scope(), NetlinkCollector()) as found:
        flood(pair, 2000)
    metrics = found.seen["netlink"].metrics
    assert found.least["tx_packets"] >= 2000
    for way in ("rx", "tx"):
        found.holds(f"{way}_packets", metrics[f"nic.{way}_packets"])
        found.holds(f"{way}_bytes", metrics[f"nic.{way}_packet_bytes.mean"] * metrics[f"nic.{way}_packets"])
        assert metrics[f"nic.{way}_drops"] == found.least[f"{way}_dropped"] == 0


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

    def queues() -> dict[str, int]:
        shown = json.loads(lab.run("tc", "-n", pair.names[0], "-s", "-j", "qdisc", "show", "dev", "many"))
        return {one["parent"]: one["packets"] for one in shown if not one.get("root")}

    with pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.connect(("203.0.113.2", 9))
        with bracketed(queues, pair.scope(), NetlinkCollector()) as found:
            for _ in range(2000):
                sender.send(b"x")
    metrics = found.seen["netlink"].metrics
    assert len(found.least) == metrics["nic.tx_queues"] == 4
    busiest = max(found.least, key=lambda parent: found.least[parent])
    assert found.least[busiest] >= 2000
    found.holds(busiest, metrics["nic.tx_queue_busiest_pct"] / 100 * sum(found.least.values()), slack=2)


def test_a_full_ring_of_a_tap_is_told_by_its_reason(pair: lab.Pair) -> None:
    """A TAP that nobody reads takes as many packets as its ring holds; the rest is dropped, and says why."""
    lab.run("ip", "-n", pair.names[0], "tuntap", "add", "tap0", "mode", "tap")
    lab.run("ip", "-n", pair.names[0], "link", "set", "tap0", "txqueuelen", str(RING), "up")
    lab.run("ip", "-n", pair.names[0], "address", "add", "203.0.113.1/24", "dev", "tap0")
    reader = pair.client(lambda: attach_tap("tap0"))
    try:
        lab.run("ip", "-n", pair.names[0], "neigh", "add", "203.0.113.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0")
        drops, netlink = DropsCollector(), NetlinkCollector()
        drops.open()
        sender = pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with contextlib.closing(drops), sender, lab.measuring(pair.scope(), drops, netlink) as seen:
            for _ in range(RING + 2000):
                sender.sendto(bytes(100), ("203.0.113.2", 9))
    finally:
        os.close(reader)
    found = layer_metrics(tuple(seen.values()))
    assert found["nic.drops_ring_full"] == pytest.approx(2000, rel=0.02)
    assert found["nic.tx_drops"] == pytest.approx(found["nic.drops_ring_full"], rel=0.02)


def attach_tap(ifname: str) -> int:
    """Hold the other side of a TAP; gives the descriptor."""
    held = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(held, TUNSETIFF, struct.pack("16sH22x", ifname.encode(), IFF_TAP | IFF_NO_PI))
    return held
