"""Jitter that keeps order and its distribution: delay as a slow random function of time.

Independent draws a packet would have to be put back into order, and each late packet would then hold
up those behind it: at high packet rates nearly all would have the largest delay. Here the
offset wanders instead. Knots `COHERENCE` times the spread apart have independent normal draws; between them
the offset is interpolated with its variance held at one, and mapped to the distribution. So at every instant the
offset has it, and packets further apart than two knots are independent. It falls at nearly all
times more slowly than time passes, so order is kept of itself; what little is left the delay line's own
order rule catches.

The distributions are those of netem's tables (iproute2, netem/): normal and pareto cut at four spreads.
"""

from __future__ import annotations

from math import cos, erf, erfc, log, pi, sqrt

from perfcheck.lab.links.impair.prf import unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

COHERENCE: Final = {"uniform": 4, "normal": 4, "pareto": 12}
"""Spreads between two knots; a long tail falls faster."""
CUT: Final = 4.0
_SQRT2: Final = sqrt(2)


def _uniform(normal: float) -> float:
    return erf(normal / _SQRT2)


def _normal(normal: float) -> float:
    return min(CUT, max(-CUT, normal))


def _pareto(normal: float) -> float:
    beyond = erfc(normal / _SQRT2) / 2
    return min(CUT, (beyond ** (-1 / 3) - 1.5) * 4 / 3) if beyond > 0 else CUT


OFFSETS: Final[Mapping[str, Callable[[float], float]]] = {"uniform": _uniform, "normal": _normal, "pareto": _pareto}
"""From a standard normal value to the offset in spreads."""


class Jitter:
    """Offsets, `spread_ns` times a distribution, as a function of the time and a seed."""

    __slots__ = ("_from", "_key", "_knot", "_offset", "_start_ns", "_step_ns", "_to", "spread_ns")

    def __init__(self, spread_ns: int, key: int, distribution: str = "uniform") -> None:
        """Take the spread > 0, the seed's key, and the distribution's name."""
        self.spread_ns = spread_ns
        self._offset = OFFSETS[distribution]
        self._key = key
        self._step_ns = COHERENCE[distribution] * spread_ns
        self._knot = 0
        self._start_ns = -1
        self._from = self._to = 0.0

    def offset_ns(self, now_ns: int) -> int:
        """Return the offset at this time; times must not go back."""
        passed = now_ns - self._start_ns
        if self._start_ns < 0 or passed >= 2 * self._step_ns:
            self._begin(now_ns)
            passed = 0
        elif passed >= self._step_ns:
            self._start_ns += self._step_ns
            passed -= self._step_ns
            self._from, self._to = self._to, self._draw()
        part = passed / self._step_ns
        normal = ((1 - part) * self._from + part * self._to) / sqrt((1 - part) ** 2 + part**2)
        return round(self.spread_ns * self._offset(normal))

    def _begin(self, now_ns: int) -> None:
        self._start_ns = now_ns
        self._from = self._draw()
        self._to = self._draw()

    def _draw(self) -> float:
        self._knot += 2
        return sqrt(-2 * log(unit(self._key, self._knot))) * cos(2 * pi * unit(self._key, self._knot + 1))
