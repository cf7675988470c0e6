"""Buffers, queues, accept queues and refusals of sockets against ss(8), the kernel's counters and what was written."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
from collections.abc import Callable, Iterator

import collect_lab as lab
import pytest
from bracketing import bracketed

from perfcheck.analyse.histogram import statistics
from perfcheck.analyse.layers import layer_metrics
from perfcheck.analyse.socket import buffer_metrics
from perfcheck.collect.drops import DropsCollector
from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.collect.socket.collector import SocketCollector
from perfcheck.errors import Unavailable
from perfcheck.model.flow import FlowKey, Protocol, SocketBuffers
from perfcheck.model.observation import FlowReport, Observation, TrafficReport
from perfcheck.system.clock import now_ns, wait_until

LOOKED_NS = 600_000_000
ECHO_REQUEST = 8


@pytest.fixture(scope="module")
def collector() -> Iterator[SocketCollector]:
    with lab.opened(SocketCollector()) as made:
        yield made


@pytest.fixture
def without_bpf(monkeypatch: pytest.MonkeyPatch) -> Iterator[SocketCollector]:
    def refuse(*_: object) -> None:
        raise Unavailable("BPF", "this test does without", "nothing")

    monkeypatch.setattr("perfcheck.collect.base.programs.LayerPrograms.open", refuse)
    with lab.opened(SocketCollector()) as made:
        yield made


@pytest.fixture(scope="module")
def pair() -> Iterator[lab.Pair]:
    with lab.pair() as made:
        yield made


def looked_at(length_ns: int = LOOKED_NS) -> bool:
    """Return when the collector has had time for some looks."""
    ends_ns = now_ns() + length_ns
    return wait_until(lambda: now_ns() >= ends_ns, timeout_s=30, interval_s=0.02)


def ss(pair: lab.Pair, end: int, *options: str) -> dict[str, int]:
    """What ss(8) says of the one socket that the options find: queues, and memory by its own letters."""
    line = " ".join(lab.run("ip", "netns", "exec", pair.names[end], "ss", "-Hnm", *options).split())
    queues = re.search(r"(?:ESTAB|UNCONN|LISTEN) (\d+) (\d+)", line)
    assert queues is not None, line
    memory = dict(re.findall(r"(rb|tb|r|w|d)(\d+)", line[line.index("skmem:") :]))
    return {"recvq": int(queues[1]), "sendq": int(queues[2])} | {name: int(value) for name, value in memory.items()}


def buffers(seen: dict[str, Observation], host: str, port: int) -> SocketBuffers:
    (found,) = (
        one for one in seen["socket"].socket_buffers if one.key.host == host
        and port in {one.key.local_port, one.key.remote_port} and one.key.remote_port
    )  # fmt: skip
    return found


def check_a_full_connection(pair: lab.Pair, collector: SocketCollector) -> None:
    """Nobody reads: both buffers fill up and stay so, and ss(8) sees the same as the collector."""
    with lab.measuring(pair.scope(), collector) as seen:
        began_ns = now_ns()
        one, two = pair.connect()
        one.setblocking(False)
        # The receiver's buffer grows for a while.
        while select.select([], [one], [], 0.3)[1]:
            one.send(bytes(1 << 16))
        # Twice as long as they grew, so that most looks see them full.
        assert looked_at(max(3 * LOOKED_NS, 2 * (now_ns() - began_ns)))
        sender, receiver = (ss(pair, end, "-t", f"( dport = :{lab.PORT} or sport = :{lab.PORT} )") for end in (0, 1))
        assert looked_at()
        one.close()
        two.close()
    ours = buffers(seen, "client", lab.PORT)
    assert ours.sendq_bytes.maximum == sender["sendq"] > 100_000
    # Buffers grow at first; most looks see them full. A histogram's median is within its bucket, 3 % wide.
    assert 100 * sender["w"] / sender["tb"] <= ours.snd_use_pct.maximum
    assert statistics(ours.snd_use_pct)["p50"] == pytest.approx(100 * sender["w"] / sender["tb"], rel=0.02)
    assert ours.sndbuf_bytes == sender["tb"]
    theirs = buffers(seen, "server", lab.PORT)
    assert theirs.recvq_bytes.maximum == receiver["recvq"] > 10_000
    assert statistics(theirs.rcv_use_pct)["p50"] == pytest.approx(100 * receiver["r"] / receiver["rb"], rel=0.02)
    assert theirs.rcvbuf_bytes == receiver["rb"]
    assert ours.snd_use_pct.count >= 5
    # One that begins between the questions about the two hosts is found a round of three looks later.
    assert abs(ours.snd_use_pct.count - theirs.rcv_use_pct.count) <= 3
    assert seen["socket"].metrics["socket.established.max"] == 2
    report = TrafficReport(
        generator="test", flows=(FlowReport(sender=ours.key, receiver=theirs.key),), metrics={}, start_ns=0, end_ns=1
    )
    found = buffer_metrics(tuple(seen.values()), [report])
    assert found["socket.sendq_bytes.max"] == sender["sendq"]
    assert found["socket.recvq_bytes.max"] == receiver["recvq"]


def test_full_buffers_are_seen_as_ss_sees_them(pair: lab.Pair, collector: SocketCollector) -> None:
    check_a_full_connection(pair, collector)


def test_so_they_are_without_bpf(pair: lab.Pair, without_bpf: SocketCollector) -> None:
    check_a_full_connection(pair, without_bpf)


def test_states_and_closed_windows_are_those_of_ss_and_netstat(pair: lab.Pair, collector: SocketCollector) -> None:
    """One end closes, the other does not read: FIN_WAIT and CLOSE_WAIT by ss(8), a window that went to 0 by nstat."""
    host = HostCountersCollector()
    host.open()
    counter = "TcpExtTCPToZeroWindowAdv"
    nstat = ("ip", "netns", "exec", pair.names[1], "nstat", "-asz", counter)
    with contextlib.closing(host):
        before = int(lab.run(*nstat).split(counter)[1].split()[0])
        with lab.measuring(pair.scope(), collector, host) as seen:
            one, two = pair.connect()
            one.setblocking(False)
            while select.select([], [one], [], 0.3)[1]:
                one.send(bytes(1 << 16))
            two.shutdown(socket.SHUT_WR)
            assert looked_at()
            states = [lab.run("ip", "netns", "exec", name, "ss", "-Hnt", "state", state).count("\n")
                      for name, state in zip(pair.names, ("close-wait", "fin-wait-2"), strict=True)]  # fmt: skip
            one.close()
            two.close()
        after = int(lab.run(*nstat).split(counter)[1].split()[0])
    assert states == [1, 1]
    assert seen["socket"].metrics["socket.close_wait.max"] == 1
    assert seen["socket"].metrics["socket.closing.max"] >= 1
    assert layer_metrics(tuple(seen.values()))["socket.zero_windows"] == after - before >= 1


def flood(pair: lab.Pair, count: int, receiver: socket.socket) -> None:
    receiver.bind((pair.addresses[1], 0))
    with pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for _ in range(count):
            sender.sendto(bytes(1000), receiver.getsockname())


def test_datagrams_that_find_the_buffer_full_are_counted_by_all_sources(
    pair: lab.Pair, collector: SocketCollector
) -> None:
    host, drops = HostCountersCollector(), DropsCollector()
    with contextlib.ExitStack() as stack:
        for one in (host, drops):
            one.open()
            stack.callback(one.close)
        receiver = stack.enter_context(pair.server(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        sent = 1000
        with lab.measuring(pair.scope(), collector, host, drops) as seen:
            assert looked_at()
            flood(pair, sent, receiver)
            port = receiver.getsockname()[1]
            assert looked_at()
            shown = ss(pair, 1, "-u", "-a", f"( sport = :{port} )")
            receiver.setblocking(False)
            got = received(receiver.recv)
    found = layer_metrics(tuple(seen.values()))
    assert found["udp.rcvbuf_errors"] == found["udp.in_errors"] == sent - got > 900
    assert found["udp.datagrams_out"] == sent
    for name in ("udp.rcvqueue_full", "socket.drops_rcvbuf"):
        assert seen["drops"].metrics[name] == pytest.approx(sent - got, rel=0.02), name
    (ours,) = (
        one for one in seen["socket"].socket_buffers if (one.key.protocol, one.key.local_port) == (Protocol.UDP, port)
    )
    assert ours.drops == sent - got
    assert ours.rcv_use_pct.maximum == pytest.approx(100 * shown["r"] / shown["rb"], rel=0.02)


def received(receive: Callable[[int], bytes]) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while receive(2000):
            count += 1
    return count


def test_a_full_accept_queue_shows_and_what_overflows_is_counted(pair: lab.Pair, collector: SocketCollector) -> None:
    host = HostCountersCollector()
    host.open()
    names = ("TcpExtListenOverflows", "TcpExtListenDrops")
    with contextlib.ExitStack() as stack:
        stack.callback(host.close)
        listener = stack.enter_context(pair.server(lambda: socket.create_server((pair.addresses[1], 6001), backlog=4)))
        with bracketed(lambda: counted(pair, *names), pair.scope(), collector, host) as kept:
            for _ in range(60):
                one = stack.enter_context(pair.client(lambda: socket.socket(socket.AF_INET)))
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect(listener.getsockname())
            assert looked_at()
            shown = ss(pair, 1, "-tl", "( sport = :6001 )")
            # A SYN that was dropped comes again after a second; what came by now is counted.
    metrics = kept.seen["socket"].metrics
    assert metrics["socket.accept_queue.max"] == shown["recvq"] == 5
    assert metrics["socket.accept_queue_pct.max"] == pytest.approx(100 * shown["recvq"] / shown["sendq"])
    found = layer_metrics(tuple(kept.seen.values()))
    for name, counter in zip(("listen_overflows", "listen_drops"), names, strict=True):
        kept.holds(counter, found[f"socket.{name}"])
        assert found[f"socket.{name}"] > 50


def counted(pair: lab.Pair, *names: str) -> dict[str, float]:
    """The server's counters by nstat(8)."""
    words = lab.run("ip", "netns", "exec", pair.names[1], "nstat", "-asz", *names).split()
    return {name: int(words[words.index(name) + 1]) for name in names}


