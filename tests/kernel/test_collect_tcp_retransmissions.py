"""Each kind of retransmission, alone and in many connections, against the counter that the kernel keeps for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import collect_lab as lab
import pytest

from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.model.observation import Observation
from perfcheck.system.clock import wait_until

CONNECTIONS = 50
BYTES = 1000
KINDS = {"fast": "TCPFastRetrans", "rto": "TCPTimeouts", "tlp": "TCPLossProbes", "syn": "TCPSynRetrans"}


@pytest.fixture(scope="module")
def core() -> Iterator[TcpCollector]:
    with lab.opened(TcpCollector(max_sockets=4 * CONNECTIONS)) as collector:
        yield collector


def drop_first(pair: lab.Pair, count: int, match: str) -> None:
    """Let the server lose the first packets that match, however long they take to come."""
    pair.nft(1, "add table ip t", "add counter ip t k",
             "add chain ip t c { type filter hook prerouting priority -300; }",
             f"add rule ip t c tcp dport {lab.PORT} {match} numgen inc mod 1000000 < {count} counter name k drop"
             )  # fmt: skip


def exchange(pair: lab.Pair) -> None:
    """Open all connections at once, send one segment on each, and close them when all has arrived."""
    with ExitStack() as stack:
        listening = (pair.addresses[1], lab.PORT)
        listener = stack.enter_context(pair.server(lambda: socket.create_server(listening, backlog=2 * CONNECTIONS)))
        listener.settimeout(10)
        clients = [stack.enter_context(pair.client(socket.socket)) for _ in range(CONNECTIONS)]
        for one in clients:
            one.setblocking(False)
            one.connect_ex(listening)
        servers = [stack.enter_context(listener.accept()[0]) for _ in clients]
        for one in clients:
            one.settimeout(10)
            one.sendall(bytes(BYTES))
        for two in servers:
            two.settimeout(10)
            assert len(two.recv(BYTES, socket.MSG_WAITALL)) == BYTES
    assert wait_until(lambda: f":{lab.PORT} " not in lab.run("ip", "netns", "exec", pair.names[0], "ss", "-Htn"),
                      timeout_s=10)  # fmt: skip


def counted(seen: dict[str, Observation], name: str) -> int:
    (found,) = (one.counters[name] for one in seen["host"].host_counters if one.host == "client")
    return found


def check(seen: dict[str, Observation], pair: lab.Pair, kind: str, lost: int) -> None:
    """Each lost packet was sent once more, as this kind and as no other, and the kernel counted as much."""
    senders = [one for one in seen["tcp"].tcp_sockets if one.key.host == "client"]
    assert len(senders) == CONNECTIONS
    assert seen["tcp"].lost_events == 0
    ours = {each: sum(one.counters[f"retrans_{each}_segs"] for one in senders) for each in KINDS}
    assert pair.dropped(1) == lost
    assert ours[kind] >= lost
    assert ours[kind] == pytest.approx(counted(seen, f"TcpExt.{KINDS[kind]}"), rel=0.02)
    assert sum(ours.values()) == pytest.approx(counted(seen, "Tcp.RetransSegs"), rel=0.02)
    # A probe comes before the time-out only if the machine wakes the timer in time.
    assert sum(ours.values()) - ours[kind] <= 0.02 * ours[kind]


@pytest.mark.parametrize(("match", "kind"), [("tcp flags syn", "syn"), ("meta length > 500", "tlp")])
def test_a_lost_syn_is_sent_again_and_a_lost_tail_is_probed_in_each_connection(
    core: TcpCollector, host: HostCountersCollector, pair: lab.Pair, match: str, kind: str
) -> None:
    drop_first(pair, CONNECTIONS, match)
    with lab.measuring(pair.scope(), core, host) as seen:
        exchange(pair)
    check(seen, pair, kind, CONNECTIONS)


def test_without_probes_every_loss_of_a_tail_is_a_time_out(
    core: TcpCollector, host: HostCountersCollector, pair: lab.Pair
) -> None:
    pair.set_sysctl(pair.names[0], "net.ipv4.tcp_early_retrans", "0")
    # The segment and its first repetition get lost: two time-outs, the second after twice the time.
    drop_first(pair, 2 * CONNECTIONS, "meta length > 500")
    with lab.measuring(pair.scope(), core, host) as seen:
        exchange(pair)
    check(seen, pair, "rto", 2 * CONNECTIONS)


def test_a_lost_segment_among_others_is_sent_fast(
    core: TcpCollector, host: HostCountersCollector, pair: lab.Pair
) -> None:
    drop_first(pair, 1, "meta length > 500")
    with lab.measuring(pair.scope(), core, host) as seen:
        one, two = pair.connect()
        with one, two:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
            lab.transfer(one, two, 10_000)
    sender = lab.of_port(seen["tcp"], "client")
    kinds = {kind: sender.counters[f"retrans_{kind}_segs"] for kind in KINDS}
    assert pair.dropped(1) == 1
    assert kinds == {"fast": 1, "rto": 0, "tlp": 0, "syn": 0}
    assert counted(seen, "TcpExt.TCPFastRetrans") == counted(seen, "Tcp.RetransSegs") == 1
