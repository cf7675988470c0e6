"""Figures from the kernel's own counters: rtnetlink's messages, drivers' counters, /proc and /sys, conntrack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect import cpu, drop_reasons, drops, qdisc
from perfcheck.collect.ip import conntrack
from perfcheck.collect.kernel import ethtool, machine, netlink, procfs, rtnetlink
from perfcheck.collect.kernel.snmp import parse6
from perfcheck.collect.sockdiag.skmeminfo import DiagLook
from perfcheck.collect.sockdiag.skmeminfo import look_of as diag_look_of
from perfcheck.collect.socket import buffers
from perfcheck.collect.socket.collector import time_wait, unused
from perfcheck.errors import Unavailable
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Protocol

ROOT = 0xFFFFFFFF


class Message(dict[str, Any]):
    """A netlink message as pyroute2 gives it."""

    def get_attr(self, name: str) -> Any:
        return self.get(name)


def tc(ifindex: int, kind: str, parent: int = ROOT, handle: int = 0x10000, **counters: int) -> Message:
    basic = {"bytes": counters.pop("bytes", 0), "packets": counters.pop("packets", 0)}
    statistics = Message(TCA_STATS_BASIC=basic, TCA_STATS_QUEUE=counters)
    return Message(index=ifindex, parent=parent, handle=handle, TCA_KIND=kind, TCA_STATS2=statistics)


def link(ifindex: int, kind: int = 1, tx_queues: int = 1, **counters: int) -> Message:
    names = ("packets", "bytes", "errors", "dropped")
    statistics = {f"{way}_{name}": counters.get(f"{way}_{name}", 0) for way in ("rx", "tx") for name in names}
    return Message(
        index=ifindex, ifi_type=kind, IFLA_STATS64=statistics, IFLA_IFNAME=f"eth{ifindex}", IFLA_NUM_TX_QUEUES=tx_queues
    )


def test_only_root_qdiscs_that_queue_are_taken() -> None:
    messages = [tc(2, "tbf", packets=9, drops=1), tc(2, "bfifo", parent=0x10001), tc(3, "noqueue"), tc(4, "clsact", 7)]
    found = rtnetlink.queues_of(messages)
    assert list(found) == [2]
    assert dict(found[2].counters) == {"packets": 9, "bytes": 0, "drops": 1, "overlimits": 0, "requeues": 0}


@given(before=st.integers(0, 2**32 - 1), grew=st.integers(0, 2**32 - 1))
def test_counters_of_32_bits_may_wrap(before: int, grew: int) -> None:
    was = rtnetlink.queues_of([tc(2, "tbf", drops=before)])[2]
    now = rtnetlink.queues_of([tc(2, "tbf", drops=(before + grew) % 2**32)])[2]
    assert now.since(was)["drops"] == grew


def test_a_qdisc_that_was_replaced_began_at_0() -> None:
    was = rtnetlink.queues_of([tc(2, "tbf", drops=100)])[2]
    now = rtnetlink.queues_of([tc(2, "netem", handle=0x20000, drops=3)])[2]
    assert now.since(was)["drops"] == 3


def look(**more: Any) -> netlink.HostLook:
    interfaces = rtnetlink.interfaces_of([link(1, kind=772), link(2, **more)])
    return netlink.HostLook(queues={}, interfaces=interfaces, drivers={}, neighbours=3, neighbours_failed=1)


def test_interfaces_are_summed_over_hosts_and_the_loopback_is_left_out() -> None:
    before = {"client": look(tx_packets=10, tx_bytes=1000), "server": look()}
    after = {"client": look(tx_packets=30, tx_bytes=31_000, tx_queues=4), "server": look(rx_dropped=5)}
    found = dict(netlink.metrics_of(before, after))
    assert (found["nic.tx_packets"], found["nic.tx_packet_bytes.mean"], found["nic.rx_drops"]) == (20, 1500, 5)
    assert (found["nic.tx_queues"], found["ip.neighbours"], found["ip.neighbours_failed"]) == (4, 6, 2)
    assert found["qdisc.drops"] == found["nic.tx_busy"] == 0
    assert found.keys() <= CATALOGUE.keys()


def test_a_packet_that_goes_back_to_its_queue_found_the_device_busy() -> None:
    def at(requeues: int) -> Mapping[str, netlink.HostLook]:
        queues = rtnetlink.queues_of([tc(2, "tbf", requeues=requeues, packets=9)])
        return {"client": netlink.HostLook(queues=queues, interfaces={}, drivers={})}

    found = dict(netlink.metrics_of(at(2), at(5)))
    assert (found["nic.tx_busy"], found["qdisc.requeues"]) == (3, 3)


DRIVER = {"rx_queue_0_drops": 2, "rx_missed_errors": 3, "tx_aborted": 1, "rx_crc_errors": 4, "rx_packets": 900}


def test_the_busiest_transmit_queue_of_a_multiqueue_device_is_told() -> None:
    def lanes(*packets: int) -> dict[int, dict[int, int]]:
        parts = [tc(2, "pfifo", parent=0x80010000 | lane, packets=count) for lane, count in enumerate(packets, 1)]
        return rtnetlink.lanes_of([tc(2, "mq", handle=0x80010000), *parts, tc(3, "tbf", packets=99)])

    assert lanes(5, 7) == {2: {1: 5, 2: 7}}
    before, after = (
        {"client": netlink.HostLook(queues={}, interfaces={}, drivers={}, lanes=one)}
        for one in (lanes(5, 7), lanes(5, 37))
    )
    assert dict(netlink.metrics_of(before, after))["nic.tx_queue_busiest_pct"] == 100
    assert "nic.tx_queue_busiest_pct" not in dict(netlink.metrics_of(before, before))


def test_offloads_are_shares_of_the_interfaces() -> None:
    on, off = dict.fromkeys(ethtool.OFFLOADS, True), dict.fromkeys(ethtool.OFFLOADS, False)
    looked = {"client": netlink.HostLook(queues={}, interfaces={}, drivers={}, offloads={"a": on, "b": off})}
    assert dict(netlink.metrics_of(looked, looked))["nic.offload_tso_pct"] == 50


def test_a_drivers_counters_are_told_apart_by_their_names() -> None:
    assert ethtool.drops(DRIVER) == 5
    assert ethtool.errors(DRIVER) == 5
    assert ethtool.grew({"a": 1, "b": 5}, {"a": 4, "b": 2, "new": 7}) == {"a": 3}


def test_a_driver_counter_that_rose_is_named() -> None:
    def with_driver(dropped: int) -> Mapping[str, netlink.HostLook]:
        made = look()
        drivers = {"eth2": {"rx_dropped": dropped, "rx_packets": dropped}}
        return {"client": netlink.HostLook(queues={}, interfaces=made.interfaces, drivers=drivers)}

    found = dict(netlink.metrics_of(with_driver(1), with_driver(8)))
    assert found["nic.driver_drops"] == 7
    assert list(netlink.driver_warnings(with_driver(1), with_driver(8))) == [
        "client eth2: the driver's counter rx_dropped rose by 7"
    ]


STAT = """cpu  {user} 0 0 {idle} 0 0 {softirq} {steal} 0 0
cpu0 {user} 0 0 0 0 0 0 0 0 0
cpu1 0 0 0 {idle} 0 0 {softirq} {steal} 0 0
intr {intr} 3 4
"""


def test_what_a_machine_lacks_says_why_and_how_to_get_it() -> None:
    def refuse() -> Mapping[str, float]:
        raise FileNotFoundError("node1")

    machine.require_part("several NUMA nodes", {"numa": lambda: {"local_node": 1.0}})
    with pytest.raises(Unavailable, match="one NUMA node") as caught:
        machine.require_part("several NUMA nodes", {"numa": refuse})
    assert caught.value.fix == "use a machine with several NUMA nodes"


def machine_look(**values: int) -> dict[str, Mapping[str, float]]:
    text = STAT.format(**values)
    return {"cpus": procfs.cpu_times(text), "interrupts": {"total": procfs.interrupts(text)}}


def test_cpu_time_is_shared_out_from_ticks() -> None:
    before = machine_look(user=100, idle=0, softirq=0, steal=0, intr=1000)
    after = machine_look(user=200, idle=60, softirq=30, steal=10, intr=3000)
    found = dict(machine.metrics_of(before, after, 2_000_000_000))
    assert found["cpu.host_busy_pct"] == pytest.approx(70)
    assert found["cpu.busiest_pct"] == pytest.approx(100)
    assert found["cpu.host_softirq_pct"] == pytest.approx(15)
    assert found["cpu.steal_pct"] == pytest.approx(5)
    assert found["nic.interrupts_per_s"] == pytest.approx(1000)
    assert found.keys() <= CATALOGUE.keys()
    assert all(CATALOGUE[name].host_wide for name in found)


def test_pressure_throttling_and_softnet_are_differences() -> None:
    before = {"pressure": {"cpu": 1000.0}, "cgroup": {"throttled_usec": 0.0, "nr_throttled": 1.0},
              "softnet": {"processed": 5.0, "dropped": 0.0, "squeezed": 1.0}}  # fmt: skip
    after = {"pressure": {"cpu": 501_000.0}, "cgroup": {"throttled_usec": 200_000.0, "nr_throttled": 4.0},
             "softnet": {"processed": 9.0, "dropped": 2.0, "squeezed": 1.0}}  # fmt: skip
    found = dict(machine.metrics_of(before, after, 1_000_000_000))
    assert found == {
        "nic.softnet_processed": 4, "nic.softnet_dropped": 2, "nic.softnet_squeezed": 0, "cpu.pressure_pct": 50,
        "cpu.throttled_pct": 20, "cpu.throttled_periods": 3,
    }  # fmt: skip
    assert found.keys() <= CATALOGUE.keys()


@given(st.lists(st.integers(-500, 500), min_size=16, max_size=16), st.integers(0, 10**8), st.integers(0, 10**8))
def test_no_share_of_the_machines_time_is_below_0_or_above_100(ticks: list[int], some_us: int, held_us: int) -> None:
    """Whatever the kernel counts: iowait goes backwards, pressure is added up late, quotas on each CPU."""
    kinds = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    each = {f"cpu{cpu}.{kind}": float(ticks[8 * cpu + at]) for cpu in (0, 1) for at, kind in enumerate(kinds)}
    all_cpus = {f"cpu.{kind}": each[f"cpu0.{kind}"] + each[f"cpu1.{kind}"] for kind in kinds}
    pressure = dict.fromkeys(("cpu", "memory", "io"), float(some_us))
    after = {"cpus": each | all_cpus, "pressure": pressure, "cgroup": {"throttled_usec": float(held_us)}}
    before = {source: dict.fromkeys(values, 0.0) for source, values in after.items()}
    found = dict(machine.metrics_of(before, after, 2_000_000_000))
    shares = {name: value for name, value in found.items() if CATALOGUE[name].unit == "pct"}
    assert {"cpu.pressure_pct", "cpu.throttled_pct"} <= shares.keys()
    assert all(0 <= value <= 100 + 1e-9 for value in shares.values()), shares


def test_a_source_that_is_missing_gives_no_metric() -> None:
    assert dict(machine.metrics_of({}, {"pressure": {"cpu": 1.0}}, 10**9)) == {}


def test_proc_files_are_read_as_the_kernel_writes_them() -> None:
    softirqs = "                    CPU0       CPU1\n      NET_TX:          3          4\n      NET_RX:  10  20\n"
    assert procfs.softirqs(softirqs) == {"NET_TX": 7, "NET_RX": 30}
    assert procfs.softnet("0000000a 00000001 00000002 0\n00000010 00000000 00000001 0\n") == {
        "processed": 26, "dropped": 1, "squeezed": 3,
    }  # fmt: skip
    assert procfs.stalled_us("some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull avg10=0.0 total=9\n") == 123
    assert time_wait("sockets: used 20\nTCP: inuse 1 orphan 18 tw 6 alloc 19 mem 173\nUDP: inuse 0 mem 249\n") == 6
    assert time_wait("sockets: used 20\n") == 0


def test_what_a_namespace_has_no_socket_of_is_known() -> None:
    text = b"sockets: used 2\nTCP: inuse 1 orphan 0 tw 6 alloc 19\nUDP: inuse 0 mem 2\nTCP6: inuse 0\nUDP6: inuse 12\n"
    assert unused(text) == {b"UDP:", b"TCP6:"}
    assert unused(b"") == frozenset()


LINE = np.dtype([("cookie", "u8"), ("state", "u4")])


@given(st.lists(st.lists(st.sampled_from([1, 2, 4, 5, 8, 11]), max_size=4), max_size=5))
def test_the_most_connections_at_once_are_those_of_one_look(looks: list[list[int]]) -> None:
    gathered = buffers.Looks()
    for states in looks:
        gathered.begin()
        gathered.add_lines(np.array([(1, state) for state in states], LINE).tobytes(), LINE)
    found = gathered.metrics()
    for name, meant in (("established", {1}), ("closing", {4, 5, 11}), ("close_wait", {8})):
        assert found[f"socket.{name}.max"] == max((sum(one in meant for one in states) for states in looks), default=0)
    assert parse6("Ip6InReceives                   \t1\nUdp6InErrors  \t7\n") == {"Ip6InReceives": 1, "Udp6InErrors": 7}


@pytest.mark.parametrize(
    ("membership", "place", "text", "expected"),
    [
        ("0::/ci/job\n", "ci/job", "usage_usec 5\nnr_throttled 2\nthrottled_usec 900\n", 900),
        ("4:cpu,cpuacct:/job\n0::/\n", "cpu,cpuacct/job", "nr_periods 9\nnr_throttled 2\nthrottled_time 900000\n", 900),
    ],
)
def test_throttling_is_read_of_either_version_of_control_groups(
    tmp_path: Path, membership: str, place: str, text: str, expected: float
) -> None:
    (tmp_path / "root" / place).mkdir(parents=True)
    (tmp_path / "root" / place / "cpu.stat").write_text(text)
    (tmp_path / "self").write_text(membership)
    assert procfs.cgroup(tmp_path / "root", tmp_path / "self")["throttled_usec"] == expected


def test_the_root_group_cannot_be_throttled(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 5\n")
    (tmp_path / "self").write_text("0::/\n")
    with pytest.raises(OSError, match=str(tmp_path)):
        procfs.cgroup(tmp_path, tmp_path / "self")


def test_memory_of_other_nodes_is_counted_where_there_are_any(tmp_path: Path) -> None:
    for node, (near, far) in enumerate(((10, 1), (20, 2))):
        folder = tmp_path / f"node{node}"
        folder.mkdir()
        (folder / "numastat").write_text(f"numa_hit 5\nlocal_node {near}\nother_node {far}\n")
    assert procfs.numa(tmp_path) == {"local_node": 30, "other_node": 3}
    with pytest.raises(OSError, match="node"):
        procfs.numa(tmp_path / "node0")


def test_connection_tracking_is_summed_over_cpus_and_the_fullest_table_counts() -> None:
    def at(drop: int, entries: int) -> conntrack.Tracked:
        per_cpu = [Message(CTA_STATS_DROP=drop), Message(CTA_STATS_DROP=1, CTA_STATS_FOUND=2)]
        table = [Message(CTA_STATS_GLOBAL_ENTRIES=entries, CTA_STATS_GLOBAL_MAX_ENTRIES=100)]
        return conntrack.counts_of(per_cpu, table)

    found = dict(conntrack.metrics_of({"a": at(0, 90), "b": at(5, 1)}, {"a": at(4, 10), "b": at(5, 2)}))
    assert (found["ip.conntrack_drop"], found["ip.conntrack_entries"], found["ip.conntrack_use_pct"]) == (4, 92, 90)
    assert found.keys() <= CATALOGUE.keys()


def test_drops_are_named_by_the_kernels_own_numbers() -> None:
    counts = np.zeros(256, dtype="u8")
    counts[[7, 9, 255]] = 3, 4, 100
    found = drops.by_metric(counts, {"NEIGH_FAILED": 7, "NEIGH_DEAD": 9, "NETFILTER_DROP": 12, "XDP": 255})
    assert found == {"ip.drops_neighbour": 7, "ip.drops_netfilter": 0, "ip.drops_other": counts.sum() - 7}
    assert drop_reasons.METRICS.keys() | {metric for metric, _ in drops.EVENTS.values()} <= CATALOGUE.keys()


def queue_records(*rows: tuple[int, int, int, int]) -> Any:
    """Records of (namespace, ifindex, packets dequeued, time waited by one of them)."""
    distribution = [("spread", [("total", "u8"), ("minimum", "u4"), ("maximum", "u4")]), ("counts", "u4", (1024,))]
    names = ("packets", "bytes", "sojourn_us")
    records = np.zeros(len(rows), [("device", "u8"), ("dequeued", "u4"), *((name, distribution) for name in names)])
    for record, (netns, ifindex, dequeued, waited) in zip(records, rows, strict=True):
        record["device"], record["dequeued"] = netns << 32 | ifindex, dequeued
        for name in names:
            record[name]["counts"][1] = dequeued
            record[name]["spread"] = (waited, 1, waited)
    return records


def test_the_queue_in_which_packets_waited_longest_is_shown() -> None:
    records = queue_records((5, 2, 10, 100), (6, 2, 4, 900))
    found = qdisc.longest(records, {(5, 2): 50, (6, 2): 20})
    assert (found["qdisc.sojourn_us"].count, found["qdisc.sojourn_us"].maximum) == (20, 900)
    assert found["qdisc.sojourn_us"].counts[0] == 16


def test_where_no_queue_held_anything_all_packets_passed_by() -> None:
    found = qdisc.longest(queue_records(), {(5, 2): 50, (6, 2): 20})
    assert {name: one.count for name, one in found.items()} == {
        "qdisc.depth_packets": 50, "qdisc.depth_bytes": 50, "qdisc.sojourn_us": 50,
    }  # fmt: skip
    assert qdisc.longest(queue_records(), {(5, 2): 0}) == {}


TASK = np.dtype([(name, "u8") for name in ("pid", "in_ns", "out_ns", "off_ns", "run_delay_ns", "forced")])
LIFE_NS = {7: 1040}
"""How long tasks have waited in all their lives."""


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ((7, 500, 100, 300, 1000, 0), {"busy_ns": 500, "waited_ns": 40, "blocked_ns": 260}),
        ((7, 500, 100, 40, 1000, 1), {"busy_ns": 500, "waited_ns": 40, "forced_ns": 40}),
        # It has waited again meanwhile.
        ((7, 500, 100, 30, 1000, 1), {"busy_ns": 500, "waited_ns": 30, "forced_ns": 30}),
        ((8, 500, 100, 300, 1000, 1), {"busy_ns": 500}),
        ((7, 50, 10, 40, 1000, 1), {"busy_ns": 900}),
        ((7, 100, 600, 0, 0, 1), {"forced_ns": 400, "waited_ns": 400}),
        ((7, 100, 600, 0, 0, 0), {"blocked_ns": 400}),
        ((7, 0, 0, 0, 0, 0), {}),
    ],
)
def test_what_a_task_has_been_doing_at_the_end_counts_too(
    task: tuple[int, int, int, int, int, int], expected: Mapping[str, int]
) -> None:
    found = dict.fromkeys(("busy_ns", "forced_ns", "waited_ns", "blocked_ns"), 0)
    cpu.under_way(found, np.array([task], dtype=TASK), 100, 1000, LIFE_NS.get)
    assert {name: value for name, value in found.items() if value} == expected


def diag(cookie: int, **more: int) -> DiagLook:
    values = {"recvq": 0, "sendq": 0, "rcv_bytes": 0, "rcvbuf_bytes": 1000, "snd_bytes": 0, "sndbuf_bytes": 2000}
    return DiagLook(
        cookie=cookie, state=1, local=("198.18.0.1", 1), remote=("198.18.0.2", cookie), drops=more.pop("drops", 0),
        socket_id=bytes(48), **{**values, **more},
    )  # fmt: skip


def test_looks_of_one_socket_are_gathered() -> None:
    looks = buffers.Looks()
    for turn, used in enumerate((100, 300)):
        looks.begin()
        looks.add("client", Protocol.UDP, [diag(7, rcv_bytes=used, drops=10 + turn), diag(8)])
    first, second = looks.buffers({})
    assert first.key.remote_port == 7
    assert (first.rcv_use_pct.minimum, first.rcv_use_pct.maximum, first.rcv_use_pct.count) == (10, 30, 2)
    assert (first.drops, second.drops) == (1, 0)


def test_a_socket_born_in_the_window_dropped_all_that_it_says() -> None:
    looks = buffers.Looks()
    looks.begin()
    looks.begin()
    looks.add("client", Protocol.UDP, [diag(7, drops=40)])
    (only,) = looks.buffers({})
    assert only.drops == 40


def test_a_look_that_is_under_way_is_not_forgotten() -> None:
    looks = buffers.Looks()
    looks.begin()
    looks.forget(looks.count)
    looks.add("client", Protocol.UDP, [diag(7, drops=4)])
    assert looks.count == 1
    (only,) = looks.buffers({})
    assert only.key.remote_port == 7


def test_what_was_seen_before_can_be_forgotten() -> None:
    looks = buffers.Looks()
    for turn, dropped in enumerate((10, 13, 14, 20)):
        looks.begin()
        looks.add("client", Protocol.UDP, [diag(7, drops=dropped), *([diag(8)] if turn < 2 else [])])
        looks.add_listening([diag(3, recvq=9 - turn, sendq=10)])
    whole = list(looks.buffers({}, 2))
    looks.forget(2)
    looks.forget(2)
    assert looks.count == 4
    assert list(looks.buffers({}, 2)) == whole
    assert list(looks.buffers({})) == whole
    assert looks.metrics(2, 4) == looks.metrics()
    assert looks.metrics()["socket.accept_queue.max"] == 7
    (only,) = looks.buffers({}, 3, 4)
    assert only.drops == 6


def test_connections_of_all_hosts_are_established_at_once() -> None:
    looks = buffers.Looks()
    looks.begin()
    for host, cookie in (("client", 1), ("server", 2)):
        looks.add(host, Protocol.TCP, [diag(cookie)])
    looks.begin()
    looks.add("client", Protocol.TCP, [diag(1)])
    looks.add_listening([diag(3, recvq=4, sendq=8), diag(4, recvq=1, sendq=0)])
    assert looks.metrics() == {
        "socket.established.max": 2, "socket.closing.max": 0, "socket.close_wait.max": 0,
        "socket.accept_queue.max": 4, "socket.accept_queue_pct.max": 50,
    }  # fmt: skip
    assert looks.metrics().keys() <= CATALOGUE.keys()


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_look_or_none(data: bytes) -> None:
    found = diag_look_of(data)
    assert found is None or found.rcvbuf_bytes >= 0
