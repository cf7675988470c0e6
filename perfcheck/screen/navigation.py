"""Which frame is shown: the newest, one that the user stays at, or the next of a recording that plays."""

from __future__ import annotations

from typing import Final

from perfcheck.errors import UsageError
from perfcheck.live.wording import count
from perfcheck.screen.clock import Clock, Span, number_of
from perfcheck.screen.feed import Feed
from perfcheck.screen.frame import Frame
from perfcheck.screen.header import Position
from perfcheck.screen.ring import Ring

LEAP: Final = 10


class Navigation:
    """The place in time; `shown` stays the same object while the view stands, whatever the ring lets go of."""

    def __init__(self, ring: Ring, feed: Feed, clock: Clock, *, is_recorded: bool) -> None:
        """Begin at the newest frame of a live machine, at the first of a recording, which plays."""
        self._ring = ring
        self._feed = feed
        self._clock = clock
        self._is_recorded = is_recorded
        self.goes_on = True
        self.shown: Frame | None = None
        self._awaited: int | None = None

    @property
    def plays(self) -> bool:
        """Whether a recording goes on by itself."""
        return self._is_recorded and self.goes_on

    def arrived(self) -> bool:
        """Look at what is new in the ring; return whether the view changes."""
        if self._awaited is not None:
            return self._show(self._ring.get(self._awaited))
        if self.shown is None:
            return self._show(self._ring.first if self._is_recorded else self._ring.last)
        if self.goes_on and not self._is_recorded:
            return self._show(self._ring.last)
        return False

    def _show(self, frame: Frame | None) -> bool:
        if frame is None or frame is self.shown:
            return False
        self.shown, self._awaited = frame, None
        return True

    def play(self) -> bool:
        """Go on to the next interval of a recording that plays; it stops at its end."""
        if not self.plays or self.shown is None or self._awaited is not None:
            return False
        changed = self._go(self.shown.index + 1)
        if not changed and self._awaited is None:
            self.goes_on = False
            return True
        return changed

    def step(self, intervals: int) -> bool:
        """Go so many intervals on or back, and stand there; the newest one of a live machine goes on."""
        here = self.shown
        if here is None:
            return False
        self.goes_on = False
        changed = self._go(max(here.index + intervals, self._first))
        self._follow_newest()
        return changed

    def edge(self, *, last: bool) -> bool:
        """Go to the first interval that there is, or to the last."""
        self.goes_on = False
        changed = self._go(self._last if last else self._first)
        self._follow_newest()
        return changed

    def _follow_newest(self) -> None:
        newest = self._ring.last
        if not self._is_recorded and newest is not None and self.shown is newest:
            self.goes_on = True

    def toggle(self) -> bool:
        """Stand still, or go on."""
        self.goes_on = not self.goes_on
        if self.goes_on and self._is_recorded and self.shown is not None and self.shown.index >= self._last:
            return self._go(0)
        return self.arrived()

    def jump(self, text: str) -> bool:
        """Go to a time or a number; UsageError where the text is neither, or outside."""
        here, first = self.shown, self._ring.first
        if here is None or first is None:
            raise UsageError("there is no interval yet")
        number = number_of(text)
        if number is not None:
            index = here.index + number - here.number
            if not self._first <= index <= self._last:
                lowest = here.number + self._first - here.index
                raise UsageError(f"#{number} is not kept; #{lowest} to #{lowest + self._last - self._first} are")
        else:
            index = self._index_at(text, here)
        self.goes_on = False
        changed = self._go(index)
        self._follow_newest()
        return changed

    def _index_at(self, text: str, here: Frame) -> int:
        times = self._feed.times()
        if times:
            wanted = self._clock.moment(text, Span(first_ns=times[0], last_ns=times[-1]), here.at_ns)
            return next((index for index, at_ns in enumerate(times) if at_ns >= wanted), len(times) - 1)
        first, last = self._ring.first, self._ring.last
        if first is None or last is None:
            return here.index
        wanted = self._clock.moment(text, Span(first_ns=first.at_ns, last_ns=last.at_ns), here.at_ns)
        found = self._ring.at(wanted)
        return here.index if found is None else found.index

    def _go(self, index: int) -> bool:
        index = min(max(index, self._first), self._last)
        if self.shown is not None and index == self.shown.index:
            self._awaited = None
            return False
        frame = self._ring.get(index)
        if frame is None:
            self._awaited = index
            self._feed.want(index)
            return False
        return self._show(frame)

    @property
    def _first(self) -> int:
        return 0 if self._is_recorded or self._ring.first is None else self._ring.first.index

    @property
    def _last(self) -> int:
        if self._is_recorded:
            return max(self._feed.total - 1, 0)
        return 0 if self._ring.last is None else self._ring.last.index

    @property
    def position(self) -> Position:
        """What happens, in words."""
        if self._awaited is not None:
            return Position(state=f"READING up to {self._awaited + 1:,} of {self._feed.total:,}", calm=False)
        if self._is_recorded:
            where = 0 if self.shown is None else self.shown.index + 1
            state = "PLAYING" if self.goes_on else "END" if where >= self._feed.total else "STANDING"
            return Position(state=f"{state} {where:,} of {self._feed.total:,}", calm=self.goes_on)
        if self.goes_on:
            return Position(state="LIVE", calm=True)
        behind = 0 if self.shown is None else self._last - self.shown.index
        return Position(state=f"paused, {count(behind, 'interval')} behind", calm=False)
