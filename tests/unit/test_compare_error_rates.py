"""The promised error rates, held against the counts of `decision_errors`; `make error-rates` prints all of them."""

from __future__ import annotations

import numpy as np
import pytest
from decision_errors import (
    METRICS_OF_A_BUILD,
    NOISES,
    TRIES,
    builds_failed_against_baseline,
    builds_failed_side_by_side,
    detectable_failed,
    generator,
    margins,
    may_be_worse,
    paired,
    pairs_answered,
    stored_failed,
)

from perfcheck.compare.pairs import Answer, answers


@pytest.mark.parametrize("kind", NOISES)
class TestSideBySide:
    """Percentages: the pairs deviate by `deviation`, the margin is `margin`, B is worse by `change`."""

    def share(self, kind: str, change: float, deviation: float, margin: float, answer: Answer) -> float:
        return pairs_answered(kind, change, deviation, margin, answer) / TRIES

    def test_no_change_is_hardly_ever_inconclusive(self, kind: str) -> None:
        assert self.share(kind, 0, 2, 2, Answer.UNSETTLED) <= 0.05

    @pytest.mark.parametrize("deviation", [0.5, 2.0, 6.0])
    def test_a_change_of_just_the_margin_is_hardly_ever_a_failure(self, kind: str, deviation: float) -> None:
        assert self.share(kind, 2, deviation, 2, Answer.WORSE) <= 0.01

    @pytest.mark.parametrize("deviation", [0.5, 2.0, 6.0])
    def test_a_change_of_just_the_margin_is_hardly_ever_called_none(self, kind: str, deviation: float) -> None:
        assert self.share(kind, 2, deviation, 2, Answer.SAME) <= 0.055

    @pytest.mark.parametrize(("change", "deviation", "margin"), [(5, 1.5, 2), (8, 2.5, 2), (8, 2.5, 5)])
    def test_a_change_is_caught(self, kind: str, change: float, deviation: float, margin: float) -> None:
        assert self.share(kind, change, deviation, margin, Answer.WORSE) >= 0.95

    def test_a_build_of_80_metrics_hardly_ever_fails_with_nothing_changed(self, kind: str) -> None:
        assert builds_failed_side_by_side(kind) <= 0.01 * TRIES


def test_the_shortcut_of_the_test_above_leaves_no_failure_out() -> None:
    pairs = 3.0 + 2 * paired("gaussian", generator("shortcut"), 4_000)
    worse = answers(pairs, margins(2)) == Answer.WORSE
    assert 0 < worse.sum() < may_be_worse(pairs, 2).sum()
    assert not np.any(worse & ~may_be_worse(pairs, 2))


@pytest.mark.parametrize("kind", NOISES)
class TestStoredBaseline:
    """In deviations of a run: sessions differ by half a deviation more, the margin is one deviation."""

    def test_a_build_of_80_metrics_hardly_ever_fails_with_nothing_changed(self, kind: str) -> None:
        assert builds_failed_against_baseline(kind, known=3, runs=3) <= 0.01 * TRIES

    @pytest.mark.parametrize(("known", "runs"), [(1, 3), (1, 5), (3, 3), (3, 5), (5, 5)])
    def test_nor_does_it_with_fewer_or_more_sessions_and_runs(self, kind: str, known: int, runs: int) -> None:
        _, failed = stored_failed(kind, known=known, runs=runs, between=0.5, change=0, margin=1, tries=20_000)
        assert 1 - (1 - failed / 20_000) ** METRICS_OF_A_BUILD <= 0.01

    @pytest.mark.parametrize(("known", "runs"), [(1, 3), (3, 5)])
    def test_a_change_of_just_the_margin_is_hardly_ever_a_failure(self, kind: str, known: int, runs: int) -> None:
        _, failed = stored_failed(kind, known=known, runs=runs, between=0.5, change=1, margin=1, tries=TRIES)
        assert failed <= 0.01 * TRIES

    def test_fresh_runs_are_hardly_ever_wanted_with_nothing_changed(self, kind: str) -> None:
        tripped, _ = stored_failed(kind, known=3, runs=5, between=0.5, change=0, margin=1, tries=TRIES)
        assert tripped <= 0.005 * TRIES

    def test_a_big_change_is_caught_and_more_sessions_catch_a_smaller_one(self, kind: str) -> None:
        def caught(known: int, change: float) -> int:
            return stored_failed(kind, known=known, runs=5, between=0.5, change=change, margin=1, tries=2_000)[1]

        assert caught(1, 16) >= 0.95 * 2_000
        assert caught(5, 9) >= 0.95 * 2_000
        assert caught(5, 5) > caught(1, 5)

    def test_of_changes_as_large_as_a_run_calls_detectable_about_half_fail_the_build(self, kind: str) -> None:
        # Fresh runs of a machine that drifts upward are more than was added to them.
        most = 0.8 if kind == "drift" else 0.6
        assert 0.4 <= detectable_failed(kind, known=4, runs=3, tries=1_000) / 1_000 <= most