def test_answers_that_a_ping_socket_has_no_room_for_are_counted(pair: lab.Pair) -> None:
    """Echo requests whose answers nobody reads: what the socket holds in the end can be read, the rest was refused."""
    sent = 1000
    pair.set_sysctl(pair.names[0], "net.ipv4.ping_group_range", "0 2147483647")
    drops = DropsCollector()
    drops.open()
    ping = pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
    with contextlib.closing(drops), ping:
        ping.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        with lab.measuring(pair.scope(), drops) as seen:
            for number in range(sent):
                ping.sendto(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0, number) + bytes(1000), (pair.addresses[1], 0))
        ping.setblocking(False)
        refused = sent - received(ping.recv)
    assert refused > 900
    assert seen["drops"].metrics["socket.rcvqueue_full"] == pytest.approx(refused, rel=0.02)


def test_sockets_in_time_wait_are_those_of_ss(pair: lab.Pair, collector: SocketCollector) -> None:
    with lab.measuring(pair.scope(), collector) as seen:
        for _ in range(60):
            one, two = pair.connect()
            one.close()
            two.close()
        assert looked_at()
        listed = [
            lab.run("ip", "netns", "exec", name, "ss", "-Hnt", "state", "time-wait").count("\n") for name in pair.names
        ]
    assert max(listed) >= 60
    assert seen["socket"].metrics["socket.time_wait.max"] == max(listed)


def test_sockets_of_other_namespaces_and_of_before_are_left_out(pair: lab.Pair, collector: SocketCollector) -> None:
    with lab.pair() as others, lab.measuring(pair.scope(), collector) as seen:
        one, two = others.connect()
        assert looked_at()
        one.close()
        two.close()
    assert seen["socket"].socket_buffers == ()
    key = FlowKey(
        protocol=Protocol.TCP, host="client", local="198.18.0.1", local_port=1, remote="198.18.0.2", remote_port=2
    )
    report = TrafficReport(
        generator="test", flows=(FlowReport(sender=key, receiver=key),), metrics={}, start_ns=0, end_ns=1
    )
    assert buffer_metrics(tuple(seen.values()), [report]) == {}
