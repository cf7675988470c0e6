"""CoDel, policers and schedules between two real hosts, by the receiver's clock, iperf3 and the kernel's own counts."""

from __future__ import annotations

import contextlib
import time

import pytest
from links_lab import TwoHosts, relay, trial

from perfcheck.lab.links.probe.sockets import ProbeSocket

pytestmark = pytest.mark.kernel

FRAME = 1514
HEADERS = 42


def stream(hosts: TwoHosts, seconds: float, gap_s: float, settle_s: float = 0.3) -> list[tuple[float, float | None]]:
    """Begin a trial, send full packets from `a` to `b` and give for each when it was sent and what it took; None: lost.

    In seconds, counted from the trial's beginning.
    """
    hosts.link.begin_trial(0)
    begun_ns = time.time_ns()
    sender = ProbeSocket(hosts.sides[0], hosts.sides[1], hosts.thread)
    receiver = ProbeSocket(hosts.sides[1], hosts.sides[0], hosts.thread)
    with contextlib.closing(sender), contextlib.closing(receiver):
        begin = time.monotonic()
        sent: list[int] = []
        stamps: dict[int, int] = {}
        while (number := len(sent)) < seconds / gap_s:
            if (wait := begin + number * gap_s - time.monotonic()) > 0:
                time.sleep(wait)
            sent.append(sender.send(number, FRAME - HEADERS))
            stamps.update(receiver.receive())
        deadline = time.monotonic() + settle_s
        while time.monotonic() < deadline and len(sent) - 1 not in stamps:
            stamps.update(receiver.receive())
            time.sleep(0.005)
        stamps.update(receiver.receive())
        return [((at - begun_ns) / 1e9, (stamps[n] - at) / 1e9 if n in stamps else None) for n, at in enumerate(sent)]


def mean_rtt_ms(hosts: TwoHosts) -> tuple[float, float, int]:
    """Return mean RTT, goodput in Mbit/s and the drops of CoDel of one transfer."""
    ended, (forward, reverse) = trial(hosts, "-t", "2", "-O", "1", "-C", "cubic")
    assert forward.received - forward.delivered - forward.dropped_queue == forward.extra["in_flight"]
    assert reverse.dropped_queue == 0
    rtt_ms = ended["streams"][0]["sender"]["mean_rtt"] / 1000
    return rtt_ms, ended["sum_received"]["bits_per_second"] / 1e6, int(forward.extra["dropped_codel"])


def test_codel_keeps_the_queue_short_where_a_drop_tail_fills_it() -> None:
    link = {"delay": "5ms", "rate": "20mbit"}
    with relay(**link, queue="100p") as hosts:
        long_ms, full_mbit, none = mean_rtt_ms(hosts)
    with relay(**link, queue={"size": "100p", "discipline": "codel"}) as hosts:
        short_ms, goodput_mbit, drops = mean_rtt_ms(hosts)
    assert none == 0 < drops
    assert long_ms > 30
    assert short_ms < 0.7 * long_ms
    assert goodput_mbit > 0.85 * full_mbit


def test_a_policer_lets_pass_what_its_bucket_holds_and_delays_nothing() -> None:
    with relay(policer={"rate": "12mbit", "burst": "30kb"}, delay="2ms") as hosts:
        before = [hosts.counters(0), hosts.counters(1)]
        packets = stream(hosts, 0.5, 0.0005)
        forward, _ = hosts.link.end_trial()
        after = [hosts.counters(0), hosts.counters(1)]
    passed = [delay for _, delay in packets if delay is not None]
    # The bucket, by the times at which packets were really sent.
    allowed, bucket, before_s = 0, 30_000.0, packets[0][0]
    for at, _ in packets:
        bucket = min(30_000.0, bucket + (at - before_s) * 12e6 / 8)
        before_s = at
        if bucket >= FRAME:
            bucket -= FRAME
            allowed += 1
    assert allowed < 0.8 * len(packets)
    assert len(passed) == pytest.approx(allowed, abs=3)
    assert forward.dropped_policer == len(packets) - len(passed)
    assert forward.received == after[0]["tx_packets"] - before[0]["tx_packets"] == len(packets)
    assert forward.delivered == after[1]["rx_packets"] - before[1]["rx_packets"] == len(passed)
    assert forward.dropped_queue == forward.dropped_loss == 0
    assert sorted(passed)[len(passed) // 2] < 0.004


def test_a_schedule_changes_rate_delay_and_loss_when_it_says() -> None:
    schedule = [{"at": "500ms", "delay": "30ms"}, {"at": "1s", "loss": "100%"}, {"at": "1500ms", "loss": "0%"}]
    with relay(delay="5ms", rate="50mbit", schedule=schedule) as hosts:
        packets = stream(hosts, 1.9, 0.002)
        hosts.link.end_trial()

    def delays(begin_s: float, end_s: float) -> list[float | None]:
        return [delay for at, delay in packets if begin_s <= at < end_s]

    def middle(found: list[float | None]) -> float:
        known = sorted(delay for delay in found if delay is not None)
        return known[len(known) // 2]

    assert middle(delays(0, 0.35)) == pytest.approx(0.0053, abs=0.001)
    assert middle(delays(0.55, 0.9)) == pytest.approx(0.0303, abs=0.001)
    assert all(delay is None for delay in delays(1.02, 1.4))
    assert sum(delay is None for delay in delays(1.52, 1.85)) == 0


def test_a_schedule_lowers_the_rate() -> None:
    with relay(rate="20mbit", queue="1000p", schedule=[{"at": "600ms", "rate": "5mbit"}]) as hosts:
        # 10 Mbit/s: nothing waits before the change, half of it does afterwards.
        packets = stream(hosts, 1.4, FRAME * 8 / 10e6, settle_s=1.5)
        hosts.link.end_trial()
    early = [delay for at, delay in packets if at < 0.45]
    assert all(delay is not None and delay < 0.1 for delay in early)
    assert sorted(delay or 0 for delay in early)[len(early) // 2] < 0.003
    last_at, last = packets[-1]
    assert last is not None
    # What came since the change needs twice as long as it came in.
    assert last == pytest.approx(last_at - 0.6, abs=0.08)
