"""The jitter that a test's own streams make, against a simulation of streams that send at once into a FIFO."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.analyse.udp import self_jitter_us
from perfcheck.model.scenario import Scenario
from perfcheck.scenario import load_text


def scenario(*traffic: str, link: str = "delay: 20ms, rate: 2mbit") -> Scenario:
    entries = "\n".join(f"  - iperf3: {{from: a, to: b, duration: 2s, {one}}}" for one in traffic)
    hosts = "scenario: x\nhosts: {a: {}, b: {}}\n"
    (found,) = load_text(f"{hosts}links:\n  - {{between: [a, b], {link}}}\ntraffic:\n{entries}\n", "x.yaml")
    return found


def simulated_us(streams: int, datagram_us: float) -> float:
    """Mean change of a stream's wait from one round to the next, where all send at once in an order drawn anew."""
    draw = random.Random(streams)  # noqa: S311 - a simulation
    order = list(range(streams))
    waits = []
    for _ in range(6000 // streams + 400):
        draw.shuffle(order)
        waits.append([order.index(stream) * datagram_us for stream in range(streams)])
    return mean(abs(later[stream] - before[stream]) for before, later in pairwise(waits) for stream in range(streams))


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 24), st.integers(50, 1400), st.integers(1, 100))
def test_streams_in_changing_order_make_the_jitter_of_the_simulation(streams: int, size: int, mbit: int) -> None:
    found = self_jitter_us(
        scenario(f"protocol: udp, streams: {streams}, length: {size}b", link=f"delay: 1ms, rate: {mbit}mbit")
    )
    assert found == pytest.approx(simulated_us(streams, 8 * (size + 42) / mbit), rel=0.08)


def test_ten_calls_on_a_narrow_line_are_what_iperf3_3_18_showed_there() -> None:
    """2.4 to 2.7 ms, in fresh chroots of Debian 13."""
    found = self_jitter_us(scenario("protocol: udp, streams: 10, rate: 64kbit, length: 160b"))
    assert found == pytest.approx(2666, rel=0.01)


def test_one_stream_waits_for_nobody() -> None:
    assert self_jitter_us(scenario("protocol: udp")) == 0.0


def test_streams_of_several_entries_meet_on_the_link_that_they_share() -> None:
    apart = self_jitter_us(scenario("protocol: udp, length: 160b", "protocol: udp, length: 160b"))
    assert apart == self_jitter_us(scenario("protocol: udp, streams: 2, length: 160b"))
    there_and_back = scenario("protocol: udp, length: 160b", "protocol: udp, length: 160b, reverse: true")
    assert self_jitter_us(there_and_back) == 0.0


def test_without_a_rate_nobody_waits_and_without_datagrams_there_is_none() -> None:
    assert self_jitter_us(scenario("protocol: udp, streams: 10", link="delay: 20ms")) == 0.0
    assert self_jitter_us(scenario("streams: 10")) is None


def test_a_policer_drops_and_makes_nobody_wait() -> None:
    policed = scenario("protocol: udp, streams: 10", link="delay: 1ms, policer: {rate: 2mbit, burst: 10kb}")
    assert self_jitter_us(policed) == 0.0
    both = "delay: 1ms, rate: 100mbit, policer: {rate: 2mbit, burst: 10kb}"
    alone = scenario("protocol: udp, streams: 10", link="delay: 1ms, rate: 100mbit")
    assert self_jitter_us(scenario("protocol: udp, streams: 10", link=both)) == self_jitter_us(alone)


def test_background_streams_count_on_a_link_that_measured_ones_wait_for_alone() -> None:
    measured, behind = "protocol: udp, length: 160b", "protocol: udp, length: 160b, streams: 20, background: true"
    assert self_jitter_us(scenario(measured, f"{behind}, reverse: true")) == 0.0
    same_way = self_jitter_us(scenario(measured, behind))
    assert same_way == self_jitter_us(scenario("protocol: udp, length: 160b, streams: 21"))
    assert self_jitter_us(scenario("streams: 1", behind)) is None


@pytest.mark.parametrize(
    ("family", "mtu", "frame"), [("ipv4", 1500, 1490), ("ipv6", 1500, 1490), ("ipv4", 9000, 8990), ("ipv6", 1280, 1270)]
)
def test_without_a_length_datagrams_are_as_long_as_segments_of_the_control_connection(
    family: str, mtu: int, frame: int
) -> None:
    found = self_jitter_us(
        scenario(f"protocol: udp, streams: 2, family: {family}", link=f"delay: 1ms, rate: 10mbit, mtu: {mtu}")
    )
    assert found == pytest.approx(8 * frame / 10 / 2)


def test_where_the_rate_changes_nobody_can_say() -> None:
    changing = "delay: 1ms, rate: 10mbit, schedule: [{at: 1s, rate: 1mbit}]"
    assert self_jitter_us(scenario("protocol: udp, streams: 10", link=changing)) is None
