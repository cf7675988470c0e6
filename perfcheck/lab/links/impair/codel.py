"""CoDel's law (RFC 8289) as a marker: which packets of a queue would be told to slow down."""

from __future__ import annotations

from math import isqrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TARGET_NS: Final = 5_000_000
INTERVAL_NS: Final = 100_000_000
_SCALE: Final = 1 << 16


class CoDel:
    """Decides at the moment a packet begins its transmission; packets come in that order.

    Marks do not shorten the queue, so the decision needs nothing but the time that each packet
    has waited. `target_ns` must be longer than one packet takes on the line.
    """

    __slots__ = ("_above_since", "_count", "_marking", "_next", "_target_ns")

    def __init__(self, target_ns: int = TARGET_NS) -> None:
        """Begin with a queue that has been short."""
        self._target_ns = target_ns
        self._above_since: int | None = None
        self._marking = False
        self._count = 0
        self._next = 0

    def marks(self, begins_ns: int, waited_ns: int) -> bool:
        """Whether the packet that begins its transmission now, after so long a wait, is marked."""
        too_long = self._too_long(begins_ns, waited_ns)
        if self._marking:
            if not too_long:
                self._marking = False
                return False
            if begins_ns < self._next:
                return False
            self._count += 1
            self._next += self._interval()
            return True
        if not too_long:
            return False
        self._marking = True
        # A queue that was bad just now goes on where the law left off.
        recent = begins_ns - self._next < 8 * INTERVAL_NS
        self._count = self._count - 2 if recent and self._count > 2 else 1
        self._next = begins_ns + self._interval()
        return True

    def _too_long(self, now_ns: int, waited_ns: int) -> bool:
        if waited_ns < self._target_ns:
            self._above_since = None
            return False
        if self._above_since is None:
            self._above_since = now_ns
            return False
        return now_ns - self._above_since >= INTERVAL_NS

    def _interval(self) -> int:
        return INTERVAL_NS * _SCALE // isqrt(self._count * _SCALE * _SCALE)
