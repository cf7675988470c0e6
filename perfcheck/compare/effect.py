"""Whether a change that should relieve a limit moved a metric: a few runs without it and with it, interleaved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import numpy as np

from perfcheck.compare.ranks import Floats, differences, interval, shift, two_sample_depth

FEWEST_RUNS: Final = 3
"""Runs of each side: with three the interval reaches from the least to the largest difference."""
ALPHA: Final = 0.05
"""Share of errors at either end of the interval: 90 % in all. Three runs of each side cannot give less."""


class Finding(Enum):
    """What the runs say; OPEN: more of them may decide it."""

    MOVED = auto()
    STAYED = auto()
    OPEN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The change in per cent of what the unchanged runs had, with its interval (None: their median is 0)."""

    finding: Finding
    unchanged: float
    relieved: float
    change_pct: float | None
    interval_pct: tuple[float, float] | None


def effect_of(unchanged: Sequence[float], relieved: Sequence[float], wanted_pct: float) -> Effect | None:
    """Return the effect on one metric, of which a change of `wanted_pct` is wanted (negative: a fall).

    MOVED: the change is at least as large as wanted and its whole interval is beyond half of that. STAYED: its whole
    interval is short of what is wanted. None where this metric cannot tell: too few runs have it, or it should fall
    and was 0 in the unchanged runs.
    """
    before, after = (np.asarray(each, dtype=np.float64) for each in (unchanged, relieved))
    if min(before.size, after.size) < FEWEST_RUNS or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    centre, other = float(np.median(before)), float(np.median(after))
    if centre <= 0:
        return _from_nothing(after, other) if wanted_pct > 0 else None
    change, low, high = _in_pct(before, after, centre)
    sign = math.copysign(1.0, wanted_pct)
    wanted = abs(wanted_pct)
    # Towards what is wanted: positive.
    least, most = sorted((sign * low, sign * high))
    if sign * change >= wanted and least >= wanted / 2:
        finding = Finding.MOVED
    elif most < wanted:
        finding = Finding.STAYED
    else:
        finding = Finding.OPEN
    return Effect(
        finding=finding, unchanged=centre, relieved=other, change_pct=change, interval_pct=(low, high),
    )  # fmt: skip


def overall_finding(effects: Sequence[Effect]) -> Finding:
    """Return what several metrics of one cause say: one that moved is enough, and all must have stayed."""
    findings = {effect.finding for effect in effects}
    if Finding.MOVED in findings:
        return Finding.MOVED
    return Finding.STAYED if findings == {Finding.STAYED} else Finding.OPEN


def _in_pct(before: Floats, after: Floats, centre: float) -> tuple[float, float, float]:
    """Return the change and its interval in per cent: of ratios, so that nothing falls by more than 100 %."""
    if (before > 0).all():
        ordered = np.sort((after[:, None] / before[None, :] - 1).ravel())
    else:
        ordered = np.maximum(differences(before, after) / centre, -1.0)
    low, high = interval(ordered, two_sample_depth(before.size, after.size, ALPHA))
    return 100 * float(shift(ordered)), 100 * float(low), 100 * float(high)


def _from_nothing(after: Floats, other: float) -> Effect:
    """What was nothing and is something has risen beyond any share; what is nothing still has not."""
    finding = Finding.MOVED if (after > 0).all() else Finding.OPEN if (after > 0).any() else Finding.STAYED
    return Effect(finding=finding, unchanged=0.0, relieved=other, change_pct=None, interval_pct=None)
