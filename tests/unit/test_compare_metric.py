from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from perfcheck.compare.metric import compare_metric, margin_of
from perfcheck.compare.noise import run_scale
from perfcheck.compare.ranks import differences, interval, shift, signed_rank_depth, two_sample_depth, walsh_averages
from perfcheck.compare.screen import CONFIRM, SCREEN, runs_for_level
from perfcheck.model.metric import DecidedBy, Direction, Layer, MetricSpec
from perfcheck.model.verdict import Verdict

BAD_AND_GOOD = {Verdict.REGRESSED, Verdict.IMPROVED}
values = st.floats(0.01, 1e9)
runs = st.lists(values, min_size=3, max_size=8)
sessions = st.lists(st.lists(values, min_size=1, max_size=6), min_size=1, max_size=4)


def spec(direction: Direction = Direction.LOWER, margin_pct: float = 5.0, floor: float = 0.0) -> MetricSpec:
    return MetricSpec(
        name="tcp.rtt_us.p50", unit="us", layer=Layer.TCP, direction=direction, decided_by=DecidedBy.DELAY,
        meaning="m", source_text="s", needs=("tcp",), margin_pct=margin_pct, floor=floor,
    )  # fmt: skip


def verdict(
    before: Sequence[Sequence[float]], after: Sequence[float], tolerance: float | None = None, **kind: object
) -> Verdict:
    return compare_metric(spec(**kind), before, after, tolerance).verdict  # type: ignore[arg-type]


# against independent sources


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 5), (4, 9), (15, 5), (12, 12)])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.005])
def test_the_depth_of_the_rank_interval_is_that_of_the_mann_whitney_test(n: int, m: int, alpha: float) -> None:
    depth = two_sample_depth(n, m, alpha)

    def p_value(u: int) -> float:
        """P(U <= u), by scipy, of samples that have this U."""
        low, rest = np.arange(m, dtype=float), np.arange(m, m + n) + 0.5
        order = np.sort(np.concatenate([low, rest]))
        for ranks in _rank_sets(n, m, u):
            chosen = order[list(ranks)]
            others = np.delete(order, list(ranks))
            return float(stats.mannwhitneyu(chosen, others, alternative="less", method="exact").pvalue)
        raise AssertionError

    assert depth == 0 or p_value(depth - 1) <= alpha + 1e-12
    assert p_value(depth) > alpha


def _rank_sets(n: int, m: int, u: int) -> list[tuple[int, ...]]:
    """One set of m ranks (0-based) of n + m whose Mann-Whitney U is u."""
    ranks = list(range(m))
    for index in range(m - 1, -1, -1):
        step = min(n, u)
        ranks[index] += step
        u -= step
    return [tuple(ranks)]


@pytest.mark.parametrize(("pairs", "alpha"), [(9, 0.002), (9, 0.05), (14, 0.003), (20, 0.005), (5, 0.01)])
def test_the_depth_of_signed_ranks_is_that_of_wilcoxons_table(pairs: int, alpha: float) -> None:
    depth = signed_rank_depth(pairs, alpha)

    def p_value(w: int) -> float:
        signs, left = np.full(pairs, -1.0), w
        for rank in range(pairs, 0, -1):
            if rank <= left:
                signs[rank - 1], left = 1.0, left - rank
        return float(stats.wilcoxon(signs * np.arange(1, pairs + 1), alternative="less", method="exact").pvalue)

    assert depth == 0 or p_value(depth - 1) <= alpha
    assert p_value(depth) > alpha


@given(runs, runs)
def test_the_shift_is_the_median_of_all_differences(before: list[float], after: list[float]) -> None:
    ordered = differences(np.array(before), np.array(after))
    assert float(shift(ordered)) == pytest.approx(np.median([y - x for x in before for y in after]))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_walsh_averages_are_all_means_of_two(sample: list[float]) -> None:
    found = walsh_averages(np.array(sample))
    expected = sorted((x + y) / 2 for i, x in enumerate(sample) for y in sample[i:])
    assert found == pytest.approx(expected)


def test_the_rank_interval_covers_the_true_shift_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.standard_t(3, (4000, 8)), rng.standard_t(3, (4000, 8)) + 1.0
    low, high = interval(differences(before, after), two_sample_depth(8, 8, 0.05))
    covered = np.mean((low <= 1.0) & (high >= 1.0))
    assert 0.90 <= covered <= 0.94


