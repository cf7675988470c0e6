"""Waiting for frames until an absolute time, and waking on time: a timer is always late, by about as much each time."""

from __future__ import annotations

import select
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NEVER_NS: Final = 1 << 62
LATER_NS: Final = 2_000
EARLIER_NS: Final = 500
"""The steps of the lead: at rest where one waking in five is later than the lead."""
SHORTEST_LEAD_NS: Final = 5_000
LONGEST_LEAD_NS: Final = 100_000


class Timer:
    """Sleeps until `lead_ns` before a time and polls through the rest; the lead follows how late timers are here."""

    __slots__ = ("lead_ns", "overslept_ns")

    def __init__(self) -> None:
        """Begin with a middling lead."""
        self.lead_ns = 50_000
        self.overslept_ns = 0

    def wait(self, fds: Sequence[int], now_ns: int, until_ns: int) -> Sequence[int]:
        """Return the descriptors that can be read, as soon as one can be, or none near `until_ns`.

        `overslept_ns` is then for how long this process was kept from the CPU beyond that: what can
        be read may have waited so long.
        """
        self.overslept_ns = 0
        if until_ns == NEVER_NS:
            return select.select(fds, (), ())[0]
        wake_ns = until_ns - self.lead_ns
        if wake_ns <= now_ns:
            return select.select(fds, (), (), 0)[0]
        ready = select.select(fds, (), (), (wake_ns - now_ns) / 1e9)[0]
        late_ns = monotonic_ns() - wake_ns
        if not ready:
            self._learn(late_ns)
        if late_ns > 0:
            self.overslept_ns = late_ns
        return ready

    def _learn(self, late_ns: int) -> None:
        if late_ns > self.lead_ns:
            self.lead_ns = min(self.lead_ns + LATER_NS, LONGEST_LEAD_NS)
        else:
            self.lead_ns = max(self.lead_ns - EARLIER_NS, SHORTEST_LEAD_NS)
