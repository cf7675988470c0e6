"""Depth, sojourn time and drops of queues against what was sent, what arrived, and the queue's own rate and limit."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import mean

import collect_lab as lab
import pytest
from bracketing import bracketed

from perfcheck.analyse.layers import layer_metrics
from perfcheck.collect.drops import DropsCollector
from perfcheck.collect.kernel.netlink import NetlinkCollector
from perfcheck.collect.qdisc import QdiscCollector
from perfcheck.system.clock import now_ns, wait_until

SO_TIMESTAMPNS = 35
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER = 1 << 23
PAYLOAD = 1000
FRAME = PAYLOAD + 42
RATE_BPS = 8_000_000
WARMUP_NS = 500_000_000
FRAME_US = FRAME * 8 / RATE_BPS * 1e6


@pytest.fixture(scope="module")
def collectors() -> Iterator[tuple[QdiscCollector, NetlinkCollector, DropsCollector]]:
    made = (QdiscCollector(), NetlinkCollector(), DropsCollector())
    with ExitStack() as stack:
        for one in made:
            stack.enter_context(lab.opened(one))
        yield made


@pytest.fixture
def pair() -> Iterator[lab.Pair]:
    """Two hosts that send nothing of their own accord: IPv6 would look for routers and duplicates."""
    with lab.pair() as made:
        for name in made.names:
            made.set_sysctl(name, "net.ipv6.conf.all.disable_ipv6", "1")
        yield made


def tbf(pair: lab.Pair, limit_bytes: int, rate_bps: int = RATE_BPS) -> None:
    options = ("tbf", "rate", f"{rate_bps}bit", "burst", "2000", "limit", str(limit_bytes))
    lab.run("tc", "-n", pair.names[0], "qdisc", "replace", "dev", "eth0", "root", *options)


def burst(pair: lab.Pair, datagrams: int) -> socket.socket:
    """Send datagrams as fast as the socket takes them."""
    one = pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    one.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
    for _ in range(datagrams):
        one.sendto(bytes(PAYLOAD), (pair.addresses[1], 9))
    return one


def queue(pair: lab.Pair) -> dict[str, int]:
    """What netlink says of the queue, by tc(8): counters, and its backlog now."""
    (root,) = json.loads(lab.run("tc", "-n", pair.names[0], "-s", "-j", "qdisc", "show", "dev", "eth0", "root"))
    return {name: int(root[name]) for name in ("packets", "drops", "overlimits", "requeues", "qlen", "backlog")}


def arrived_datagrams(pair: lab.Pair) -> int:
    """Datagrams that reached the server, where nobody has the port open."""
    counted = lab.run("ip", "netns", "exec", pair.names[1], "nstat", "-asz", "UdpNoPorts")
    return int(counted.split("UdpNoPorts")[1].split()[0])


def emptied(pair: lab.Pair) -> bool:
    return wait_until(lambda: queue(pair)["qlen"] == 0, timeout_s=5)


def waits_us(pair: lab.Pair, datagrams: int) -> list[float]:
    """Send a burst; give how long each datagram took to the server, by the clock there (SO_TIMESTAMPNS)."""
    with (
        pair.server(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver,
        pair.client(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        receiver.bind((pair.addresses[1], 0))
        receiver.settimeout(5)
        sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
        for _ in range(datagrams):
            sender.sendto(time.time_ns().to_bytes(8, "big") + bytes(PAYLOAD - 8), receiver.getsockname())
        return [wait_us(*receiver.recvmsg(PAYLOAD, 64)[:2]) for _ in range(datagrams)]


def wait_us(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> float:
    ((_, _, stamp),) = ancillary
    seconds, nanoseconds = struct.unpack("qq", stamp)
    return float(seconds * 10**9 + nanoseconds - int.from_bytes(data[:8], "big")) / 1000


Collectors = tuple[QdiscCollector, NetlinkCollector, DropsCollector]


def test_waiting_times_are_those_that_the_receivers_clock_shows(pair: lab.Pair, collectors: Collectors) -> None:
    sent = 300
    tbf(pair, 2 * sent * FRAME)
    with bracketed(lambda: queue(pair), pair.scope(), *collectors) as kept:
        waits = waits_us(pair, sent)
    found = layer_metrics(tuple(kept.seen.values()))
    assert found["qdisc.sojourn_us.max"] == pytest.approx(max(waits), rel=0.05)
    assert found["qdisc.sojourn_us.mean"] == pytest.approx(mean(waits), rel=0.05)
    # The last waits for all before it, at the queue's rate, less what the bucket let pass at first.
    assert found["qdisc.sojourn_us.max"] == pytest.approx((sent - 2) * FRAME_US, rel=0.05)
    kept.holds("packets", found["qdisc.packets"])
    kept.holds("overlimits", found["qdisc.overlimits"])
    assert found["qdisc.packets"] == pytest.approx(sent, rel=0.02)
    assert found["qdisc.drops"] == found["qdisc.drops_full"] == found["qdisc.drops_unspecified"] == 0
    assert sum(one.lost_events for one in kept.seen.values()) == 0


def test_depth_is_the_backlog_that_netlink_shows(pair: lab.Pair, collectors: Collectors) -> None:
    """A queue from which nothing goes for a second: what netlink shows in the end is the most that there was."""
    tbf(pair, 1000 * FRAME, rate_bps=8 * FRAME)
    with lab.measuring(pair.scope(), *collectors) as seen, burst(pair, 300):
        shown = queue(pair)
    found = layer_metrics(tuple(seen.values()))
    assert shown["qlen"] > 290
    assert found["qdisc.depth_packets.max"] == shown["qlen"]
    assert found["qdisc.depth_bytes.max"] == shown["backlog"]
    # One after the other they found 1, 2, 3... packets there, themselves included.
    filled = shown["qlen"] * (shown["qlen"] + 1) / 2
    assert found["qdisc.depth_packets.mean"] == pytest.approx(filled / (shown["qlen"] + shown["packets"]), rel=0.02)


def test_every_drop_of_a_full_queue_is_counted_and_has_its_reason(pair: lab.Pair, collectors: Collectors) -> None:
    tbf(pair, 20 * FRAME, rate_bps=1_000_000)
    sent = 500
    before = arrived_datagrams(pair)
    with bracketed(lambda: queue(pair), pair.scope(), *collectors) as kept, burst(pair, sent):
        assert emptied(pair)
    found = layer_metrics(tuple(kept.seen.values()))
    arrived = arrived_datagrams(pair) - before
    assert found["qdisc.drops"] > 300
    kept.holds("drops", found["qdisc.drops"])
    kept.holds("overlimits", found["qdisc.overlimits"])
    assert found["qdisc.drops"] == pytest.approx(sent - arrived, rel=0.02)
    by_reason = sum(found.get(f"qdisc.drops_{reason}", 0) for reason in ("full", "congested", "unspecified"))
    assert by_reason == pytest.approx(found["qdisc.drops"], rel=0.02)
    assert found["qdisc.drop_pct"] == pytest.approx(100 * (sent - arrived) / sent, rel=0.02)
    assert found["qdisc.depth_packets.max"] == 20


def test_packets_that_pass_an_empty_queue_did_not_wait(pair: lab.Pair, collectors: Collectors) -> None:
    tbf(pair, 100 * FRAME, rate_bps=10_000_000_000)
    with lab.measuring(pair.scope(), *collectors) as seen, burst(pair, 1000):
        assert emptied(pair)
    found = layer_metrics(tuple(seen.values()))
    assert found["qdisc.packets"] == pytest.approx(1000, rel=0.02)
    assert seen["qdisc"].distributions["qdisc.sojourn_us"].count == pytest.approx(1000, rel=0.02)
    assert found["qdisc.sojourn_us.p50"] < 50


def test_a_lockless_queue_is_followed_too(pair: lab.Pair, collectors: Collectors) -> None:
    # pfifo_fast counts per CPU, and lets packets pass that find it empty: all of them, on a veth.
    lab.run("tc", "-n", pair.names[0], "qdisc", "replace", "dev", "eth0", "root", "pfifo_fast")
    with lab.measuring(pair.scope(), *collectors) as seen, burst(pair, 400):
        assert emptied(pair)
    found = layer_metrics(tuple(seen.values()))
    assert found["qdisc.packets"] == pytest.approx(400, abs=4)
    assert seen["qdisc"].distributions["qdisc.depth_packets"].count == pytest.approx(found["qdisc.packets"], abs=3)


def test_other_namespaces_do_not_count(pair: lab.Pair, collectors: Collectors) -> None:
    with lab.pair() as others:
        tbf(others, 5 * FRAME, rate_bps=1_000_000)
        with lab.measuring(pair.scope(), *collectors) as seen, burst(others, 100):
            assert emptied(others)
    found = layer_metrics(tuple(seen.values()))
    assert seen["qdisc"].distributions == {}
    assert found["qdisc.drops"] == found["qdisc.packets"] == 0
    assert sum(value for name, value in found.items() if name.startswith("qdisc.drops_")) == 0


def test_what_happens_in_the_warm_up_is_left_out(pair: lab.Pair, collectors: Collectors) -> None:
    tbf(pair, 5 * FRAME, rate_bps=2_000_000)
    with lab.measuring(pair.scope(warmup_ns=WARMUP_NS), *collectors) as seen, burst(pair, 100):
        assert emptied(pair)
        over_ns = now_ns() + WARMUP_NS
        bpf = (collectors[0].programs, collectors[2].programs)
        assert wait_until(lambda: now_ns() > over_ns and all(one.opened_ns for one in bpf), timeout_s=5)
        with burst(pair, 3):
            assert emptied(pair)
    found = layer_metrics(tuple(seen.values()))
    assert found["qdisc.drops"] == found["qdisc.drops_unspecified"] + found["qdisc.drops_full"] == 0
    assert found["qdisc.packets"] == 3
