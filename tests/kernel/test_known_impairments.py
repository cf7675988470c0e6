"""What TCP tells of duplicates, reordering, marks and a small send buffer, against netstat and the link's counts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import collect_lab as lab
import pytest
from links_lab import SECOND, TwoHosts, relay
from test_known_tcp import SO_MAX_PACING_RATE, is_still, tcp_info

from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.model.flow import TcpSocket
from perfcheck.model.observation import LinkReport, Scope
from perfcheck.system.netns import inode_of

SIZE = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One transfer: its two sockets, each host's counters, the link's two directions, and the sender's TCP_INFO."""

    sender: TcpSocket
    receiver: TcpSocket
    counters: Mapping[str, Mapping[str, int]]
    link: tuple[LinkReport, ...]
    info: Mapping[str, int]


def scope_of(hosts: TwoHosts) -> Scope:
    paths = {end.host: end.netns_path for end in hosts.ends}
    return Scope(namespaces={host: inode_of(path) for host, path in paths.items()}, netns_paths=paths, warmup_ns=0)


def transferred(core: TcpCollector, hosts: TwoHosts, size: int = SIZE, sndbuf: int = 0, pacing: int = 0) -> Transfer:
    """Send from `a` to `b`; the connection is still open and idle when everything is read."""
    host = HostCountersCollector()
    with contextlib.ExitStack() as stack:
        stack.callback(host.close)
        host.open()
        hosts.link.begin_trial(0)
        with lab.measuring(scope_of(hosts), core, host) as seen:
            listener = stack.enter_context(hosts.socket(1, socket.SOCK_STREAM))
            listener.bind((SECOND, lab.PORT))
            listener.listen()
            one = stack.enter_context(hosts.socket(0, socket.SOCK_STREAM))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
            for option, value in ((socket.SO_SNDBUF, sndbuf), (SO_MAX_PACING_RATE, pacing)):
                if value:
                    one.setsockopt(socket.SOL_SOCKET, option, value)
            one.settimeout(20)
            one.connect((SECOND, lab.PORT))
            two = stack.enter_context(listener.accept()[0])
            two.settimeout(20)
            lab.transfer(one, two, size)
            assert is_still(one)
            info = tcp_info(one)
        link = hosts.link.end_trial()
    return Transfer(
        sender=lab.of_port(seen["tcp"], "a"), receiver=lab.of_port(seen["tcp"], "b"),
        counters={one.host: one.counters for one in seen["host"].host_counters}, link=tuple(link), info=info,
    )  # fmt: skip


def test_duplicates_are_those_that_the_receiver_reported(core: TcpCollector) -> None:
    with relay(delay="2ms", rate="50mbit", forward={"duplicate": "5%"}, seed=3) as hosts:
        done = transferred(core, hosts)
    reported = done.counters["a"]["TcpExt.TCPDSACKRecv"]
    assert reported > 100
    assert done.sender.counters["dsack_dups_segs"] == pytest.approx(reported, rel=0.02)
    # But for the duplicates of the handshake, each is one of data.
    assert done.sender.counters["dsack_dups_segs"] == pytest.approx(done.link[0].extra["duplicated"], rel=0.02)


def test_reordering_is_what_netstat_and_the_link_counted(core: TcpCollector) -> None:
    with relay(delay="5ms", rate="50mbit", forward={"reorder": "2%"}, seed=3) as hosts:
        done = transferred(core, hosts)
    seen = done.counters["a"]["TcpExt.TCPSACKReorder"] + done.counters["a"]["TcpExt.TCPTSReorder"]
    queued = done.counters["b"]["TcpExt.TCPOFOQueue"]
    assert queued > 50
    assert done.receiver.counters["ooo_segs"] == pytest.approx(queued, rel=0.02)
    assert done.sender.counters["reord_seen_events"] == pytest.approx(seen, rel=0.02)
    assert done.sender.gauges["reordering_segs"] >= done.info["reordering"] > 3


def ask_for_ecn() -> None:
    Path("/proc/sys/net/ipv4/tcp_ecn").write_text("1", encoding="ascii")


def test_marks_are_those_of_the_link_and_of_netstat(core: TcpCollector) -> None:
    with relay(delay="5ms", rate="20mbit", queue="200p", ecn=True) as hosts:
        for end in hosts.ends:
            hosts.thread.inside(end.netns_path, ask_for_ecn)
        done = transferred(core, hosts)
    assert done.counters["b"]["IpExt.InCEPkts"] == done.link[0].extra["marked"] > 3
    assert done.sender.counters["delivered_ce_segs"] == pytest.approx(
        done.counters["a"]["TcpExt.TCPDeliveredCE"], rel=0.02
    )


def test_a_send_buffer_below_the_bdp_limits_as_tcp_info_says(core: TcpCollector) -> None:
    """Paced: the kernel starts this clock only when the last segment leaves while the writer already waits for room."""
    with relay(delay="10ms") as hosts:
        done = transferred(core, hosts, size=1_000_000, sndbuf=20_000, pacing=2_000_000)
    ours = {name: done.sender.counters[f"{name}_us"] for name in ("busy", "sndbuf_limited", "sndbuf_chrono")}
    assert ours["sndbuf_chrono"] == pytest.approx(done.info["sndbuf_limited"], rel=0.05)
    # Measured for itself, and at all times: the kernel's clock starts late.
    assert ours["sndbuf_limited"] > 0.95 * ours["sndbuf_chrono"]
    assert ours["sndbuf_limited"] == pytest.approx(ours["sndbuf_chrono"], abs=0.1 * ours["busy"])
    assert ours["sndbuf_limited"] > 0.1 * ours["busy"]
