"""The policer against an oracle in exact fractions, which stands in front of everything else."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from links_frames import udp

from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.plan import DirectionPlan
from perfcheck.lab.links.impair.police import TokenBucket

MS = 1_000_000
ARRIVALS = st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(60, 9014)), min_size=1, max_size=100)
RATES = st.sampled_from([64_000, 1_000_000, 10_000_000, 333_333_333])
BURSTS = st.integers(1514, 200_000)


@settings(deadline=None)
@given(RATES, BURSTS, ARRIVALS)
def test_it_matches_the_oracle(rate: int, burst: int, arrivals: list[tuple[int, int]]) -> None:
    bucket, tokens, now = TokenBucket(rate, burst, 0), Fraction(burst), 0
    for gap, size in arrivals:
        now += gap
        tokens = min(Fraction(burst), tokens + Fraction(gap * rate, 8 * 10**9))
        passes = size <= tokens
        tokens -= size if passes else 0
        assert bucket.conforms(now, size) == passes


@settings(deadline=None)
@given(RATES, BURSTS, ARRIVALS)
def test_no_time_passes_more_than_burst_and_rate(rate: int, burst: int, arrivals: list[tuple[int, int]]) -> None:
    bucket, now, passed = TokenBucket(rate, burst, 0), 0, []
    for gap, size in arrivals:
        now += gap
        if bucket.conforms(now, size):
            passed.append((now, size))
    for first, (begin, _) in enumerate(passed):
        total = 0
        for end, size in passed[first:]:
            total += size
            assert total * 8 * 10**9 <= burst * 8 * 10**9 + (end - begin) * rate


def test_it_drops_and_holds_nothing_back() -> None:
    plan = DirectionPlan(
        direction=0, seed=1, mtu=1500, policer={"rate_bps": 12_112_000, "burst_bytes": 15_140}, delay_ns=MS
    )
    direction = ImpairedDirection(plan)
    for _ in range(50):
        direction.accept(udp(1472), 0)
    for ms in range(1, 101):
        for _ in range(2):
            direction.accept(udp(1472), ms * MS)
    # Ten at once, and then the one a ms that 12.112 Mbit/s are.
    assert [due for due, _ in direction.line] == [MS] * 10 + [ms * MS + MS for ms in range(1, 101)]
    assert direction.counts.dropped_policer == 140
    assert direction.counts.dropped_queue == direction.counts.dropped_loss == 0
    direction.begin(200 * MS)
    for _ in range(50):
        direction.accept(udp(1472), 200 * MS)
    assert direction.counts.dropped_policer == 40


def test_what_it_drops_takes_no_place_in_the_queue_and_no_draw_is_shifted() -> None:
    loss = {"to_bad": 0.0, "to_good": 1.0, "bad_loss": 1.0, "good_loss": 0.3}
    policer = {"rate_bps": 1_000_000, "burst_bytes": 100_000}
    direction = ImpairedDirection(
        DirectionPlan(direction=0, seed=1, mtu=1500, policer=policer, loss=loss, rate_bps=1_000_000, queue_packets=1000)
    )
    for _ in range(500):
        direction.accept(udp(1472), 0)
    counts = direction.counts
    assert counts.dropped_policer == 500 - 66
    assert len(direction.line) + counts.dropped_loss == 66
