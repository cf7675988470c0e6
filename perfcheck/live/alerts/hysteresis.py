"""When a rule's reading raises an alert and when it clears it, so that nothing flaps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from perfcheck.live.alerts.reading import Reading

_LEARNED: Final = 30
"""Readings before the usual level counts for anything."""
_WEIGHT: Final = 1 / 60
"""How much one reading moves the usual level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How long a rule must be broken, and how long it must be kept.

    An alert is raised after `raise_count` of the last `raise_within` intervals broke the bound, and cleared after
    `clear_after` intervals in a row at or below `clear_share` of it, or without a reading.

    `veto_above` (0: none) is the veto of what is usual: a reading that is at most `veto_up_to` times the bound does not
    count unless it is more than `veto_above` times the usual level. So a network that lives near a bound
    stays silent, and no trouble that is clearly beyond the bound is ever taken for usual.
    """

    raise_count: int = 3
    raise_within: int = 5
    clear_after: int = 5
    clear_share: float = 0.7
    veto_above: float = 0.0
    veto_up_to: float = 1.5


class Turn(Enum):
    """What an interval changed."""

    NOTHING = "nothing"
    RAISED = "raised"
    CLEARED = "cleared"


class Hysteresis:
    """The state of one rule and one subject, told one interval after the other."""

    def __init__(self, holding: Holding) -> None:
        """Begin with nothing raised and nothing known as usual."""
        self._holding = holding
        self._broken: deque[bool] = deque(maxlen=holding.raise_within)
        self._calm = 0
        self._usual = 0.0
        self._learned = 0
        self.raised = False

    @property
    def idle(self) -> bool:
        """Whether nothing is raised, and no interval counts towards it."""
        return not self.raised and not any(self._broken)

    @property
    def first_broken(self) -> int:
        """How many intervals ago the first of those that count was; 0: the latest one."""
        return next((len(self._broken) - 1 - at for at, broken in enumerate(self._broken) if broken), 0)

    def tell(self, reading: Reading | None) -> Turn:
        """Take an interval's reading (None: it has none) and return what it changes."""
        broken = reading is not None and reading.enough and reading.value > reading.bound
        if broken and reading is not None and self._usual_here(reading):
            broken = False
        self._broken.append(broken)
        if self.raised:
            return self._maybe_clear(reading)
        self._learn(reading)
        if sum(self._broken) < self._holding.raise_count:
            return Turn.NOTHING
        self.raised, self._calm = True, 0
        return Turn.RAISED

    def _maybe_clear(self, reading: Reading | None) -> Turn:
        calm = reading is None or not reading.enough or reading.value <= reading.bound * self._holding.clear_share
        self._calm = self._calm + 1 if calm else 0
        if self._calm < self._holding.clear_after:
            return Turn.NOTHING
        self.raised = False
        self._broken.clear()
        return Turn.CLEARED

    def _usual_here(self, reading: Reading) -> bool:
        holding = self._holding
        if not holding.veto_above or self._learned < _LEARNED or reading.value > reading.bound * holding.veto_up_to:
            return False
        return reading.value <= self._usual * holding.veto_above

    def _learn(self, reading: Reading | None) -> None:
        if reading is None or not self._holding.veto_above:
            return
        self._learned += 1
        weight = max(_WEIGHT, 1 / self._learned)
        self._usual += (reading.value - self._usual) * weight
