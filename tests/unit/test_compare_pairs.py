from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perfcheck.compare.ab import compare_pairs, judge_pairs, pairs_wanted
from perfcheck.compare.pairs import LOOKS, Answer, Margins, answers, order_of_pairs, settle
from perfcheck.model.metric import DecidedBy, Direction, Layer, MetricSpec
from perfcheck.model.record import TrialRecord
from perfcheck.model.verdict import Verdict
from perfcheck.testing import make_record, make_scenario

EVEN = Margins(worse=0.02, better=0.02)
RTT = "tcp.rtt_us.p50"


def spec(direction: Direction = Direction.LOWER, margin_pct: float = 5.0, floor: float = 0.0) -> MetricSpec:
    return MetricSpec(
        name=RTT, unit="us", layer=Layer.TCP, direction=direction, decided_by=DecidedBy.DELAY, meaning="m",
        source_text="s", needs=("tcp",), margin_pct=margin_pct, floor=floor,
    )  # fmt: skip


def near(centre: float, count: int, spread: float = 0.001) -> list[float]:
    """Values about a centre, none alike."""
    return [centre * (1 + spread * math.sin(1 + index)) for index in range(count)]


@given(st.integers(1, 40), st.integers(0, 1000))
def test_blocks_of_two_pairs_mirror_each_other(pairs: int, seed: int) -> None:
    order = order_of_pairs(pairs, seed)
    assert len(order) == pairs
    assert order == order_of_pairs(pairs, seed)
    for first, second in zip(order[::2], order[1::2], strict=False):
        assert sorted(first) == ["A", "B"]
        assert second == first[::-1]


def test_both_kinds_of_block_come_about_equally_often() -> None:
    seen = Counter(order_of_pairs(1, seed)[0] for seed in range(400))
    assert min(seen.values()) > 150


def test_before_the_first_look_nothing_is_settled() -> None:
    found = settle([1.0] * 8, EVEN)
    assert (found.answer, found.low, found.high) == (Answer.OPEN, -math.inf, math.inf)
    assert settle([], EVEN).answer is Answer.OPEN


@pytest.mark.parametrize(("centre", "answer"), [(0.05, Answer.WORSE), (-0.05, Answer.BETTER), (0.0, Answer.SAME)])
def test_a_clear_case_is_settled_at_the_first_look(centre: float, answer: Answer) -> None:
    values = [centre + 0.001 * math.sin(index) for index in range(20)]
    assert settle(values[:9], EVEN).answer is answer
    assert settle(values, EVEN) == settle(values[:9], EVEN)


def test_what_was_settled_stays_settled_whatever_comes_later() -> None:
    values = [0.001 * math.sin(index) for index in range(9)]
    assert settle([*values, *[5.0] * 11], EVEN).answer is Answer.SAME


def test_the_last_look_settles_or_gives_up() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0.02, 0.01, 20).tolist()
    assert settle(values[:14], EVEN).answer is Answer.OPEN
    found = settle(values, EVEN)
    assert found.answer is Answer.UNSETTLED
    assert found.low < 0.02 < found.high


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=22), st.floats(0, 0.5), st.floats(0, 0.5))
def test_many_at_once_and_one_by_one_agree(values: list[float], worse: float, better: float) -> None:
    margins = Margins(worse=worse, better=better)
    array = np.array([values, values[::-1]])
    assert [settle(row, margins).answer for row in array.tolist()] == answers(array, margins).tolist()


@given(st.lists(st.floats(-1, 1), min_size=20, max_size=20))
def test_worse_and_better_are_mirror_images(values: list[float]) -> None:
    swap = {Answer.WORSE: Answer.BETTER, Answer.BETTER: Answer.WORSE}
    left, right = settle(values, EVEN).answer, settle([-value for value in values], EVEN).answer
    if left in swap or right in swap:
        assert right is swap[left]


def test_the_shares_of_error_are_those_that_are_told() -> None:
    assert [look.pairs for look in LOOKS] == [9, 14, 20]
    assert sum(look.change for look in LOOKS) <= 0.01
    assert sum(look.settle for look in LOOKS) == pytest.approx(0.05)
    assert [pairs_wanted(pairs) for pairs in (0, 8, 9, 13, 14, 20, 25)] == [9, 9, 14, 14, 20, None, None]


# figures


def test_a_regression_of_a_ratio_with_its_figures() -> None:
    found, answer = compare_pairs(spec(), near(100, 9), [1.2 * value for value in near(100, 9)])
    assert answer is Answer.WORSE
    assert found.verdict is Verdict.REGRESSED
    assert found.change_pct == pytest.approx(20.0)
    assert found.interval_pct == pytest.approx((20.0, 20.0))
    assert found.detectable_pct == pytest.approx(5.0)
    assert found.baseline == pytest.approx(100, rel=0.002)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), min_size=9, max_size=20))
