"""Where a metric's history changed its level: segments by ruptures, significance by permuting blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import ruptures  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from perfcheck.compare.ranks import Floats, median

MIN_SIZE: Final = 3
"""Points that a level must last, so that one odd run is no change, and three after the last one."""

ALPHA: Final = 0.005
_PERMUTATIONS: Final = 999
_MOST_POINTS: Final = 1_500
"""Longer histories are looked at as medians of equal groups, then each change is placed to the point."""

_SEED: Final = 20_240_131


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """The level changed at point `index` (0-based, the first of the new level), from `before` to `after` (medians)."""

    index: int
    before: float
    after: float
    p_value: float


def change_points(values: Sequence[float] | Floats, *, alpha: float = ALPHA) -> tuple[ChangePoint, ...]:
    """Find the changes of level in a history, oldest value first; the same values always give the same answer.

    Works on normal scores of the ranks, so an outlier weighs no more than its rank; permuting whole
    blocks keeps the dependence of neighbouring runs in what counts as chance.
    """
    history: Floats = np.asarray(values, dtype=np.float64)
    group = max(1, -(-len(history) // _MOST_POINTS))
    scores = _normal_scores(_grouped(history, group))
    if len(scores) < 2 * MIN_SIZE or not np.ptp(scores):
        return ()
    kept = _significant(scores, _candidates(scores), alpha)
    cuts = [_placed(history, cut, group) for cut, _ in kept]
    bounds = [0, *cuts, len(history)]
    return tuple(
        ChangePoint(
            index=cut,
            before=float(median(history[bounds[place] : cut])),
            after=float(median(history[cut : bounds[place + 2]])),
            p_value=p_value,
        )
        for place, (cut, (_, p_value)) in enumerate(zip(cuts, kept, strict=True))
    )


def block_length(values: Floats) -> int:
    """Return the length of blocks that keeps a first-order dependence (Carlstein 1986): n^(1/3) times its strength."""
    centred = values - values.mean()
    power = float(centred @ centred)
    rho = min(max(float(centred[1:] @ centred[:-1]) / power, 0.0), 0.95) if power else 0.0
    strength = float((2 * rho / (1 - rho * rho)) ** (2 / 3))
    wanted = math.ceil(strength * math.cbrt(len(values)))
    return max(1, min(wanted, len(values) // 6))


def shuffled_blocks(values: Floats, length: int, times: int, rng: np.random.Generator) -> Floats:
    """Return `times` orders of the values, as (times, n), each with its blocks whole and in random order."""
    offset = int(rng.integers(length))
    block = (np.arange(len(values)) + offset) // length
    keys = rng.random((times, int(block[-1]) + 1))
    return np.asarray(values[np.argsort(keys[:, block], axis=1, kind="stable")])


def _normal_scores(values: Floats) -> Floats:
    if not len(values):
        return values
    return np.asarray(ndtri((rankdata(values) - 0.5) / len(values)))


def _grouped(values: Floats, size: int) -> Floats:
    if size == 1:
        return values
    whole = len(values) // size * size
    parts = median(values[:whole].reshape(-1, size))
    return np.append(parts, median(values[whole:])) if whole < len(values) else parts


def _candidates(scores: Floats) -> list[int]:
    """Optimal segments for a penalty low enough to let every real change in; chance ones are weeded out later."""
    steps = np.abs(np.diff(scores))
    noise = float(np.median(steps[steps > 0])) / 0.954
    fitted = ruptures.KernelCPD(kernel="linear", min_size=MIN_SIZE).fit(scores.reshape(-1, 1))
    ends = fitted.predict(pen=2 * noise**2 * math.log(len(scores)))
    return [int(end) for end in ends[:-1]]


def _significant(scores: Floats, candidates: list[int], alpha: float) -> list[tuple[int, float]]:
    """Drop the weakest candidate until all that are left stand out in what lies between their neighbours."""
    cuts = list(candidates)
    known: dict[tuple[int, int, int], float] = {}
    length = _residual_block_length(scores, cuts)
    while cuts:
        bounds = [0, *cuts, len(scores)]
        spans = list(zip(bounds, bounds[1:], bounds[2:], strict=False))
        for span in spans:
            if span not in known:
                known[span] = _p_value(scores[span[0] : span[2]], length)
        levels = [known[span] for span in spans]
        weakest = max(range(len(cuts)), key=lambda place: levels[place])
        if levels[weakest] <= alpha:
            return list(zip(cuts, levels, strict=True))
        del cuts[weakest]
        length = _residual_block_length(scores, cuts)
        if not cuts:
            break
    return []


def _residual_block_length(scores: Floats, cuts: list[int]) -> int:
    """Dependence that is left once the levels are taken out: they would pass for dependence themselves."""
    parts = np.split(scores, cuts)
    return block_length(np.concatenate([part - part.mean() for part in parts]))


def _p_value(scores: Floats, length: int) -> float:
    rng = np.random.default_rng(_SEED)
    own = _largest_step(scores[np.newaxis])[0]
    orders = shuffled_blocks(scores, min(length, max(1, len(scores) // 4)), _PERMUTATIONS, rng)
    reached = int(np.sum(_largest_step(orders) >= own * (1 - 1e-12)))
    return (1 + reached) / (1 + _PERMUTATIONS)


def _largest_step(rows: Floats) -> Floats:
    return np.asarray(_steps(rows).max(axis=1))


def _steps(rows: Floats) -> Floats:
    """Standardised difference of the means before and after each cut that leaves MIN_SIZE points on either side."""
    size = rows.shape[-1]
    cuts: NDArray[np.int_] = np.arange(MIN_SIZE, size - MIN_SIZE + 1)
    sums = np.cumsum(rows, axis=-1)
    gaps = sums[..., cuts - 1] - cuts / size * sums[..., -1:]
    return np.asarray(np.abs(gaps) / np.sqrt(cuts * (size - cuts) / size))


def _placed(history: Floats, cut: int, group: int) -> int:
    """Place a change that was found between two groups at the point, within two groups on either side."""
    if group == 1:
        return cut
    low, high = max(0, (cut - 2) * group), min(len(history), (cut + 2) * group)
    around = _normal_scores(history[low:high])
    return low + MIN_SIZE + int(np.argmax(_steps(around[np.newaxis])[0]))
