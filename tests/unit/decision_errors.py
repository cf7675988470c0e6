"""How often each procedure is wrong, counted on noise of five kinds; seeds are fixed, so the counts are too.

`test_compare_error_rates.py` holds the counts to what is promised; `make error-rates` prints them.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfcheck.compare.changepoints import change_points
from perfcheck.compare.metric import compare_metric, with_confirmation
from perfcheck.compare.pairs import LOOKS, Answer, Margins, answers
from perfcheck.compare.ranks import signed_rank_depth
from perfcheck.compare.screen import CONFIRM, SCREEN, estimate, runs_for_level
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.verdict import Verdict

Floats = NDArray[np.float64]
NOISES: Final = ("gaussian", "heavy tails", "outliers", "autocorrelated", "drift")
METRICS_OF_A_BUILD: Final = 80
TRIES: Final = 8_000


def noise(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Runs in the order they are made (last axis), with variance 1 about their drift."""
    plain = rng.standard_normal(shape)
    if kind == "heavy tails":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    if kind == "outliers":
        spoilt = plain + (rng.random(shape) < 0.05) * rng.uniform(3, 8, shape)
        return np.asarray(spoilt / spoilt.std())
    if kind == "autocorrelated":
        return autoregressive(plain, 0.5)
    if kind == "drift":
        return np.asarray(plain + np.linspace(-2, 2, shape[-1]))
    return plain


def autoregressive(innovations: Floats, rho: float) -> Floats:
    """Let each value depend on the one before it, with variance 1 throughout; changes its argument."""
    for step in range(1, innovations.shape[-1]):
        innovations[..., step] = rho * innovations[..., step - 1] + np.sqrt(1 - rho * rho) * innovations[..., step]
    return innovations


def generator(*what: object) -> np.random.Generator:
    """Return the same numbers for the same question."""
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def paired(kind: str, rng: np.random.Generator, tries: int) -> Floats:
    """B - A of 20 pairs in blocks ABBA or BAAB, scaled so that a pair deviates by 1 without drift."""
    runs = noise(kind, rng, (tries, 40))
    second_minus_first = runs[:, 1::2] - runs[:, 0::2]
    first_is_a = np.repeat(rng.random((tries, 10)) < 0.5, 2, axis=1) ^ np.tile([False, True], 10)
    deviation = np.std(runs[:, 1::2] - runs[:, 0::2])
    return np.asarray(np.where(first_is_a, second_minus_first, -second_minus_first) / deviation)


def margins(pct: float) -> Margins:
    """The same margin for the worse and the better."""
    return Margins(worse=pct, better=pct)


def pairs_answered(kind: str, change: float, deviation: float, margin: float, answer: Answer) -> int:
    """Of TRIES comparisons side by side, B worse by `change`, those that gave this answer; all in per cent."""
    pairs = paired(kind, generator(kind, change, deviation), TRIES)
    return int(np.sum(answers(change + deviation * pairs, margins(margin)) == answer))


