"""CoDel's law (RFC 8289): which packets of a queue are to tell their senders to slow down, by a drop or a mark."""

from __future__ import annotations

from math import isqrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TARGET_NS: Final = 5_000_000
INTERVAL_NS: Final = 100_000_000
_SCALE: Final = 1 << 16


class CoDel:
    """Decides at the moment a packet begins its transmission (or would, were it not dropped), in that order.

    The law's own loop over a queue is here one question a packet, which comes to the same. Where
    the queue behind a packet does not matter (marks do not shorten it), `target_ns` must be longer
    than one packet takes on the line.
    """

    __slots__ = ("_above_since", "_count", "_dropping", "_interval_ns", "_last_count", "_next", "_target_ns", "_told")

    def __init__(self, target_ns: int = TARGET_NS, interval_ns: int = INTERVAL_NS) -> None:
        """Begin with a queue that has been short."""
        self._target_ns = target_ns
        self._interval_ns = interval_ns
        self._above_since: int | None = None
        self._dropping = False
        self._count = 0
        self._last_count = 0
        self._next = 0  # in ns / _SCALE: a drop in thousands must not come early or late for roundings that add up
        self._told = False

    def tells(self, begins_ns: int, waited_ns: int) -> bool:
        """Whether the packet that begins its transmission now, after so long a wait, is dropped or marked."""
        too_long = self._too_long(begins_ns, waited_ns)
        if self._dropping:
            if not too_long:
                self._dropping = False
                return False
            if self._told:
                self._told = False
                self._next += self._gap()
            if begins_ns * _SCALE < self._next:
                return False
            self._count += 1
            self._told = True
            return True
        if not too_long:
            return False
        self._dropping = True
        # A queue that was bad just now goes on about where the law left off.
        since_last = self._count - self._last_count
        recent = begins_ns * _SCALE - self._next < 16 * self._interval_ns * _SCALE
        self._count = since_last if recent and since_last > 1 else 1
        self._last_count = self._count
        self._next = begins_ns * _SCALE + self._gap()
        self._told = False
        return True

    def _too_long(self, now_ns: int, waited_ns: int) -> bool:
        if waited_ns < self._target_ns:
            self._above_since = None
            return False
        if self._above_since is None:
            self._above_since = now_ns
            return False
        return now_ns - self._above_since >= self._interval_ns

    def _gap(self) -> int:
        return isqrt((self._interval_ns * _SCALE) ** 2 // self._count)
