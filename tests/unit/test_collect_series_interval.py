"""How long a series' intervals become where sampling costs much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.series.sampler import MOST_SHARE, next_interval_ns

INTERVAL_NS = 100_000_000
USUAL_S = 0.0004


def test_an_interval_stays_as_asked_where_sampling_is_cheap() -> None:
    assert next_interval_ns(INTERVAL_NS, [USUAL_S] * 9, [USUAL_S / 4] * 9) == INTERVAL_NS


def test_a_cpu_taken_away_for_a_while_makes_no_interval_longer() -> None:
    for paused_s in (0.05, 0.5, 5.0):
        assert (
            next_interval_ns(INTERVAL_NS, [*[USUAL_S] * 3, paused_s, USUAL_S, paused_s], [paused_s, 0, 0])
            == INTERVAL_NS
        )


@pytest.mark.parametrize(("cost_s", "interval_ns"), [(0.0011, 2), (0.0020001, 3), (0.05, 50)])
def test_sampling_that_stays_costly_makes_intervals_longer(cost_s: float, interval_ns: int) -> None:
    assert next_interval_ns(INTERVAL_NS, [USUAL_S] * 4 + [cost_s] * 5) == interval_ns * INTERVAL_NS


@given(st.lists(st.floats(0, 10), min_size=1, max_size=9), st.integers(10_000_000, 10_000_000_000))
def test_half_of_the_intervals_or_more_keep_within_the_share(costs_s: list[float], asked_ns: int) -> None:
    length_ns = next_interval_ns(asked_ns, costs_s)
    assert length_ns >= asked_ns
    assert length_ns % asked_ns == 0
    within = sum(cost_s <= MOST_SHARE * length_ns / 1e9 * (1 + 1e-9) for cost_s in costs_s)
    assert 2 * within >= len(costs_s)


def test_before_anything_is_known_an_interval_is_as_asked() -> None:
    assert next_interval_ns(INTERVAL_NS, []) == INTERVAL_NS
