"""How late frames were read or released, in a histogram with buckets of about 8 us."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

BUCKET_SHIFT: Final = 13
BUCKETS: Final = 8192
"""The last bucket, at 67 ms, also holds all beyond; the maximum is kept apart."""


class Lateness:
    """Counts of how long after its time something was done to frames."""

    __slots__ = ("counts", "worst_ns")

    def __init__(self) -> None:
        """Begin empty."""
        self.counts = [0] * BUCKETS
        self.worst_ns = 0

    def add(self, late_ns: int) -> None:
        """Count one frame, late_ns >= 0."""
        bucket = late_ns >> BUCKET_SHIFT
        self.counts[bucket if bucket < BUCKETS else BUCKETS - 1] += 1
        if late_ns > self.worst_ns:  # noqa: PLR1730 - half the cost of max() on every frame
            self.worst_ns = late_ns

    def add_all(self, late_ns: int, frames: int) -> None:
        """Count so many frames that were equally late."""
        self.counts[min(late_ns >> BUCKET_SHIFT, BUCKETS - 1)] += frames
        if frames:
            self.worst_ns = max(self.worst_ns, late_ns)

    def percentile_us(self, share: float) -> float:
        """Return the middle of the bucket below whose end lies this share (0..1) of all; 0 when empty."""
        total = sum(self.counts)
        wanted = share * total
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min((bucket + 0.5) * (1 << BUCKET_SHIFT), float(self.worst_ns)) / 1000
        return 0.0

    def summary_us(self) -> dict[str, float]:
        """Return p50, p99 and max."""
        return {"p50": self.percentile_us(0.50), "p99": self.percentile_us(0.99), "max": self.worst_ns / 1000}
