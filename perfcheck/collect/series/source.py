"""What a sampler asks at each interval.

A tick only copies. What was copied at several ticks is decoded at once: that costs little more than to decode one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from perfcheck.model.series import BufferLooks, FlowSamples, NamedSamples

BATCH: Final = 64
"""Ticks that are decoded at once, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The end of an interval: its number from 0, when it is, how long the interval was, and whether it is the last."""

    tick: int
    now_ns: int
    length_ns: int
    last: bool = False


class Source(Protocol):
    """What is sampled of one layer in one trial.

    `sample` and `spool` run in the sampler's thread, the rest after its end.
    """

    def sample(self, moment: Moment) -> None:
        """Copy what there is to tell of the interval that ends now; spool where there is no more room for copies."""

    def spool(self) -> None:
        """Decode what was copied since, and put it on the disk; called every BATCH ticks, and at the end."""

    def samples(self) -> FlowSamples | NamedSamples | tuple[BufferLooks, ...]:
        """Return all that was spooled; it can be read until `close`."""

    def warnings(self) -> tuple[str, ...]:
        """Say what was left out."""

    def close(self) -> None:
        """Let go of files and sockets; safe to call twice."""


@runtime_checkable
class Charted(Protocol):
    """A collector of which a time series can be made."""

    def series(self) -> Source:
        """Return a source for the trial that was begun."""
