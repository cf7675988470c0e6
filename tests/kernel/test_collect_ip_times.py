"""Times of route look-ups and of connection tracking, against packets sent and time that was spent there on purpose.

For a kernel that traces functions: `make vm` runs these in a guest that has one.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import collect_lab as lab
import pytest
from graph_tracer import traced
from slowing import slowed_function

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect import collectors
from perfcheck.collect.ip.function_times import ConntrackTimesCollector, FunctionTimesCollector, RouteTimesCollector
from perfcheck.collect.ip.routes import IpCollector
from perfcheck.ebpf.functions import Attachment
from perfcheck.errors import Unavailable

SENT = 400
CLOCK_READS = 500


@contextlib.contextmanager
def opened(collector: FunctionTimesCollector) -> Iterator[FunctionTimesCollector]:
    try:
        collector.check()
    except Unavailable as lacking:
        pytest.skip(str(lacking))
    collector.open()
    try:
        yield collector
    finally:
        collector.close()


def send(pair: lab.Pair, address: str = "") -> float:
    """Send datagrams over an unconnected socket, to one that takes them; give how many seconds that took."""
    address = address or pair.addresses[1]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        pair.server(lambda: socket.socket(family, socket.SOCK_DGRAM)) as receiver,
        pair.client(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender,
    ):
        receiver.bind((address, 0))
        receiver.settimeout(5)
        began_s = time.monotonic()
        for _ in range(SENT):
            sender.sendto(b"x", receiver.getsockname()[:2])
            receiver.recv(10)
        return time.monotonic() - began_s


def track(pair: lab.Pair) -> None:
    for end in (0, 1):
        pair.nft(end, "add table inet t", "add chain inet t c { type filter hook input priority 0; }",
                 "add rule inet t c ct state invalid counter")  # fmt: skip


def tracks(pair: lab.Pair) -> bool:
    """Whether any connection of the hosts is tracked now."""
    count = "/proc/sys/net/netfilter/nf_conntrack_count"
    return any(int(lab.run("ip", "netns", "exec", name, "cat", count)) for name in pair.names)


@pytest.mark.parametrize("attachment", list(Attachment))
@pytest.mark.parametrize("address", ["198.18.0.2", "2001:2::2"])
def test_each_route_that_is_found_is_timed_once(address: str, attachment: Attachment) -> None:
    routes = IpCollector()
    with opened(RouteTimesCollector(attachment)) as times, contextlib.closing(routes), lab.pair() as pair:
        routes.open()
        lab.run("ip", "netns", "exec", pair.names[0], "ping", "-c1", "-W2", address)
        with lab.measuring(pair.scope(), times, routes) as seen:
            elapsed_s = send(pair, address)
    timed = seen["route times"].distributions["ip.route_lookup_us"]
    # The tracepoint counts them independently, in the same function.
    assert timed.count == pytest.approx(seen["routes"].metrics["ip.route_lookups"], abs=8)
    assert timed.count >= SENT
    assert 0 < timed.total < elapsed_s * 1e6
    assert seen["route times"].lost_events == 0
    found = layer_metrics(tuple(seen.values()))
    assert 0 < found["ip.route_lookup_us.p50"] <= found["ip.route_lookup_us.p99"] <= found["ip.route_lookup_us.max"]


@pytest.mark.parametrize("attachment", list(Attachment))
def test_packets_are_timed_where_they_are_tracked(attachment: Attachment) -> None:
    with opened(ConntrackTimesCollector(attachment)) as times, lab.pair() as pair, lab.pair() as others:
        with lab.measuring(pair.scope(), times) as before:
            send(pair)
        tracked = tracks(pair)
        track(pair)
        track(others)
        with lab.measuring(pair.scope(), times) as seen:
            send(others)
            elapsed_s = send(pair)
    # Some kernels track everywhere once Open vSwitch is there.
    assert ("ip.conntrack_us" in before["conntrack times"].distributions) == tracked
    timed = seen["conntrack times"].distributions["ip.conntrack_us"]
    # Once where a packet leaves and once where it arrives, and a few of the neighbours' protocols.
    assert timed.count == pytest.approx(2 * SENT, abs=16)
    assert 0 < timed.total < elapsed_s * 1e6


def mean_us(collector: FunctionTimesCollector, quantity: str, pair: lab.Pair) -> float:
    with lab.measuring(pair.scope(), collector) as seen:
        send(pair)
    timed = seen[collector.name].distributions[quantity]
    return timed.total / timed.count


@pytest.mark.parametrize("attachment", list(Attachment))
@pytest.mark.parametrize(
    ("kind", "quantity", "function"),
    [
        (RouteTimesCollector, "ip.route_lookup_us", "fib_table_lookup"),
        (ConntrackTimesCollector, "ip.conntrack_us", "nf_conntrack_in"),
    ],
)
def test_time_spent_in_the_function_is_in_its_time(
    kind: type[RouteTimesCollector | ConntrackTimesCollector], quantity: str, function: str, attachment: Attachment
) -> None:
    with lab.pair() as pair:
        track(pair)
        with opened(kind(attachment)) as times:
            plain_us = mean_us(times, quantity, pair)
        with slowed_function(function, clock_reads=CLOCK_READS) as spent, opened(kind(attachment)) as times:
            slow_us = mean_us(times, quantity, pair)
            slow = spent()
    # What the kernel says that the program which slows it down took a call (bpf_stats).
    added_us = slow.run_ns / slow.calls / 1000
    assert slow_us - plain_us == pytest.approx(added_us, rel=0.05, abs=0.2)
    assert added_us > 2


def test_the_kernels_tracer_finds_as_many_calls_and_the_same_difference(pair: lab.Pair) -> None:
    """Each way to trace a function adds a time of its own, and the same to each function."""
    track(pair)
    with (
        opened(RouteTimesCollector(Attachment.FENTRY)) as routes,
        opened(ConntrackTimesCollector(Attachment.FENTRY)) as tracking,
    ):
        send(pair)
        with lab.measuring(pair.scope(), routes, tracking) as seen:
            send(pair)
    functions = ("fib_table_lookup", "nf_conntrack_in")
    with traced(*functions) as kernel:
        send(pair)
    ours = [seen[one.name].distributions[one.quantity] for one in (routes, tracking)]
    theirs = [kernel.calls_us[name] for name in functions]
    assert [one.count for one in ours] == pytest.approx([len(calls) for calls in theirs], abs=8)
    (route_us, track_us), (traced_route_us, traced_track_us) = (
        [one.total / one.count for one in ours], [sum(calls) / len(calls) for calls in theirs]
    )  # fmt: skip
    assert track_us - route_us == pytest.approx(traced_track_us - traced_route_us, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "quantity"), [(RouteTimesCollector, "ip.route_lookup_us"), (ConntrackTimesCollector, "ip.conntrack_us")]
)
def test_both_ways_count_the_same_calls(
    kind: type[RouteTimesCollector | ConntrackTimesCollector], quantity: str
) -> None:
    with opened(kind(Attachment.FENTRY)) as typed, opened(kind(Attachment.KPROBE)) as probed, lab.pair() as pair:
        track(pair)
        typed.begin(pair.scope())
        probed.begin(pair.scope())
        send(pair)
        seen = {attachment: one.end() for attachment, one in ((Attachment.FENTRY, typed), (Attachment.KPROBE, probed))}
        hooks = [part.hook for one in (typed, probed) for part in one.parts()]
    assert [hook.partition(" ")[0] for hook in hooks] == list(Attachment)
    timed = {attachment: one.distributions[quantity] for attachment, one in seen.items()}
    assert timed[Attachment.KPROBE].count == pytest.approx(timed[Attachment.FENTRY].count, rel=0.02)
    assert timed[Attachment.FENTRY].count >= SENT
    assert [one.lost_events for one in seen.values()] == [0, 0]


def test_where_functions_are_traced_a_run_times_them() -> None:
    with opened(RouteTimesCollector()):
        pass
    assert "route times" in {one.name for one in collectors({"ip"})}