def test_the_scale_of_runs_is_the_standard_deviation_of_normal_values_and_bears_outliers() -> None:
    rng = np.random.default_rng(4)
    clean = rng.normal(10, 2, (2000, 2, 5))
    dirty = clean.copy()
    dirty[:, 0, 0] += 1000
    assert np.median(run_scale([clean[:, 0], clean[:, 1]])) == pytest.approx(2, rel=0.05)
    assert np.median(run_scale([dirty[:, 0], dirty[:, 1]])) < 4
    assert np.isinf(run_scale([np.array([1.0]), np.array([2.0])]))


# properties of the verdict


@given(runs, st.randoms(use_true_random=False))
def test_the_same_values_again_never_regress(before: list[float], shuffle: object) -> None:
    after = list(before)
    shuffle.shuffle(after)  # type: ignore[attr-defined]
    for direction in Direction:
        assert verdict([before], after, direction=direction, margin_pct=0.0) is Verdict.PASS


@given(sessions, runs, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(before: list[list[float]], after: list[float], shuffle: object) -> None:
    mixed = [list(session) for session in before]
    for part in (*mixed, mixed, again := list(after)):
        shuffle.shuffle(part)  # type: ignore[attr-defined]
    left, right = compare_metric(spec(), before, after), compare_metric(spec(), mixed, again)
    assert left.verdict is right.verdict
    assert left.change_pct == pytest.approx(right.change_pct)
    assert left.detectable_pct == pytest.approx(right.detectable_pct)


@given(st.lists(st.lists(st.floats(0, 1e9), min_size=1, max_size=6), min_size=1, max_size=4),
       st.lists(st.floats(0, 1e9), min_size=3, max_size=8))  # fmt: skip
@example([[1.0, 1.0, 1000.0, 1000.0]], [0.0, 0.0, 0.0])
def test_what_is_never_negative_falls_by_no_more_than_all_of_it(before: list[list[float]], after: list[float]) -> None:
    found = compare_metric(spec(), before, after)
    low, high = found.interval_pct or (0.0, 0.0)
    assert low >= -100
    assert found.change_pct is None or found.change_pct >= -100
    assert low <= high


def test_what_may_be_negative_may_fall_by_more() -> None:
    found = compare_metric(spec(), [[10.0] * 6], [-20.0] * 6)
    assert found.change_pct == -300


@given(sessions, runs, st.integers(-20, 20))
def test_the_unit_does_not_matter(before: list[list[float]], after: list[float], power: int) -> None:
    scale = 2.0**power
    left = compare_metric(spec(), before, after)
    right = compare_metric(spec(), [[x * scale for x in each] for each in before], [x * scale for x in after])
    assert left.verdict is right.verdict
    assert left.change_pct == pytest.approx(right.change_pct)
    assert left.interval_pct == pytest.approx(right.interval_pct)


@given(sessions, runs)
def test_what_is_worse_for_one_direction_is_better_for_the_other(before: list[list[float]], after: list[float]) -> None:
    swap = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}
    lower = verdict(before, after, direction=Direction.LOWER)
    higher = verdict(before, after, direction=Direction.HIGHER)
    if lower in BAD_AND_GOOD or higher in BAD_AND_GOOD:
        assert higher is swap[lower]


@given(
    st.floats(1, 1e6), st.lists(st.floats(-0.01, 0.01), min_size=5, max_size=10),
    st.lists(st.floats(-0.01, 0.01), min_size=5, max_size=10),
)  # fmt: skip
def test_a_big_change_beyond_small_noise_always_counts(centre: float, before: list[float], after: list[float]) -> None:
    base = [centre * (1 + noise) for noise in before]
    assert verdict([base], [2 * centre * (1 + noise) for noise in after]) is Verdict.REGRESSED
    assert verdict([base], [0.5 * centre * (1 + noise) for noise in after]) is Verdict.IMPROVED


