from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from decision_errors import autoregressive as dependent
from decision_errors import false_changes
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcheck.compare.changepoints import MIN_SIZE, block_length, change_points, shuffled_blocks
from perfcheck.compare.trends import CUSUM_LIMIT, Movement, cusum, excursions, rolling_limits, trend

Floats = NDArray[np.float64]


def autoregressive(rng: np.random.Generator, size: int, rho: float) -> Floats:
    return dependent(rng.standard_normal(size), rho)


# change points


@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.15), (0.5, 0.3), (0.7, 0.5)])
def test_dependent_runs_hardly_ever_look_like_a_change(rho: float, most: float) -> None:
    found = false_changes(rho)
    assert np.mean(found) <= most
    assert max(found) <= 6


def test_a_shift_of_two_deviations_is_found_where_it_is() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(40):
        values = autoregressive(rng, 100, 0.3)
        values[60:] += 2.5
        hits += any(abs(found.index - 60) <= 3 for found in change_points(values))
    assert hits >= 36


def test_several_changes_with_their_levels() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(level, 1, 40) for level in (100, 110, 95)])
    first, second = change_points(values)
    assert (first.index, second.index) == (40, 80)
    assert (round(first.before), round(first.after)) == (100, 110)
    assert (round(second.before), round(second.after)) == (110, 95)
    assert first.p_value <= 0.005


def test_a_change_needs_three_points_after_it() -> None:
    rng = np.random.default_rng(4)
    steady = rng.normal(100, 1, 60)
    for after in (1, 2):
        assert change_points(np.append(steady, [150.0] * after)) == ()
    (found,) = change_points(np.append(steady, [150.0, 151.0, 149.0, 150.5]))
    assert found.index == 60


def test_one_odd_run_is_no_change() -> None:
    values = np.random.default_rng(5).normal(100, 1, 60)
    values[30] = 1e6
    assert change_points(values) == ()


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 50, [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_histories_that_cannot_have_a_change(values: list[float]) -> None:
    assert change_points(values) == ()


@given(st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_changes_are_inside_and_apart_whatever_the_values(values: list[float]) -> None:
    found = [each.index for each in change_points(values)]
    bounds = [0, *found, len(values)]
    assert all(right - left >= MIN_SIZE for left, right in pairwise(bounds) if found)
    assert change_points(values) == change_points(values)


def test_levels_are_found_whatever_the_unit() -> None:
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(1, 0.1, 30), rng.normal(2, 0.1, 30)])
    assert [each.index for each in change_points(values)] == [each.index for each in change_points(values * 1e-9)]


def test_in_a_hundred_thousand_points_a_change_is_placed_to_the_point() -> None:
    values = np.random.default_rng(7).normal(100, 1, 100_000)
    values[33_333:] += 5
    assert any(abs(each.index - 33_333) <= 2 for each in change_points(values))


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 99))
def test_shuffling_keeps_all_values_and_the_inside_of_blocks(size: int, length: int, seed: int) -> None:
    values = np.arange(size, dtype=float)
    orders = shuffled_blocks(values, length, 5, np.random.default_rng(seed))
    assert all(sorted(row) == list(values) for row in orders.tolist())
    broken = np.sum(np.diff(orders, axis=1) != 1, axis=1)
    assert np.all(broken <= size // length + 1)


def test_blocks_are_longer_where_runs_depend_on_one_another() -> None:
    rng = np.random.default_rng(8)
    lengths = [block_length(autoregressive(rng, 500, rho)) for rho in (0.0, 0.5, 0.9)]
    assert lengths == sorted(lengths)
    assert lengths[0] < 5 < lengths[2]


# trends


def test_a_slow_rise_is_a_trend_and_its_size_is_told() -> None:
    values = np.random.default_rng(9).normal(100, 1, 80) + np.linspace(0, 5, 80)
    found = trend(values)
    assert found.movement is Movement.RISING
    assert found.change == pytest.approx(5, abs=1)
    assert trend(-values).movement is Movement.FALLING


def test_noise_has_no_trend_however_dependent() -> None:
    rng = np.random.default_rng(10)
    moving = sum(trend(autoregressive(rng, 100, 0.5)).movement is not Movement.STABLE for _ in range(100))
    assert moving <= 5


@pytest.mark.parametrize("values", [[], [3.0], [3.0] * 50, [1.0, 2.0, 3.0]])
def test_what_cannot_have_a_trend_is_stable(values: list[float]) -> None:
    assert trend(values).movement is Movement.STABLE


# control limits


def test_limits_are_those_of_the_window_before_each_point() -> None:
    values = np.random.default_rng(11).normal(10, 2, 50)
    limits = rolling_limits(values, 20)
    assert np.isnan(limits.mean[:20]).all()
    assert limits.mean[30] == pytest.approx(values[10:30].mean())
    assert limits.deviation[49] == pytest.approx(np.std(values[29:49], ddof=1))
    assert np.isnan(rolling_limits(values[:20], 20).mean).all()


def test_a_burst_passes_and_a_shift_lasts() -> None:
    values = np.tile([99.0, 100.0, 101.0], 30)
    burst, shift = values.copy(), values.copy()
    burst[40:43] += 20
    shift[60:] -= 20
    (short,) = excursions(burst)
    assert (short.first, short.last, short.above, short.lasting) == (40, 42, True, False)
    (long,) = excursions(shift)
    assert (long.first, long.last, long.above, long.lasting) == (60, 89, False, True)
    assert excursions(values) == ()


def test_a_burst_after_a_shift_that_lasts_is_found_too() -> None:
    values = np.tile([99.0, 100.0, 101.0], 40)
    values[40:] += 20
    values[90:92] += 15
    shift, burst = excursions(values)
    assert (shift.first, shift.last, shift.lasting) == (40, 119, True)
    assert (burst.first, burst.last, burst.lasting) == (90, 91, False)


def test_cumulative_sums_see_a_small_lasting_shift_and_not_its_absence() -> None:
    rng = np.random.default_rng(12)
    steady = rng.normal(50, 1, 120)
    upper, lower = cusum(steady[:40], 40)
    assert max(upper.max(), lower.max()) < 2 * CUSUM_LIMIT
    shifted = steady.copy()
    shifted[60:] += 2
    upper, lower = cusum(shifted, 40)
    assert upper[119] > 5 * CUSUM_LIMIT > lower[119]
    assert int(np.argmax(upper > CUSUM_LIMIT)) < 70 or upper[:60].max() > CUSUM_LIMIT


@given(st.lists(st.floats(-1e3, 1e3), max_size=40))
def test_cumulative_sums_are_what_their_definition_says(values: list[float]) -> None:
    upper, _ = cusum(values, 10)
    assert len(upper) == len(values)
    first = np.array(values[:10])
    steps = np.abs(np.diff(first))
    deviation = float(np.median(steps)) / 0.954 if steps.size else 0.0
    deviation = deviation or float(np.std(first) if len(first) else 0)
    deviation = max(deviation, 1e-12 * max(map(abs, values), default=0.0)) or 1.0
    level = 0.0
    for value, found in zip(values, upper, strict=True):
        level = max(0.0, level + (value - float(np.median(first))) / deviation - 0.5)
        assert found == pytest.approx(level, rel=1e-6, abs=1e-6 * (1 + 1e3 / deviation))