def builds_failed_side_by_side(kind: str) -> int:
    """Of TRIES builds of 80 metrics with nothing changed (pairs deviate by the margin, 2 %), those that fail."""
    failed = 0
    for part in range(8):
        pairs = 2 * paired(kind, generator(kind, part), TRIES // 8 * METRICS_OF_A_BUILD)
        likely = may_be_worse(pairs, 2)
        worse = np.zeros(len(pairs), dtype=bool)
        worse[likely] = answers(pairs[likely], margins(2)) == Answer.WORSE
        failed += int(worse.reshape(-1, METRICS_OF_A_BUILD).any(axis=1).sum())
    return failed


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


def sessions(kind: str, rng: np.random.Generator, tries: int, runs: int, between: float) -> Floats:
    """Runs of one session each: noise of deviation 1 about a centre that deviates by `between`."""
    return np.asarray(noise(kind, rng, (tries, runs)) + between * rng.standard_normal((tries, 1)))


def stored_failed(
    kind: str, *, known: int, runs: int, between: float, change: float, margin: float, tries: int
) -> tuple[int, int]:
    """Of `tries` comparisons with a baseline of `known` sessions, those that trip the screen, and those that fail."""
    rng = generator(kind, known, runs, between, change)
    baseline = [sessions(kind, rng, tries, runs, between) for _ in range(known)]
    fresh = runs_for_level(known * runs, CONFIRM, least=runs)
    current = sessions(kind, rng, tries, runs + fresh, between) + change
    tripped = np.flatnonzero(estimate(baseline, current[:, :runs], SCREEN).low > margin)
    if not tripped.size:
        return 0, 0
    again = estimate([session[tripped] for session in baseline], current[tripped, runs:], CONFIRM)
    return int(tripped.size), int(np.sum(again.low > margin))


def builds_failed_against_baseline(kind: str, *, known: int, runs: int) -> int:
    """Of TRIES builds of 80 metrics with nothing changed, those that fail; sessions deviate by half a run's deviation.

    The margin is one deviation of a run.
    """
    failed = 0
    for part in range(8):
        rng = generator(kind, known, runs, part)
        tries = TRIES // 8 * METRICS_OF_A_BUILD
        baseline = [sessions(kind, rng, tries, runs, 0.5) for _ in range(known)]
        fresh = runs_for_level(known * runs, CONFIRM, least=runs)
        current = sessions(kind, rng, tries, runs + fresh, 0.5)
        tripped = np.flatnonzero(estimate(baseline, current[:, :runs], SCREEN).low > 1)
        if not tripped.size:
            continue
        again = estimate([session[tripped] for session in baseline], current[tripped, runs:], CONFIRM)
        failed += len(set(tripped[again.low > 1] // METRICS_OF_A_BUILD))
    return failed


def detectable_failed(kind: str, *, known: int, runs: int, tries: int) -> int:
    """Of `tries` runs moved by as much as each itself calls `detectable`, those that fail the build."""
    spec = replace(CATALOGUE["tcp.min_rtt_us"], margin_pct=1.0)
    rng = generator(kind, known, runs, "detectable")
    fresh = runs_for_level(known * runs, CONFIRM, least=runs)
    failed = 0
    for _ in range(tries):
        baseline = [(100 + each[0]).tolist() for each in (sessions(kind, rng, 1, runs, 0.5) for _ in range(known))]
        made = 100 + sessions(kind, rng, 1, runs + fresh, 0.5)[0]
        first = compare_metric(spec, baseline, made[:runs].tolist())
        whole = with_confirmation(first, spec, baseline, made[:runs].tolist(), None)
        moved = made + (whole.detectable or 0.0)
        tripped = compare_metric(spec, baseline, moved[:runs].tolist()).verdict is Verdict.REGRESSED
        failed += (
            tripped
            and compare_metric(spec, baseline, moved[runs:].tolist(), None, CONFIRM).verdict is Verdict.REGRESSED
        )
    return failed


def false_changes(rho: float, histories: int = 100, points: int = 100) -> list[int]:
    """Count the change points found in each of so many histories without any, of dependent runs."""
    rng = np.random.default_rng(1)
    return [len(change_points(autoregressive(rng.standard_normal(points), rho))) for _ in range(histories)]


def figures() -> Iterator[tuple[str, str, list[str]]]:
    """Yield each promise: what is counted, the limit, and the count for each kind of noise."""

    def shares(counts: list[int], tries: int = TRIES) -> list[str]:
        return [f"{100 * count / tries:.2f} %" for count in counts]

    yield "side by side", "", []
    yield (
        "no change: builds of 80 metrics that fail", "<= 1 %",
        shares([builds_failed_side_by_side(kind) for kind in NOISES]),
    )  # fmt: skip
    for what, limit, change, deviation, margin, answer in (
        ("change of just the margin, 2 %: FAIL", "<= 1 %", 2, 2.0, 2, Answer.WORSE),
        ("no change, pairs deviate by 2 %: INCONCLUSIVE", "<= 5 %", 0, 2.0, 2, Answer.UNSETTLED),
        ("+5 %, pairs deviate by 1.5 %, margin 2 %: caught", ">= 95 %", 5, 1.5, 2, Answer.WORSE),
        ("+8 %, pairs deviate by 2.5 %, margin 2 %: caught", ">= 95 %", 8, 2.5, 2, Answer.WORSE),
        ("+8 %, pairs deviate by 2.5 %, margin 5 %: caught", ">= 95 %", 8, 2.5, 5, Answer.WORSE),
    ):
        yield what, limit, shares([pairs_answered(kind, change, deviation, margin, answer) for kind in NOISES])
    yield "stored baseline, margin of one deviation of a run", "", []
    for known, runs in ((1, 3), (3, 3), (5, 5)):
        counts = [builds_failed_against_baseline(kind, known=known, runs=runs) for kind in NOISES]
        what = f"no change, {known} session{'s' if known > 1 else ''} of {runs} runs: builds of 80 metrics that fail"
        yield what, "<= 1 %", shares(counts)
    for known, runs in ((1, 3), (3, 5)):
        counts = [
            stored_failed(kind, known=known, runs=runs, between=0.5, change=1, margin=1, tries=TRIES)[1]
            for kind in NOISES
        ]
        yield f"change of just the margin, {known} x {runs} runs: FAIL", "<= 1 %", shares(counts)
    for known, change in ((1, 16), (5, 9)):
        counts = [
            stored_failed(kind, known=known, runs=5, between=0.5, change=change, margin=1, tries=TRIES)[1]
            for kind in NOISES
        ]
        yield f"change of {change} deviations, {known} x 5 runs: caught", ">= 95 %", shares(counts)
    counts = [detectable_failed(kind, known=4, runs=3, tries=1_000) for kind in NOISES]
    yield "change as large as the run's own `detectable`, 4 x 3 runs: caught", "about half", shares(counts, 1_000)


def table() -> str:
    """Return all counts as a table in Markdown."""
    lines = [
        f"| of {TRIES:,} | promised | {' | '.join(NOISES)} |",
        f"|---|---|{'---|' * len(NOISES)}",
        *(
            f"| {what} | {limit} | {' | '.join(counts)} |" if counts else f"| **{what}** |{' |' * (1 + len(NOISES))}"
            for what, limit, counts in figures()
        ),
    ]
    found = [(rho, false_changes(rho, histories=400)) for rho in (0.0, 0.5, 0.7)]
    lines += [
        "",
        "| change points in 100 points without any | promised | found, mean of 400 histories |",
        "|---|---|---|",
        *(f"| AR(1), rho {rho:g} | <= 1 | {np.mean(counts):.2f} |" for rho, counts in found),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