@given(sessions, runs)
@example([[1.0, 1.0, 1.0]], [1.0, 1.0, 1.0])
def test_the_detectable_change_is_what_would_have_been_called(before: list[list[float]], after: list[float]) -> None:
    found = compare_metric(spec(), before, after)
    assume(found.detectable_pct is not None and found.change_pct is not None)
    centre = float(np.median(np.concatenate([np.array(each) for each in before])))
    assert found.detectable_pct is not None
    assert found.change_pct is not None
    missing = (found.detectable_pct - found.change_pct) / 100 * centre
    step = 1e-6 * max(abs(missing), *map(abs, after), centre)
    assert verdict(before, [x + missing + step for x in after]) is Verdict.REGRESSED
    assert verdict(before, [x + missing - step for x in after]) is not Verdict.REGRESSED


def test_a_change_within_the_margin_passes_however_certain() -> None:
    before = [[100.0, 100.1, 99.9, 100.0, 100.05]]
    after = [104.0, 104.1, 103.9, 104.0, 104.0]
    assert verdict(before, after) is Verdict.PASS
    assert verdict(before, after, margin_pct=2.0) is Verdict.REGRESSED
    assert verdict(before, after, 2.0) is Verdict.REGRESSED


def test_what_noise_explains_passes_and_says_what_it_would_have_hidden() -> None:
    found = compare_metric(spec(), [[100.0, 130.0, 90.0, 110.0, 105.0]], [140.0, 95.0, 120.0, 133.0, 118.0])
    assert found.verdict is Verdict.PASS
    assert found.change_pct is not None
    assert found.detectable_pct is not None
    assert 5 < found.change_pct < 20 < found.detectable_pct


def test_a_certain_change_that_may_or_may_not_be_beyond_the_margin_is_inconclusive() -> None:
    before = [[100.0, 101.0, 99.0, 100.5, 99.5]]
    after = [107.0, 108.0, 106.0, 107.5, 106.5]
    found = compare_metric(spec(), before, after)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval_pct is not None
    assert 0 < found.interval_pct[0] < 5 < found.interval_pct[1]
    assert "beyond the margin of 5 %, but sessions differ by as much" in str(found.reason)
    assert verdict(before, after, direction=Direction.HIGHER) is Verdict.PASS


def test_once_suspected_what_looks_to_be_beyond_the_margin_is_left_open() -> None:
    before, after = [[100.0, 130.0, 90.0, 110.0, 105.0]], [140.0, 95.0, 120.0, 133.0, 118.0]
    assert compare_metric(spec(), before, after, level=CONFIRM).verdict is Verdict.INCONCLUSIVE


def test_with_nothing_changed_hardly_any_metric_is_inconclusive_however_noisy() -> None:
    rng = np.random.default_rng(7)
    seen = [
        verdict(rng.normal(100, 10, (3, 5)).tolist(), rng.normal(100, 10, 5).tolist(), margin_pct=1.0)
        for _ in range(400)
    ]
    assert sum(each is not Verdict.PASS for each in seen) <= 12


def test_sessions_that_differ_widen_the_noise_where_runs_alone_would_not() -> None:
    rng = np.random.default_rng(0)
    near = [list(rng.normal(100, 0.2, 5)) for _ in range(6)]
    apart = [list(rng.normal(centre, 0.2, 5)) for centre in (91, 97, 100, 103, 108, 101)]
    after = list(rng.normal(112, 0.2, 5))
    assert verdict(near, after) is Verdict.REGRESSED
    assert verdict(apart, after) is Verdict.PASS


def test_one_spoilt_session_of_five_does_not_blind_the_baseline() -> None:
    rng = np.random.default_rng(0)
    good = [list(rng.normal(100, 0.5, 5)) for _ in range(4)]
    spoilt = list(rng.normal(70, 5, 5))
    after = list(rng.normal(112, 0.5, 5))
    assert verdict([*good, spoilt], after) is Verdict.REGRESSED
    assert verdict([*good[:2], spoilt], after) is Verdict.PASS


def test_constant_values() -> None:
    same = [[1448.0] * 5]
    assert verdict(same, [1448.0] * 5) is Verdict.PASS
    assert verdict(same, [1600.0] * 5) is Verdict.REGRESSED
    assert verdict(same, [1500.0] * 5) is Verdict.PASS
    assert verdict(same, [900.0] * 5) is Verdict.IMPROVED
    assert compare_metric(spec(), same, [1448.0] * 5).detectable_pct == pytest.approx(5.0)


