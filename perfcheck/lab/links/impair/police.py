"""A policer: a token bucket that lets packets pass or not, and holds none back."""

from __future__ import annotations

SECOND_NS = 10**9


class TokenBucket:
    """Fills at a rate up to its size, full at first; a packet passes where its bytes are in the bucket.

    Counted in whole bits times nanoseconds, so that nothing is rounded however often it is asked.
    """

    __slots__ = ("_fill", "_last_ns", "_rate_bps", "_size")

    def __init__(self, rate_bps: int, burst_bytes: int, now_ns: int) -> None:
        """Take the rate, the bucket's size and the present time."""
        self._rate_bps = rate_bps
        self._size = burst_bytes * 8 * SECOND_NS
        self._fill = self._size
        self._last_ns = now_ns

    def conforms(self, now_ns: int, size_bytes: int) -> bool:
        """Whether a packet that comes now (times must not go back) passes; only then are its bytes taken."""
        fill = min(self._size, self._fill + (now_ns - self._last_ns) * self._rate_bps)
        self._last_ns = now_ns
        need = size_bytes * 8 * SECOND_NS
        if need > fill:
            self._fill = fill
            return False
        self._fill = fill - need
        return True
