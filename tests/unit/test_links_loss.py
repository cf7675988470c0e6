"""Loss models against the binomial distribution, the theory of the chain, and themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links_frames import SYN, tcp, udp

from perfcheck.lab.links.impair.loss import GilbertElliott, RandomLoss, loss_model
from perfcheck.lab.links.impair.packet_id import PacketIds
from perfcheck.lab.links.impair.plan import LossPlan

CHAIN = LossPlan(to_bad=0.01, to_good=0.25, bad_loss=1.0, good_loss=0.0)


SEGMENTS = [tcp(10 + number * 1460, 1460) for number in range(40)]
ACKS = [tcp(10, 0, ack=number) for number in range(1, 30)]


def plan_of(probability: float) -> LossPlan:
    return LossPlan(to_bad=0.0, to_good=1.0, bad_loss=1.0, good_loss=probability)


def fates(frames: Sequence[bytes], plan: LossPlan, seed: int = 7) -> list[bool]:
    packet_ids = PacketIds(seed, 0, 1500)
    model = loss_model(plan)
    return [model.lost(packet_id) for packet_id in map(packet_ids.identify, frames) if packet_id is not None]


@pytest.mark.parametrize("probability", [0.0, 0.001, 0.01, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_loss_is_binomial(probability: float, seed: int) -> None:
    count = 10_000
    lost = sum(fates([udp(100)] * count, plan_of(probability), seed))
    assert abs(lost - count * probability) <= 3.3 * sqrt(count * probability * (1 - probability))


def test_random_losses_are_independent() -> None:
    count, probability = 30_000, 0.1
    fate = fates([udp(100)] * count, plan_of(probability))
    for lag in (1, 2, 3):
        both = sum(one and other for one, other in zip(fate, fate[lag:], strict=False))
        expected = count * probability**2
        assert abs(both - expected) < 4 * sqrt(expected)


@pytest.mark.parametrize("size", [100, 1460])
def test_tcp_data_of_any_size_is_lost_alike(size: int) -> None:
    count, probability = 10_000, 0.02
    frames = [tcp(9, 0, flags=SYN), *(tcp(10 + number * size, size) for number in range(count))]
    lost = sum(fates(frames, plan_of(probability)))
    assert abs(lost - count * probability) <= 3.3 * sqrt(count * probability)


def test_gilbert_elliott_has_its_mean_and_its_bursts() -> None:
    count = 60_000
    fate = fates([udp(100)] * count, CHAIN)
    bursts = [len(list(run)) for lost, run in groupby(fate) if lost]
    share = CHAIN.to_bad / (CHAIN.to_bad + CHAIN.to_good)
    assert sum(fate) / count == pytest.approx(share, rel=0.18)
    assert sum(bursts) / len(bursts) == pytest.approx(1 / CHAIN.to_good, rel=0.18)


def test_gilbert_elliott_loses_in_both_states() -> None:
    count = 40_000
    plan = LossPlan(to_bad=0.02, to_good=0.08, bad_loss=0.5, good_loss=0.01)
    fate = fates([udp(100)] * count, plan)
    assert sum(fate) / count == pytest.approx(0.2 * 0.5 + 0.8 * 0.01, rel=0.18)


def test_repeats_under_gilbert_elliott_have_the_same_mean() -> None:
    count = 20_000
    frames = [tcp(9, 0, flags=SYN), tcp(10, 10 * 1460), *[tcp(10, 1460)] * count]
    fate = fates(frames, CHAIN)[2:]
    share = CHAIN.to_bad / (CHAIN.to_bad + CHAIN.to_good)
    assert sum(fate) / count == pytest.approx(share, rel=0.15)


@given(st.integers(0, 2**32 - 1), st.data())
def test_the_same_seed_loses_the_same_bytes_whatever_else_is_sent(seed: int, data: st.DataObject) -> None:
    segments = SEGMENTS
    disturbed = []
    for number, segment in enumerate(segments):
        disturbed.append(segment)
        disturbed += data.draw(st.lists(st.sampled_from(ACKS), max_size=2))
        disturbed += [segments[number // 2]] * data.draw(st.integers(0, 1 if number > 3 else 0))
    for plan in (plan_of(0.2), LossPlan(to_bad=0.1, to_good=0.3, bad_loss=0.9, good_loss=0.05)):
        plain = dict(zip(segments, fates(segments, plan, seed), strict=True))
        again: dict[bytes, bool] = {}
        for frame, lost in zip(disturbed, fates(disturbed, plan, seed), strict=True):
            again.setdefault(frame, lost)
        assert {frame: again[frame] for frame in segments} == plain


def test_the_cheaper_model_is_used_where_the_chain_does_nothing() -> None:
    assert isinstance(loss_model(plan_of(0.3)), RandomLoss)
    assert isinstance(loss_model(LossPlan(to_bad=0.1, to_good=0.1, bad_loss=0.2, good_loss=0.2)), RandomLoss)
    assert isinstance(loss_model(CHAIN), GilbertElliott)


def test_a_chain_that_cannot_leave_the_bad_state_stays_there() -> None:
    fate = fates([udp(10)] * 5000, LossPlan(to_bad=0.05, to_good=0.0, bad_loss=1.0, good_loss=0.0))
    first = fate.index(True)
    assert all(fate[first:])
    assert first < 500
