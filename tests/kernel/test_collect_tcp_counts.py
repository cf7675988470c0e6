"""The TCP core against known workloads: drops counted by nft, bytes by sockets and iperf3, counters by the kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import collect_lab as lab
import pytest

from perfcheck.collect.kernel.snmp import HostCountersCollector
from perfcheck.collect.sockdiag.collector import SockdiagCollector
from perfcheck.collect.tcp.collector import TcpCollector
from perfcheck.model.observation import Observation
from perfcheck.system.clock import now_ns, wait_until

MEGABYTE = 1_000_000
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def pair() -> Iterator[lab.Pair]:
    with lab.pair() as made:
        yield made


def counter(seen: dict[str, Observation], name: str, of: str = "client") -> int:
    (found,) = (one.counters[name] for one in seen["host"].host_counters if one.host == of)
    return found


def close_all(*sockets: socket.socket) -> None:
    for one in sockets:
        one.close()


def closed(pair: lab.Pair) -> bool:
    return f":{lab.PORT} " not in lab.run("ip", "netns", "exec", pair.names[0], "ss", "-Htn")


@pytest.fixture
def rules(pair: lab.Pair) -> Iterator[lab.Pair]:
    """The pair with an empty nft table in both hosts: chain `c` sees what arrives, counter `k` counts drops."""
    for end in (0, 1):
        pair.nft(end, "add table ip t", "add counter ip t k")
        pair.nft(end, "add chain ip t c { type filter hook prerouting priority -300; }")
    yield pair
    for end in (0, 1):
        pair.nft(end, "delete table ip t")


def drop(pair: lab.Pair, end: int, match: str) -> None:
    pair.nft(end, f"add rule ip t c tcp dport {lab.PORT} {match} counter name k drop")


def test_each_dropped_segment_is_counted_as_one_retransmission(
    core: TcpCollector, host: HostCountersCollector, rules: lab.Pair
) -> None:
    drop(rules, 1, "meta length > 1000 numgen inc mod 40 0")
    with lab.measuring(rules.scope(), core, host) as seen:
        one, two = rules.connect()
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        lab.transfer(one, two, 15 * MEGABYTE)
        close_all(one, two)
        assert wait_until(lambda: closed(rules), timeout_s=5)
    dropped = rules.dropped(1)
    sender = lab.of_port(seen["tcp"], "client")
    assert dropped > 200
    # A busy machine has TCP send again what arrived; the receiver tells of it (DSACK, RFC 2883).
    for_nothing = sender.counters["dsack_dups_segs"]
    assert sender.whole_retrans_segs - for_nothing == pytest.approx(dropped, rel=0.02)
    assert sender.whole_retrans_segs == pytest.approx(counter(seen, "Tcp.RetransSegs"), rel=0.02)
    # RACK holds what is late to be lost, and takes that back where it arrives before it was sent again.
    assert 0.98 * dropped <= sender.counters["lost_segs"] <= 1.2 * (dropped + for_nothing)
    kinds = [sender.counters[f"retrans_{kind}_segs"] for kind in ("fast", "rto", "tlp")]
    assert sum(kinds) == sender.counters["retrans_segs"]
    assert sender.counters["retrans_fast_segs"] == pytest.approx(counter(seen, "TcpExt.TCPFastRetrans"), rel=0.02)
    assert sender.counters["recovery_events"] == pytest.approx(counter(seen, "TcpExt.TCPSackRecovery"), rel=0.02)
    assert sender.counters["state_recovery_us"] > 0


def test_a_lost_tail_is_probed_and_the_probe_is_told_from_a_fast_retransmission(
    core: TcpCollector, host: HostCountersCollector, rules: lab.Pair
) -> None:
    # Both segments of the first write get lost once: the last is probed, its SACK shows the first as lost
    # (whether that one then goes out fast or by a time-out is a matter of microseconds).
    drop(rules, 1, "meta length > 500 numgen inc mod 1000 < 2")
    with lab.measuring(rules.scope(), core, host) as seen:
        one, two = rules.connect()
        lab.transfer(one, two, 2000)
        close_all(one, two)
    sender = lab.of_port(seen["tcp"], "client")
    assert rules.dropped(1) == 2
    assert counter(seen, "TcpExt.TCPLossProbes") == 1
    kinds = {kind: sender.counters[f"retrans_{kind}_segs"] for kind in ("fast", "rto", "tlp", "syn")}
    fast = counter(seen, "TcpExt.TCPFastRetrans")
    assert kinds == {"fast": fast, "rto": 1 - fast, "tlp": 1, "syn": 0}


def test_a_path_that_is_dead_for_a_while_makes_time_outs(
    core: TcpCollector, host: HostCountersCollector, rules: lab.Pair
) -> None:
    with lab.measuring(rules.scope(), core, host) as seen:
        one, two = rules.connect()
        lab.transfer(one, two, 100_000)
        drop(rules, 1, "meta length > 500")
        one.sendall(bytes(1000))
        assert wait_until(lambda: rules.dropped(1) >= 4, timeout_s=5)
        rules.nft(1, "flush chain ip t c")
        assert two.recv(1000)
        one.sendall(b"x")
        assert two.recv(1000)
        close_all(one, two)
        assert wait_until(lambda: closed(rules), timeout_s=5)
    sender = lab.of_port(seen["tcp"], "client")
    timeouts = counter(seen, "TcpExt.TCPTimeouts")
    assert timeouts >= 2
    assert sender.counters["retrans_rto_segs"] == pytest.approx(timeouts, abs=1)
    assert sender.counters["rto_events"] == 1
    assert sender.counters["state_loss_us"] > 200_000


def test_a_lost_syn_is_counted_and_shows_in_the_handshake(
    core: TcpCollector, host: HostCountersCollector, rules: lab.Pair
) -> None:
    drop(rules, 1, "tcp flags syn numgen inc mod 1000 0")
    with lab.measuring(rules.scope(warmup_ns=SECOND), core, host) as seen:
        close_all(*rules.connect())
    sender, receiver = lab.of_port(seen["tcp"], "client"), lab.of_port(seen["tcp"], "server")
    assert counter(seen, "TcpExt.TCPSynRetrans") == 1
    assert sender.counters["retrans_syn_segs"] == 1
    assert 0.9e6 < sender.gauges["handshake_us"] < 1.5e6
    assert receiver.counters["retrans_syn_segs"] == 0
    assert receiver.gauges["synack_rtt_us"] < 0.1e6


def test_a_refused_connection_has_no_time_of_establishment(core: TcpCollector, pair: lab.Pair) -> None:
    def refused() -> bool:
        with socket.socket() as one:
            return one.connect_ex((pair.addresses[1], lab.PORT)) != 0

    with lab.measuring(pair.scope(), core) as seen:
        assert pair.client(refused)
    (attempt,) = seen["tcp"].tcp_sockets
    assert (attempt.established_ns, attempt.closed, attempt.key.remote_port) == (0, True, lab.PORT)
    assert attempt.counters["resets"] == 1


@pytest.mark.parametrize("size", [1, 1448, 3 * MEGABYTE])
def test_bytes_are_exact_on_both_sides(size: int, core: TcpCollector, pair: lab.Pair) -> None:
    with lab.measuring(pair.scope(), core) as seen:
        one, two = pair.connect()
        lab.transfer(one, two, size)
        lab.transfer(two, one, 10)
        close_all(one, two)
        assert wait_until(lambda: closed(pair), timeout_s=5)
    sender, receiver = lab.of_port(seen["tcp"], "client"), lab.of_port(seen["tcp"], "server")
    assert (sender.closed, receiver.closed) == (True, True)
    assert (sender.whole_bytes_acked, sender.whole_bytes_received) == (size, 10)
    assert (receiver.whole_bytes_acked, receiver.whole_bytes_received) == (10, size)


@pytest.mark.parametrize("addresses", [("2001:2::1", "2001:2::2"), ("::ffff:198.18.0.1", "::ffff:198.18.0.2")])
def test_ipv6_sockets_are_named_as_hosts_know_them(addresses: tuple[str, str], core: TcpCollector) -> None:
    polled = SockdiagCollector()
    with lab.pair() as pair, lab.measuring(pair.scope(), core, polled) as seen:
        one, two = pair.connect(addresses[1])
        lab.transfer(one, two, 1000)
    close_all(one, two)
    names = tuple(address.removeprefix("::ffff:") for address in addresses)
    for collector in ("tcp", "sockdiag"):
        sender = lab.of_port(seen[collector], "client")
        assert (sender.key.local, sender.key.remote, sender.key.remote_port) == (*names, lab.PORT)
    assert lab.of_port(seen["tcp"], "server").whole_bytes_received == 1000


def test_a_connection_that_is_still_open_is_read_out_too(core: TcpCollector, pair: lab.Pair) -> None:
    with lab.measuring(pair.scope(), core) as seen:
        one, two = pair.connect()
        lab.transfer(one, two, MEGABYTE)
    close_all(one, two)
    sender = lab.of_port(seen["tcp"], "client")
    assert not sender.closed
    assert sender.whole_bytes_acked == MEGABYTE
    assert sender.rtt_us.count > 0


def test_a_connection_from_before_the_trial_counts_from_its_begin(core: TcpCollector, pair: lab.Pair) -> None:
    one, two = pair.connect()
    lab.transfer(one, two, MEGABYTE)
    with lab.measuring(pair.scope(), core) as seen:
        lab.transfer(one, two, 2 * MEGABYTE)
    close_all(one, two)
    sender = lab.of_port(seen["tcp"], "client")
    assert sender.whole_bytes_acked == 3 * MEGABYTE + 1  # the SYN, which nothing tells of any more
    assert sender.counters["bytes_acked"] == pytest.approx(2 * MEGABYTE, rel=0.1)


def test_trials_do_not_see_one_another(core: TcpCollector, pair: lab.Pair) -> None:
    sizes = (MEGABYTE, 2 * MEGABYTE)
    for size in sizes:
        with lab.measuring(pair.scope(), core) as seen:
            one, two = pair.connect()
            lab.transfer(one, two, size)
            close_all(one, two)
            assert wait_until(lambda: closed(pair), timeout_s=5)
        assert lab.of_port(seen["tcp"], "client").whole_bytes_acked == size
        assert len(seen["tcp"].tcp_sockets) == 2


def test_only_the_scopes_sockets_are_counted(core: TcpCollector, pair: lab.Pair) -> None:
    with lab.pair() as other, lab.measuring(pair.scope(), core) as seen:
        mine, foreign = pair.connect(), other.connect()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            local = socket.create_connection(listener.getsockname()), listener.accept()[0]
        for ends in (mine, foreign, local):
            lab.transfer(*ends, MEGABYTE)
            close_all(*ends)
        assert wait_until(lambda: closed(pair), timeout_s=5)
    keys = {(one.key.host, one.key.local) for one in seen["tcp"].tcp_sockets}
    assert keys == {("client", "198.18.0.1"), ("server", "198.18.0.2")}
    assert len(seen["tcp"].tcp_sockets) == 2
    assert seen["tcp"].lost_events == 0


@pytest.mark.parametrize("closes_first", ["client", "server"])
def test_each_short_connection_has_its_round_trip(core: TcpCollector, pair: lab.Pair, closes_first: str) -> None:
    connections = 20
    with lab.measuring(pair.scope(), core) as seen:
        for _ in range(connections):
            client, server = pair.connect()
            client.sendall(b"?" * 64)
            server.recv(64, socket.MSG_WAITALL)
            server.sendall(b"!" * 1000)
            if closes_first == "server":
                server.close()
            client.recv(1000, socket.MSG_WAITALL)
            close_all(client, server)
        assert wait_until(lambda: closed(pair), timeout_s=5)
    ends = seen["tcp"].tcp_sockets
    assert len(ends) == 2 * connections
    # The request and the answer are one segment each: no end can have more than one sample, its FIN left out.
    assert [one.rtt_us.count for one in ends] == [1] * len(ends)
    assert all(one.rtt_us.minimum >= one.gauges["min_rtt_us"] for one in ends)


def test_sockets_beyond_the_bound_are_counted_as_lost(pair: lab.Pair) -> None:
    connections = 12
    with lab.opened(TcpCollector(max_sockets=2)) as small, lab.measuring(pair.scope(), small) as seen:
        ends = [pair.connect() for _ in range(connections)]
        for one, two in ends:
            lab.transfer(one, two, 100_000)
            close_all(one, two)
        assert wait_until(lambda: closed(pair), timeout_s=5)
    kept = seen["tcp"].tcp_sockets
    assert len(kept) == 8
    assert sum(one.rtt_us.count > 0 for one in kept) <= 2
    assert seen["tcp"].lost_events >= 2 * connections - 8


def test_the_window_leaves_the_warm_up_out(core: TcpCollector, pair: lab.Pair) -> None:
    warmup_ns = SECOND // 4
    with lab.measuring(pair.scope(warmup_ns), core) as seen:
        one, two = pair.connect()
        lab.transfer(one, two, MEGABYTE)
        over_ns = now_ns() + warmup_ns
        assert wait_until(lambda: now_ns() > over_ns, timeout_s=5)
        lab.transfer(one, two, 2 * MEGABYTE)
        close_all(one, two)
        assert wait_until(lambda: closed(pair), timeout_s=5)
    sender, receiver = lab.of_port(seen["tcp"], "client"), lab.of_port(seen["tcp"], "server")
    assert (sender.whole_bytes_acked, sender.counters["bytes_acked"]) == (3 * MEGABYTE, 2 * MEGABYTE)
    assert (receiver.whole_bytes_received, receiver.counters["bytes_received"]) == (3 * MEGABYTE, 2 * MEGABYTE)
    assert sender.first_ns >= sender.established_ns + warmup_ns
    assert sender.counters["elapsed_us"] == (sender.last_ns - sender.first_ns) // 1000
    assert 0 < sender.rtt_us.count <= sender.counters["delivered_segs"]


@pytest.mark.parametrize("reverse", [False, True])
def test_bytes_and_retransmissions_agree_with_iperf3(reverse: bool, core: TcpCollector) -> None:
    options = ("-n", "60M", "-C", "cubic", "-b", "400M", *(("-R",) if reverse else ()))
    with lab.pair(offloads=True) as pair, lab.measuring(pair.scope(), core) as seen:
        report = pair.iperf3(*options)
    sender = max(seen["tcp"].tcp_sockets, key=lambda one: one.whole_bytes_acked)
    assert sender.key.host == ("server" if reverse else "client")
    assert sender.congestion == "cubic"
    end = report["end"]
    # What the receiver's buffer still held at the end was acknowledged and never read.
    assert 0.99 * end["sum_received"]["bytes"] <= sender.whole_bytes_acked <= 1.01 * end["sum_sent"]["bytes"]
    assert sender.whole_retrans_segs == pytest.approx(end["sum_sent"]["retransmits"], abs=1)


@pytest.mark.parametrize("counts_only", [False, True])
def test_sock_diag_and_the_core_agree(core: TcpCollector, pair: lab.Pair, *, counts_only: bool) -> None:
    polled = SockdiagCollector(period_s=0.02, counts_only=counts_only)
    polled.check()
    with lab.measuring(pair.scope(), core, polled) as seen:
        pair.iperf3("-t", "1", "-b", "100M", "-C", "cubic")
    theirs = {one.cookie: one for one in seen["sockdiag"].tcp_sockets}
    ours = [one for one in seen["tcp"].tcp_sockets if one.cookie in theirs]
    assert len(ours) == 4
    for mine in ours:
        other = theirs[mine.cookie]
        assert (mine.key, mine.closed) == (other.key, other.closed)
        # tcp_info counts SYN and FIN as bytes.
        assert other.whole_bytes_acked - mine.whole_bytes_acked in {0, 1, 2}
        assert other.whole_bytes_received - mine.whole_bytes_received in {0, 1}
        assert (mine.whole_segs_out, mine.whole_retrans_segs) == (other.whole_segs_out, other.whole_retrans_segs)
        assert mine.gauges["mss_bytes"] == other.gauges["mss_bytes"]
        assert mine.gauges["min_rtt_us"] == other.gauges["min_rtt_us"]
    data = max(ours, key=lambda one: one.whole_bytes_acked)
    assert theirs[data.cookie].srtt_us.count > (0 if counts_only else 5)


def test_the_core_says_what_it_cost(core: TcpCollector, pair: lab.Pair) -> None:
    with lab.measuring(pair.scope(), core) as seen:
        one, two = pair.connect()
        lab.transfer(one, two, MEGABYTE)
        close_all(one, two)
    overhead = seen["tcp"].overhead
    costs = {cost.program: cost for cost in overhead.programs}
    assert costs["tcp_probe"].calls > 10
    assert 10 < costs["tcp_probe"].run_ns / costs["tcp_probe"].calls < 20_000
    assert costs["inet_sock_set_state"].calls >= 4
    assert overhead.user_cpu_s > 0
    assert overhead.rss_bytes > MEGABYTE


def bpf_descriptors() -> int:
    """Maps, programs and links that this process holds; nothing else keeps them."""
    return sum("bpf" in str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


def test_the_core_can_be_opened_again_and_leaves_nothing_in_the_kernel(pair: lab.Pair) -> None:
    before = bpf_descriptors()
    collector = TcpCollector(8)
    for _ in range(2):
        collector.open()
        assert bpf_descriptors() > before
        with lab.measuring(pair.scope(), collector) as seen:
            close_all(*pair.connect())
        assert len(seen["tcp"].tcp_sockets) == 2
        collector.close()
        collector.close()
        assert bpf_descriptors() == before