@example([(0.0, 0.0)] * 4 + [(1.0, 0.0)] * 5 + [(1000.0, 0.0)] * 5)
def test_what_is_never_negative_falls_by_no_more_than_all_of_it(pairs: list[tuple[float, float]]) -> None:
    before, after = zip(*pairs, strict=True)
    for direction in Direction:
        found, _ = compare_pairs(spec(direction), before, after)
        low, high = found.interval_pct or (0.0, 0.0)
        assert -100 <= low <= high
        assert found.change_pct is None or found.change_pct >= -100


@pytest.mark.parametrize(
    ("direction", "factor", "verdict"),
    [
        (Direction.LOWER, 1.2, Verdict.REGRESSED), (Direction.LOWER, 0.8, Verdict.IMPROVED),
        (Direction.HIGHER, 1.2, Verdict.IMPROVED), (Direction.HIGHER, 0.8, Verdict.REGRESSED),
        (Direction.NEITHER, 1.2, Verdict.PASS), (Direction.HIGHER, 0.96, Verdict.PASS),
        (Direction.HIGHER, 0.94, Verdict.REGRESSED), (Direction.LOWER, 1.04, Verdict.PASS),
    ],
)  # fmt: skip
def test_the_direction_decides_what_a_change_is(direction: Direction, factor: float, verdict: Verdict) -> None:
    found, _ = compare_pairs(spec(direction), near(100, 9), [factor * value for value in near(100, 9)])
    assert found.verdict is verdict
    assert found.change_pct == pytest.approx(100 * (factor - 1))


def test_a_metric_without_a_direction_fails_on_the_users_word() -> None:
    for factor in (0.8, 1.2):
        found, _ = compare_pairs(spec(Direction.NEITHER), near(100, 9), [factor * x for x in near(100, 9)], 5.0)
        assert found.verdict is Verdict.REGRESSED


def test_zeros_are_compared_by_differences() -> None:
    more, _ = compare_pairs(spec(floor=0.5), [0.0] * 9, near(2.0, 9))
    assert (more.verdict, more.change_pct, more.detectable_pct) == (Verdict.REGRESSED, None, None)
    for floor in (0.0, 0.5):
        same, _ = compare_pairs(spec(floor=floor), [0.0] * 9, [0.0] * 9)
        assert (same.verdict, same.change_pct) == (Verdict.PASS, 0.0)


def test_noise_is_inconclusive_and_says_how_many_pairs_would_do() -> None:
    rng = np.random.default_rng(2)
    found, answer = compare_pairs(spec(), near(100, 20), (104 * np.exp(rng.normal(0, 0.05, 20))).tolist())
    assert answer is Answer.UNSETTLED
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason == "20 pairs were not enough to decide whether the change is beyond the margin"
    assert found.runs_needed is not None
    assert found.runs_needed > 20


# records


def judged(a: Sequence[float], b: Sequence[float], **changes: object) -> tuple[dict[str, Verdict], tuple[str, ...]]:
    found = judge_pairs(make_scenario(), make_record({RTT: a}), make_record({RTT: b}).model_copy(update=changes))
    return {each.metric: each.verdict for each in found.comparisons}, found.open


def test_two_records_are_paired_by_the_index_of_their_trials() -> None:
    rising = [1e4 * 1.5**index for index in range(9)]
    assert judged(rising, rising) == ({RTT: Verdict.PASS}, ())
    assert judged(rising, [1.3 * value for value in rising]) == ({RTT: Verdict.REGRESSED}, ())
    assert judged(rising[:8], rising[:8]) == ({RTT: Verdict.INCONCLUSIVE}, (RTT,))


def test_a_pair_with_an_invalid_run_does_not_count() -> None:
    trials = [TrialRecord(index=index, metrics={RTT: 100.0 + index}, valid=index != 4) for index in range(9)]
    _, still_open = judged([100.0 + index for index in range(9)], near(100, 9), trials=tuple(trials))
    assert still_open == (RTT,)


def test_a_metric_that_one_side_lacks_is_invalid() -> None:
    other = make_record({"app.throughput_bps": near(1e8, 9)})
    found = judge_pairs(make_scenario(), make_record({RTT: near(100, 9)}), other)
    assert {each.metric: (each.verdict, each.reason) for each in found.comparisons} == {
        RTT: (Verdict.INVALID, "B did not measure it"),
        "app.throughput_bps": (Verdict.INVALID, "A did not measure it"),
    }
    assert found.decided
