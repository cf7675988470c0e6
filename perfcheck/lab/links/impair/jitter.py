"""Jitter that keeps order and keeps the median: delay as a slow random function of time.

Independent draws a packet would have to be put back into order, and each late packet would then hold
up those behind it: at high packet rates nearly all would have the largest delay. Here the
offset wanders instead. Knots `COHERENCE` times the jitter apart have independent normal draws; between them
the offset is interpolated with its variance held at one, and mapped to the uniform distribution. So
at every instant the offset is uniform within +/- jitter, its median is 0, and packets further apart than two knots
are independent. It falls at nearly all times more slowly than time passes, so order is kept of itself; what little is
left the delay line's own order rule catches.
"""

from __future__ import annotations

from math import cos, erf, log, pi, sqrt

from perfcheck.lab.links.impair.prf import unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

COHERENCE: Final = 4
_SQRT2: Final = sqrt(2)


class Jitter:
    """Offsets, uniform within +/- `jitter_ns`, as a function of the time and a seed."""

    __slots__ = ("_from", "_key", "_knot", "_start_ns", "_step_ns", "_to", "jitter_ns")

    def __init__(self, jitter_ns: int, key: int) -> None:
        """Take the half-width > 0 and the seed's key."""
        self.jitter_ns = jitter_ns
        self._key = key
        self._step_ns = COHERENCE * jitter_ns
        self._knot = 0
        self._start_ns = -1
        self._from = self._to = 0.0

    def offset_ns(self, now_ns: int) -> int:
        """Give the offset at this time; times must not go back."""
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
        return round(self.jitter_ns * erf(normal / _SQRT2))

    def _begin(self, now_ns: int) -> None:
        self._start_ns = now_ns
        self._from = self._draw()
        self._to = self._draw()

    def _draw(self) -> float:
        self._knot += 2
        return sqrt(-2 * log(unit(self._key, self._knot))) * cos(2 * pi * unit(self._key, self._knot + 1))
