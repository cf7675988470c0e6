"""Where a value lies on a plot, and which values make good labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

from perfcheck.compare.ranks import Floats

_LEFT: Final = 84
_RIGHT: Final = 12
_TOP: Final = 10
_BOTTOM: Final = 26
_ROOM: Final = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A rectangle of an SVG: `count` runs side by side, values from `low` at the bottom to `high`."""

    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    count: int

    @classmethod
    def around(cls, values: Floats, *, count: int, width: int, height: int) -> Self:
        """Return a frame with some room about the values; values that are all alike lie in its middle."""
        low, high = float(values.min()), float(values.max())
        room = _ROOM * (high - low) or 0.1 * abs(high) or 1.0
        return cls(
            left=_LEFT, right=width - _RIGHT, top=_TOP, bottom=height - _BOTTOM, low=low - room, high=high + room,
            count=count,
        )  # fmt: skip

    def x(self, index: float) -> float:
        """Return the middle of a run's place."""
        return self.left + (self.right - self.left) * (index + 0.5) / self.count

    def y(self, value: float) -> float:
        """Return a value's height; what lies beyond the frame stays at its edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round values from `low` to `high`, evenly spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]
