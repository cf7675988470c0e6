"""The distance between two sessions when nothing has changed: scatter inside sessions and between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from perfcheck.compare.ranks import Floats, median, pair_indices

NORMAL_PAIR: Final = 0.9538725524
"""Median of |x - y| of two normal values, in standard deviations: 0.6745 * sqrt(2)."""

MEDIAN_COST: Final = np.pi / 2
"""Variance of the median of n normal values, in units of that of their mean."""

PRIOR_SESSIONS: Final = 6.0
"""What the prior below weighs, in sessions (degrees of freedom)."""

PRIOR_SHARE: Final = 0.5
"""Prior: the variance between sessions is this share of the variance inside them."""

ROBUST_SESSIONS: Final = 4
"""From so many sessions on, each pair of them is looked at: of five and more one spoilt session does not count."""


def run_scale(sessions: Sequence[Floats]) -> Floats:
    """Return the standard deviation of runs inside a session, as (...); infinite where no session has two runs.

    The median difference of two runs of the same session needs no centre and bears one outlier in five.
    """
    found = []
    for runs in sessions:
        rows, columns = pair_indices(runs.shape[-1], 1)
        found.append(np.abs(runs[..., rows] - runs[..., columns]))
    pairs = np.concatenate(found, axis=-1)
    if not pairs.shape[-1]:
        return np.full(pairs.shape[:-1], np.inf)
    return median(pairs) / NORMAL_PAIR


def session_reach(baseline: Sequence[Floats], current: Floats, alpha: float) -> Floats:
    """Return how far the current session's centre may lie from the baseline's by chance, one-sided at `alpha`.

    The variance of session centres is learnt from the baseline's sessions and drawn towards a
    prior that knows only the scatter of runs: with one session the prior alone counts, with many
    it fades.
    """
    runs = min(*(each.shape[-1] for each in baseline), current.shape[-1])
    learnt = session_scale(baseline) if len(baseline) > 1 else 0.0
    return _reach(run_scale([*baseline, current]), learnt, runs=runs, sessions=len(baseline), alpha=alpha)


def expected_reach(*, within: float, between: float, runs: int, sessions: int, alpha: float) -> float:
    """Return what `session_reach` would be for noise of these deviations, so many sessions, and runs in each."""
    return float(_reach(np.asarray(within), between, runs=runs, sessions=sessions, alpha=alpha))


def session_scale(sessions: Sequence[Floats]) -> Floats:
    """Return the deviation of two or more sessions' medians; of five and more one spoilt session does not count."""
    centres = np.stack([median(each) for each in sessions], axis=-1)
    if len(sessions) < ROBUST_SESSIONS:
        return np.asarray(np.std(centres, axis=-1, ddof=1))
    return run_scale([centres])


def _reach(within: Floats, between: Floats | float, *, runs: int, sessions: int, alpha: float) -> Floats:
    prior = within**2 * (MEDIAN_COST / runs + PRIOR_SHARE)
    freedom = PRIOR_SESSIONS + sessions - 1
    variance = (PRIOR_SESSIONS * prior + (sessions - 1) * np.square(between)) / freedom
    return np.asarray(_student_quantile(freedom, alpha) * np.sqrt(variance * (1 + 1 / sessions)))


@lru_cache(maxsize=256)
def _student_quantile(freedom: float, alpha: float) -> float:
    """Return the value that Student's t exceeds with probability `alpha`."""
    from scipy.special import stdtrit  # a quarter of a second to load, and no run without a baseline needs it

    return -float(stdtrit(freedom, alpha))
