"""How often each procedure is wrong, counted on noise of five kinds; seeds are fixed, so the counts are too."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcheck.compare.pairs import LOOKS, Answer, Margins, answers
from perfcheck.compare.ranks import signed_rank_depth
from perfcheck.compare.screen import CONFIRM, SCREEN, estimate, runs_for_level

Floats = NDArray[np.float64]
NOISES = ("gaussian", "heavy tails", "outliers", "autocorrelated", "drift")
METRICS_OF_A_BUILD = 80
TRIES = 8_000


def noise(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Runs in the order they are made (last axis), with variance 1 about their drift."""
    plain = rng.standard_normal(shape)
    if kind == "heavy tails":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    if kind == "outliers":
        spoilt = plain + (rng.random(shape) < 0.05) * rng.uniform(3, 8, shape)
        return np.asarray(spoilt / spoilt.std())
    if kind == "autocorrelated":
        for step in range(1, shape[-1]):
            plain[..., step] = 0.5 * plain[..., step - 1] + np.sqrt(0.75) * plain[..., step]
        return plain
    if kind == "drift":
        return np.asarray(plain + np.linspace(-2, 2, shape[-1]))
    return plain


def generator(*what: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def paired(kind: str, rng: np.random.Generator, tries: int) -> Floats:
    """B - A of 20 pairs in blocks ABBA or BAAB, scaled so that a pair deviates by 1 without drift."""
    runs = noise(kind, rng, (tries, 40))
    second_minus_first = runs[:, 1::2] - runs[:, 0::2]
    first_is_a = np.repeat(rng.random((tries, 10)) < 0.5, 2, axis=1) ^ np.tile([False, True], 10)
    deviation = np.std(runs[:, 1::2] - runs[:, 0::2])
    return np.asarray(np.where(first_is_a, second_minus_first, -second_minus_first) / deviation)


def margins(pct: float) -> Margins:
    return Margins(worse=pct, better=pct)


@pytest.mark.parametrize("kind", NOISES)
class TestSideBySide:
    """Percentages: the pairs deviate by `deviation`, the margin is `margin`, B is worse by `change`."""

    def share(self, kind: str, change: float, deviation: float, margin: float, answer: Answer) -> float:
        pairs = paired(kind, generator(kind, change, deviation), TRIES)
        return float(np.mean(answers(change + deviation * pairs, margins(margin)) == answer))

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
        failed = 0
        for part in range(8):
            pairs = 2 * paired(kind, generator(kind, part), TRIES // 8 * METRICS_OF_A_BUILD)
            likely = may_be_worse(pairs, 2)
            worse = np.zeros(len(pairs), dtype=bool)
            worse[likely] = answers(pairs[likely], margins(2)) == Answer.WORSE
            failed += int(worse.reshape(-1, METRICS_OF_A_BUILD).any(axis=1).sum())
        assert failed <= 0.01 * TRIES


def may_be_worse(pairs: Floats, margin: float) -> NDArray[np.bool_]:
    """Which rows can have a look that calls them worse at all: few enough pairs within the margin.

    k pairs below the margin have ranks that add up to k(k+1)/2 at least, and that must not reach
    the depth of the look's interval.
    """
    below = np.cumsum(pairs <= margin, axis=1)
    found = np.zeros(len(pairs), dtype=bool)
    for look in LOOKS:
        few = below[:, look.pairs - 1]
        found |= few * (few + 1) // 2 < signed_rank_depth(look.pairs, look.change)
    return found


def test_the_shortcut_of_the_test_above_leaves_no_failure_out() -> None:
    pairs = 3.0 + 2 * paired("gaussian", generator("shortcut"), 4_000)
    worse = answers(pairs, margins(2)) == Answer.WORSE
    assert 0 < worse.sum() < may_be_worse(pairs, 2).sum()
    assert not np.any(worse & ~may_be_worse(pairs, 2))


def sessions(kind: str, rng: np.random.Generator, tries: int, runs: int, between: float) -> Floats:
    """Runs of one session each: noise of deviation 1 about a centre that deviates by `between`."""
    return np.asarray(noise(kind, rng, (tries, runs)) + between * rng.standard_normal((tries, 1)))


def share_failed(
    kind: str, *, known: int, runs: int, between: float, change: float, margin: float, tries: int
) -> tuple[float, float]:
    """Share that trips the screen, and share that fails: trips and stands in fresh runs."""
    rng = generator(kind, known, runs, between, change)
    baseline = [sessions(kind, rng, tries, runs, between) for _ in range(known)]
    fresh = runs_for_level(known * runs, CONFIRM, least=runs)
    current = sessions(kind, rng, tries, runs + fresh, between) + change
    tripped = np.flatnonzero(estimate(baseline, current[:, :runs], SCREEN).low > margin)
    if not tripped.size:
        return 0.0, 0.0
    again = estimate([session[tripped] for session in baseline], current[tripped, runs:], CONFIRM)
    return tripped.size / tries, float(np.sum(again.low > margin)) / tries


@pytest.mark.parametrize("kind", NOISES)
class TestStoredBaseline:
    """In deviations of a run: sessions differ by half a deviation more, the margin is one deviation."""

    @pytest.mark.parametrize(("known", "runs"), [(1, 3), (1, 5), (3, 3), (3, 5), (5, 5)])
    def test_a_build_of_80_metrics_hardly_ever_fails_with_nothing_changed(
        self, kind: str, known: int, runs: int
    ) -> None:
        _, failed = share_failed(kind, known=known, runs=runs, between=0.5, change=0, margin=1, tries=20_000)
        assert 1 - (1 - failed) ** METRICS_OF_A_BUILD <= 0.01

    @pytest.mark.parametrize(("known", "runs"), [(1, 3), (3, 5)])
    def test_a_change_of_just_the_margin_is_hardly_ever_a_failure(self, kind: str, known: int, runs: int) -> None:
        _, failed = share_failed(kind, known=known, runs=runs, between=0.5, change=1, margin=1, tries=TRIES)
        assert failed <= 0.01

    def test_fresh_runs_are_hardly_ever_wanted_with_nothing_changed(self, kind: str) -> None:
        tripped, _ = share_failed(kind, known=3, runs=5, between=0.5, change=0, margin=1, tries=TRIES)
        assert tripped <= 0.005

    def test_a_big_change_is_caught_and_more_sessions_catch_a_smaller_one(self, kind: str) -> None:
        def caught(known: int, change: float) -> float:
            return share_failed(kind, known=known, runs=5, between=0.5, change=change, margin=1, tries=2_000)[1]

        assert caught(1, 16) >= 0.95
        assert caught(5, 9) >= 0.95
        assert caught(5, 5) > caught(1, 5)
