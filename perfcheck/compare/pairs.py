"""Side by side: interleaved pairs of A and B, examined up to three times, until either answer is certain."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfcheck.compare.ranks import Floats, interval, middle, signed_rank_depth, walsh_averages


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the pairs so far, with its one-sided shares of the error rates.

    `change`: of calling a change that is just the margin a regression or an improvement; `settle`:
    of calling such a change none.
    """

    pairs: int
    change: float
    settle: float


LOOKS: Final = (
    Look(pairs=9, change=0.002, settle=0.010),
    Look(pairs=14, change=0.002, settle=0.015),
    Look(pairs=20, change=0.004, settle=0.025),
)
"""The shares add up (Bonferroni, so it holds whatever the looks' correlation) to 5 % for `settle` and to 0.8 %
for `change`: runs that follow one another are not quite independent, which takes the rest of the 1 %.
"""


class Answer(IntEnum):
    """What the pairs say; OPEN: the next look decides, UNSETTLED: the last look did not."""

    OPEN = 0
    WORSE = 1
    BETTER = 2
    SAME = 3
    UNSETTLED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """What counts as worse and as better, both positive, on the scale of the pairs' differences."""

    worse: float
    better: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """The first look that settled the question (or the last one there was), with its estimate and interval."""

    answer: Answer
    pairs: int
    shift: float
    low: float
    high: float


def order_of_pairs(pairs: int, seed: int) -> tuple[tuple[str, str], ...]:
    """Return who goes first in each pair: blocks of two pairs, ABBA or BAAB at random.

    A block's two halves mirror each other, so a steady drift of the machine cancels out.
    """
    chance = random.Random(seed)  # noqa: S311 - an order that anybody may repeat
    order: list[tuple[str, str]] = []
    while len(order) < pairs:
        first = ("A", "B") if chance.random() < 0.5 else ("B", "A")
        order += [first, first[::-1]]
    return tuple(order[:pairs])


def answers(worsening: Floats, margins: Margins) -> NDArray[np.int_]:
    """Return the Answer for differences (..., pairs), positive for the worse, after all looks they suffice for.

    Each look is exact for differences that are symmetric about their centre: the whole signed-rank
    interval (Walsh averages) must lie beyond the margin, or within both margins.
    """
    found = np.full(worsening.shape[:-1], Answer.OPEN, dtype=int)
    for look in LOOKS:
        if worsening.shape[-1] >= look.pairs:
            now = _at_look(worsening[..., : look.pairs], look, margins)
            found = np.where(found == Answer.OPEN, now, found)
    return found


def settle(worsening: Sequence[float], margins: Margins) -> Sequel:
    """Return the answer for one metric's differences; without enough for the first look it is OPEN, unbounded."""
    values = np.asarray(worsening, dtype=np.float64)
    made = [look for look in LOOKS if len(values) >= look.pairs]
    if not made:
        centre = float(middle(walsh_averages(values))) if len(values) else 0.0
        return Sequel(answer=Answer.OPEN, pairs=len(values), shift=centre, low=-np.inf, high=np.inf)
    deciding = next((look for look in made if _at_look(values[: look.pairs], look, margins) != Answer.OPEN), made[-1])
    ordered = walsh_averages(values[: deciding.pairs])
    low, high = interval(ordered, signed_rank_depth(deciding.pairs, deciding.change))
    return Sequel(
        answer=Answer(int(answers(values, margins))),
        pairs=deciding.pairs,
        shift=float(middle(ordered)),
        low=float(low),
        high=float(high),
    )


def _at_look(values: Floats, look: Look, margins: Margins) -> NDArray[np.int_]:
    ordered = walsh_averages(values)
    low, high = interval(ordered, signed_rank_depth(look.pairs, look.change))
    settled_low, settled_high = interval(ordered, signed_rank_depth(look.pairs, look.settle))
    last = look == LOOKS[-1]
    same = settled_high <= margins.worse
    if not last:
        # Before the last look an improvement may still come out.
        same &= settled_low >= -margins.better
    rest = Answer.UNSETTLED if last else Answer.OPEN
    chosen = np.where(same, Answer.SAME, rest)
    chosen = np.where(high < -margins.better, Answer.BETTER, chosen)
    return np.asarray(np.where(low > margins.worse, Answer.WORSE, chosen))
