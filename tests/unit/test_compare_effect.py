"""Whether a relief moved a metric: simulated effects of known size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perfcheck.compare import Effect, Finding, effect_of, overall_finding


def finding(before: list[float], after: list[float], wanted_pct: float) -> Finding | None:
    found = effect_of(before, after, wanted_pct)
    return None if found is None else found.finding


@pytest.mark.parametrize(
    ("after", "wanted_pct", "expected"),
    [
        ([200.0, 201.0, 199.0], 10, Finding.MOVED),
        ([100.0, 101.0, 99.0], 10, Finding.STAYED),
        ([50.0, 51.0, 49.0], 10, Finding.STAYED),
        ([50.0, 51.0, 49.0], -30, Finding.MOVED),
        ([200.0, 201.0, 199.0], -30, Finding.STAYED),
        ([111.0, 99.0, 125.0], 10, Finding.OPEN),
        ([70.0, 60.0, 95.0], -30, Finding.OPEN),
    ],
)
def test_the_direction_and_the_size_count(after: list[float], wanted_pct: float, expected: Finding) -> None:
    assert finding([100.0, 101.0, 99.0], after, wanted_pct) is expected


def test_the_interval_of_three_runs_reaches_from_the_least_to_the_largest_difference() -> None:
    found = effect_of([100.0, 110.0, 90.0], [200.0, 220.0, 210.0], 10)
    assert found is not None
    assert found.change_pct == pytest.approx(110)
    assert found.interval_pct == pytest.approx((81.8, 144.4), abs=0.1)
    assert (found.unchanged, found.relieved) == (100, 210)


def test_nothing_falls_by_more_than_all_of_it() -> None:
    found = effect_of([9.0, 2.0, 0.0], [0.0, 0.0, 0.1], -50)
    assert found is not None
    assert found.interval_pct is not None
    assert found.interval_pct[0] == -100
    ratios = effect_of([9.0, 2.0, 1.0], [0.0, 0.0, 0.1], -50)
    assert ratios is not None
    assert ratios.interval_pct == pytest.approx((-100, -90))


def test_nothing_cannot_fall_but_can_rise() -> None:
    assert finding([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], -50) is None
    assert finding([0.0, 0.0, 0.0], [5.0, 6.0, 7.0], 50) is Finding.MOVED
    assert finding([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 50) is Finding.STAYED
    assert finding([0.0, 0.0, 0.0], [0.0, 6.0, 7.0], 50) is Finding.OPEN


@pytest.mark.parametrize(
    ("before", "after"), [([1.0, 1.0], [2.0] * 3), ([1.0] * 3, []), ([math.nan, 1.0, 1.0], [2.0] * 3)]
)
def test_too_few_values_tell_nothing(before: list[float], after: list[float]) -> None:
    assert effect_of(before, after, 10) is None


def test_one_metric_that_moved_is_enough_and_all_must_have_stayed() -> None:
    def made(finding: Finding) -> Effect:
        return Effect(finding=finding, unchanged=1, relieved=1, change_pct=0, interval_pct=None)

    moved, stayed, undecided = (made(each) for each in (Finding.MOVED, Finding.STAYED, Finding.OPEN))
    assert overall_finding([stayed, moved]) is Finding.MOVED
    assert overall_finding([stayed, stayed]) is Finding.STAYED
    assert overall_finding([stayed, undecided]) is Finding.OPEN
    assert overall_finding([]) is Finding.OPEN


def test_noise_alone_is_seldom_taken_for_an_effect() -> None:
    chance = np.random.default_rng(7)
    found = [
        finding(list(chance.normal(100, 3, 3)), list(chance.normal(100, 3, 3)), 10) for _ in range(500)
    ]  # fmt: skip
    assert found.count(Finding.MOVED) == 0
    assert found.count(Finding.STAYED) >= 450


def test_an_effect_of_twice_what_is_wanted_is_seen_through_noise() -> None:
    chance = np.random.default_rng(8)
    found = [finding(list(chance.normal(100, 3, 3)), list(chance.normal(120, 3, 3)), 10) for _ in range(500)]
    assert found.count(Finding.MOVED) >= 450
    assert found.count(Finding.STAYED) == 0