def test_a_baseline_of_zero_has_an_absolute_margin_and_no_percentages() -> None:
    zero = [[0.0] * 5]
    found = compare_metric(spec(floor=10.0), zero, [40.0] * 5)
    assert found.verdict is Verdict.REGRESSED
    assert found.change_pct is None
    assert found.detectable_pct is None
    assert found.interval_pct is None
    assert verdict(zero, [9.0] * 5, floor=10.0) is Verdict.PASS
    assert verdict(zero, [9.0] * 5, 5.0, floor=10.0) is Verdict.PASS
    still = compare_metric(spec(), zero, [0.0] * 5)
    assert (still.verdict, still.change_pct) == (Verdict.PASS, 0.0)


@pytest.mark.parametrize(("before", "after"), [([[1.0]], [100.0]), ([[1.0, 1.0]], [9.0, 9.0]), ([[1.0] * 5], [9.0])])
def test_too_few_runs_are_inconclusive_and_say_so(before: list[list[float]], after: list[float]) -> None:
    found = compare_metric(spec(), before, after)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.detectable_pct is None
    assert "too few runs" in str(found.reason)


def test_three_runs_against_three_are_enough_for_a_change_far_beyond_the_noise() -> None:
    assert verdict([[100.0, 101.0, 99.0]], [200.0, 201.0, 199.0]) is Verdict.REGRESSED


def test_what_is_no_finite_number_does_not_count() -> None:
    nan, inf = math.nan, math.inf
    clean = compare_metric(spec(), [[1.0, 2.0, 3.0]], [4.0, 5.0, 6.0])
    assert compare_metric(spec(), [[1.0, nan, 2.0, 3.0], [inf]], [4.0, 5.0, nan, 6.0]) == clean
    assert verdict([[1.0]], [nan]) is Verdict.INVALID
    assert verdict([[nan], []], [1.0]) is Verdict.NO_BASELINE
    assert verdict([], [1.0]) is Verdict.NO_BASELINE


def test_a_metric_without_a_direction_only_regresses_where_the_user_set_a_tolerance() -> None:
    before = [[10.0] * 5]
    assert verdict(before, [20.0] * 5, direction=Direction.NEITHER) is Verdict.PASS
    for after in (20.0, 5.0):
        assert verdict(before, [after] * 5, 10.0, direction=Direction.NEITHER) is Verdict.REGRESSED


def test_a_tolerance_replaces_margin_and_floor() -> None:
    wide = spec(margin_pct=5.0, floor=200.0)
    assert margin_of(wide, 1000.0, None).amount == 200.0
    assert margin_of(wide, 1000.0, None).pct == 20.0
    assert margin_of(wide, 1000.0, 2.0).amount == 20.0
    assert margin_of(wide, 10_000.0, None).pct == 5.0
    assert margin_of(wide, 0.0, 2.0).amount == 200.0


def test_noise_asks_for_more_runs_and_more_runs_make_it_smaller() -> None:
    rng = np.random.default_rng(8)
    few = compare_metric(spec(), rng.normal(100, 6, (5, 5)).tolist(), rng.normal(100, 6, 5).tolist())
    many = compare_metric(spec(), rng.normal(100, 6, (5, 80)).tolist(), rng.normal(100, 6, 80).tolist())
    assert few.detectable_pct is not None
    assert many.detectable_pct is not None
    assert few.detectable_pct > 1.3 * many.detectable_pct
    quiet = compare_metric(spec(), [list(rng.normal(100, 0.1, 5))], list(rng.normal(100, 0.1, 5)))
    assert quiet.runs_needed is None


def test_as_many_fresh_runs_are_asked_for_as_the_stricter_level_needs() -> None:
    assert [runs_for_level(baseline, CONFIRM, least=3) for baseline in (3, 5, 9, 15)] == [9, 5, 3, 3]
    assert runs_for_level(15, CONFIRM, least=5) == 5
    for baseline in (3, 5, 15):
        assert two_sample_depth(baseline, runs_for_level(baseline, CONFIRM, least=3), CONFIRM.runs) >= 1
    assert SCREEN.runs > CONFIRM.runs
