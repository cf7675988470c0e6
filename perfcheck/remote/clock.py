"""Compares the clock of another machine with this one's, by questions and answers; pure.

A question is sent at t0 and answered at t3 by this clock; it came at t1 and the answer went at t2 by the other one. So
the other clock is ahead by between t2 - t3 and t1 - t0, whatever the two ways take: bounds, not an estimate. The
tightest bounds of several exchanges hold together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question and its answer: sent and received here, came and answered there."""

    sent_ns: int
    there_ns: int
    back_ns: int
    received_ns: int

    @property
    def round_trip_ns(self) -> int:
        """How long both ways took together."""
        return (self.received_ns - self.sent_ns) - (self.back_ns - self.there_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """The other clock minus this one: at least, and at most. `at_ns` is when that was, by this clock."""

    least_ns: int
    most_ns: int
    at_ns: int

    @property
    def ns(self) -> int:
        """The middle of the bounds."""
        return (self.least_ns + self.most_ns) // 2

    @property
    def error_ns(self) -> int:
        """How far it may be from the middle."""
        return (self.most_ns - self.least_ns + 1) // 2

    def here_ns(self, there_ns: int) -> int:
        """Return a time of the other clock by this one."""
        return there_ns - self.ns

    def there_ns(self, here_ns: int) -> int:
        """Return a time of this clock by the other one."""
        return here_ns + self.ns

    def behind(self, other: Offset) -> Offset:
        """Return this machine's clock minus another one's, both compared with the same third one."""
        return Offset(
            least_ns=self.least_ns - other.most_ns, most_ns=self.most_ns - other.least_ns,
            at_ns=max(self.at_ns, other.at_ns),
        )  # fmt: skip


def offset_of(exchanges: Iterable[Exchange]) -> Offset:
    """Return the bounds that all exchanges leave; ValueError without any.

    Where clocks were slewed in between, the bounds may contradict each other: those of the shortest round trip count.
    """
    every = sorted(exchanges, key=lambda each: each.round_trip_ns)
    if not every:
        raise ValueError("clocks cannot be compared without an answer")
    least = max(each.back_ns - each.received_ns for each in every)
    most = min(each.there_ns - each.sent_ns for each in every)
    at_ns = every[0].received_ns
    if least > most:
        least, most = every[0].back_ns - every[0].received_ns, every[0].there_ns - every[0].sent_ns
    return Offset(least_ns=least, most_ns=most, at_ns=at_ns)
