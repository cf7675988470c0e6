"""What a rule reads in one interval, and whether there is enough of it to say anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.alerts.alert import Subject

LEAST_EVENTS: Final = 2
"""One loss, or one slow sample, is no trouble."""
_SIGMAS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A rule's value in one interval; `enough`: the absolute floors are met, so that a broken bound counts."""

    subject: Subject
    value: float
    bound: float
    enough: bool
    note: str = ""


def beyond_chance(events: float, of: float, share: float) -> bool:
    """Return whether at least two events, and more than a true share of `share` would bring by chance, were seen.

    Counts vary by their square root: with 100 segments, a healthy share just below 1 % brings 2 or 3 in many intervals.
    """
    expected = of * share
    return events >= LEAST_EVENTS and events > expected + _SIGMAS * math.sqrt(expected)


def all_beyond_chance(events: npt.NDArray[Any], of: npt.NDArray[Any], share: float) -> npt.NDArray[np.bool_]:
    """Return the same for each row."""
    expected = of * share
    found: npt.NDArray[np.bool_] = (events >= LEAST_EVENTS) & (events > expected + _SIGMAS * np.sqrt(expected))
    return found
