"""One direction as a whole, jitter and corruption: order, conservation and distributions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links_frames import CLIENT, CLIENT6, SERVER, SERVER6, SYN, checksum, packet, tcp, udp

from perfcheck.lab.links.impair.corrupt import corrupted
from perfcheck.lab.links.impair.direction import ImpairedDirection
from perfcheck.lab.links.impair.jitter import Jitter
from perfcheck.lab.links.impair.plan import DirectionPlan

MS = 1_000_000


def direction_of(**fields: Any) -> ImpairedDirection:
    return ImpairedDirection(DirectionPlan(**{"direction": 0, "seed": 5, "mtu": 1500} | fields))


def feed(direction: ImpairedDirection, frames: list[bytes], gap_ns: int) -> None:
    for number, frame in enumerate(frames):
        direction.accept(frame, number * gap_ns)


@pytest.mark.parametrize("gap_us", [1, 120, 900, 4000, 20_000, 100_000])
def test_jitter_is_uniform_at_every_packet_rate(gap_us: int) -> None:
    jitter = Jitter(2 * MS, 99)
    count = 4000 if gap_us >= 4000 else 60_000_000 // gap_us // 20
    count = min(count, 60_000)
    step = gap_us * 1000 if gap_us > 100 else gap_us * 1000 * 100
    offsets = sorted(jitter.offset_ns(number * step) for number in range(count))
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert offsets[int(share * count)] == pytest.approx((2 * share - 1) * 2 * MS, abs=0.3 * MS)
    assert offsets[0] >= -2 * MS
    assert offsets[-1] <= 2 * MS


def normal_quantile(share: float) -> float:
    return min(4.0, max(-4.0, NormalDist().inv_cdf(share)))


def pareto_quantile(share: float) -> float:
    """Netem's table, as iproute2 makes it: the inverse of a Pareto distribution of shape 3, shifted and scaled."""
    return min(4.0, (float((1 - share) ** (-1 / 3)) - 1.5) * 4 / 3)


@pytest.mark.parametrize(("name", "quantile"), [("normal", normal_quantile), ("pareto", pareto_quantile)])
@pytest.mark.parametrize("gap_us", [200, 5000, 90_000])
def test_other_distributions_are_netems(name: str, quantile: Callable[[float], float], gap_us: int) -> None:
    jitter = Jitter(2 * MS, 99, name)
    count = 200_000 if gap_us < 1000 else 20_000
    offsets = [jitter.offset_ns(number * gap_us * 1000) for number in range(count)]
    for share in (0.02, 0.1, 0.5, 0.9, 0.98):
        below = sum(offset <= quantile(share) * 2 * MS for offset in offsets)
        assert below / count == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("name", "share"), [("normal", 0.02), ("pareto", 0.02)])
def test_other_distributions_keep_order_of_themselves(name: str, share: float) -> None:
    direction = direction_of(delay_ns=20 * MS, jitter_ns=2 * MS, distribution=name)
    feed(direction, [udp(10)] * 20_000, MS // 4)
    dues = [due for due, _ in direction.line]
    assert dues == sorted(dues)
    # Held up by the order rule: released at the very moment of the packet in front.
    assert sum(one == other for one, other in pairwise(dues)) < share * len(dues)


def test_jitter_far_apart_is_independent() -> None:
    jitter = Jitter(MS, 4)
    offsets = [jitter.offset_ns(number * 20 * MS) for number in range(4000)]
    product = sum(one * other for one, other in pairwise(offsets)) / len(offsets)
    assert abs(product / (sum(offset**2 for offset in offsets) / len(offsets))) < 0.06


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 8 * MS), min_size=1, max_size=100))
def test_jitter_keeps_order_and_bounds(seed: int, gaps: list[int]) -> None:
    direction = direction_of(seed=seed, delay_ns=10 * MS, jitter_ns=2 * MS)
    now = MS
    arrivals = []
    for gap in gaps:
        now += gap
        arrivals.append(now)
        direction.accept(udp(10), now)
    dues = [due for due, _ in direction.line]
    assert dues == sorted(dues)
    for arrival, due in zip(arrivals, dues, strict=True):
        assert 8 * MS <= due - arrival <= 12 * MS


def test_keeping_order_hardly_moves_the_median() -> None:
    direction = direction_of(delay_ns=10 * MS, jitter_ns=2 * MS)
    feed(direction, [udp(10)] * 40_000, MS)
    delays = sorted(due - number * MS for number, (due, _) in enumerate(direction.line))
    assert delays[20_000] == pytest.approx(10 * MS, abs=0.1 * MS)


@given(
    st.lists(st.tuples(st.integers(0, 2 * MS), st.integers(18, 1400)), min_size=1, max_size=120),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_every_packet_has_one_fate(
    arrivals: list[tuple[int, int]], loss: float, duplicate: float, reorder: float
) -> None:
    direction = direction_of(
        delay_ns=5 * MS,
        rate_bps=5_000_000,
        queue_bytes=6000,
        loss={"to_bad": 0.0, "to_good": 1.0, "bad_loss": 1.0, "good_loss": loss},
        duplicate=duplicate,
        reorder=reorder,
    )
    now = 0
    for gap, size in arrivals:
        now += gap
        direction.accept(udp(size), now)
    counts = direction.counts
    assert counts.received == len(arrivals)
    leaving = len(direction.line) + len(direction.early)
    assert counts.received + counts.duplicated == counts.dropped_loss + counts.dropped_queue + leaving
    assert counts.reordered == len(direction.early)
    for line in (direction.line, direction.early):
        assert [due for due, _ in line] == sorted(due for due, _ in line)
    assert direction.worst_queue_bytes() <= 6000


def test_a_plain_delay_is_exact() -> None:
    direction = direction_of(delay_ns=20 * MS)
    feed(direction, [udp(10)] * 5, 777)
    assert [due for due, _ in direction.line] == [20 * MS + number * 777 for number in range(5)]


def test_a_packet_that_overtakes_waits_for_the_line_but_not_for_the_delay() -> None:
    direction = direction_of(delay_ns=20 * MS, rate_bps=8_000_000, reorder=1.0)
    direction.accept(udp(958), 0)
    assert list(direction.early) == [(MS, udp(958))]


def test_copies_take_room_on_the_line() -> None:
    direction = direction_of(rate_bps=8_000_000, duplicate=1.0)
    direction.accept(udp(958), 0)
    assert [due for due, _ in direction.line] == [MS, 2 * MS]


def test_begin_restores_the_pattern_and_the_counts() -> None:
    frames = [tcp(9, 0, flags=SYN), *(tcp(10 + number * 1000, 1000) for number in range(200))]
    direction = direction_of(
        loss={"to_bad": 0.1, "to_good": 0.3, "bad_loss": 1.0, "good_loss": 0.0},
        duplicate=0.1,
        corrupt=0.1,
        reorder=0.1,
        jitter_ns=MS,
        delay_ns=3 * MS,
    )

    def run() -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        direction.line.clear()
        direction.early.clear()
        direction.begin(0)
        feed(direction, frames, 2 * MS)
        return list(direction.line), list(direction.early)

    first, again = run(), run()
    assert [frame for _, frame in first[0]] == [frame for _, frame in again[0]]
    assert first[1] == again[1]
    assert direction.counts.received == len(frames)


@pytest.mark.parametrize(
    ("make", "hosts", "begins"),
    [
        (tcp, (CLIENT, SERVER), 34),
        (tcp, (CLIENT6, SERVER6), 54),
        (udp, (CLIENT, SERVER), 34),
        (udp, (CLIENT6, SERVER6), 54),
    ],
)
@given(draw=st.integers(0, 2**64 - 1), size=st.integers(1, 64))
def test_a_corrupted_bit_is_one_bit_that_the_checksum_finds(
    make: Callable[..., bytes], hosts: tuple[str, str], begins: int, draw: int, size: int
) -> None:
    whole = make(5, size, hosts=hosts) if make is tcp else make(size, hosts=hosts)
    broken = corrupted(whole, draw)
    changed = [one ^ other for one, other in zip(whole, broken, strict=True)]
    assert changed[:begins] == [0] * begins
    assert sum(bits.bit_count() for bits in changed) == 1
    assert transport_sum(whole, begins) == 0
    assert transport_sum(broken, begins) != 0


def transport_sum(frame: bytes, begins: int) -> int:
    """Return what a receiver computes over pseudo-header and segment: 0 when it is whole."""
    addresses = frame[begins - 8 : begins] if begins == 34 else frame[begins - 32 : begins]
    protocol = frame[23] if begins == 34 else frame[20]
    segment = frame[begins:]
    return checksum(addresses + len(segment).to_bytes(4, "big") + bytes((0, 0, 0, protocol)) + segment)


def test_corruption_reaches_every_bit_behind_the_header() -> None:
    whole = udp(2)
    bits = (len(whole) - 34) * 8
    seen = Counter(corrupted(whole, draw) for draw in range(bits))
    assert len(seen) == bits


def test_frames_of_other_kinds_can_be_corrupted() -> None:
    for frame in (b"\xff" * 14, b"\xff" * 12 + b"\x88\xb5payload", packet(1, b"", CLIENT, SERVER, None)):
        assert corrupted(frame, 12345) != frame


def test_a_schedule_changes_the_loss_and_keeps_the_draws() -> None:
    def lossy(share: float) -> dict[str, float]:
        return {"to_bad": 0.0, "to_good": 1.0, "bad_loss": 1.0, "good_loss": share}

    def lost(**fields: Any) -> set[int]:
        direction = direction_of(**fields)
        direction.begin(MS)
        for number in range(3000):
            direction.accept(udp(10), MS + number * MS)
        arrived = {due // MS - 1 for due, _ in direction.line}
        return set(range(3000)) - arrived

    steps = {"at_ns": [0, 1000 * MS, 2000 * MS], "losses": [None, lossy(0.1), lossy(1.0)]}
    changing, steady = lost(loss_steps=steps), lost(loss=lossy(0.1))
    assert not {number for number in changing if number < 1000}
    assert {number for number in changing if 1000 <= number < 2000} == {n for n in steady if 1000 <= n < 2000}
    assert {number for number in changing if number >= 2000} == set(range(2000, 3000))
