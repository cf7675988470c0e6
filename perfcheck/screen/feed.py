"""Where frames come from: a thread that takes a live machine's intervals, or one that reads a recording."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from perfcheck.model.interval import Interval, Intervals
from perfcheck.screen.frame import Frame
from perfcheck.screen.framing import FrameMaker
from perfcheck.screen.ring import MOST_BYTES, MOST_FRAMES

BACK: Final = 60
"""Frames before the one that is wanted, which are read with it."""
_PATIENCE_S: Final = 20.0
_WAITING: Final = 256
"""Frames that wait to be taken: a reader that is faster than the screen stops for it."""


class Feed(Protocol):
    """Gives frames; `tell` of `start` is called from a thread whenever there is something new."""

    total: int
    ended: bool
    error: BaseException | None

    def start(self, tell: Callable[[], None]) -> None:
        """Begin."""

    def take(self) -> list[Frame]:
        """Return the frames that are new, in their order; one that does not follow the last begins anew."""

    def want(self, index: int) -> None:
        """Ask for a frame that was let go of."""

    def times(self) -> tuple[int, ...]:
        """Return the end of each interval as time of day in ns, where more is known than the frames."""

    def stop(self) -> None:
        """End, and return when it has."""


class _Threaded(ABC):
    """What both feeds have: a thread, a queue, and how it ended."""

    def __init__(self, intervals: Intervals, make: Callable[[], FrameMaker]) -> None:
        self._intervals = intervals
        self._make = make
        self._queue: deque[Frame] = deque()
        self._room = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intervals", daemon=True)
        self._tell: Callable[[], None] = lambda: None
        self.total = 0
        self.ended = False
        self.error: BaseException | None = None

    def start(self, tell: Callable[[], None]) -> None:
        """Begin."""
        self._tell = tell
        self._thread.start()

    def take(self) -> list[Frame]:
        """Return the frames that are new."""
        with self._room:
            taken = list(self._queue)
            self._queue.clear()
            self._room.notify_all()
        return taken

    def stop(self) -> None:
        """End, and return when it has."""
        self._over.set()
        with self._room:
            self._room.notify_all()
        stop = getattr(self._intervals, "stop", None)
        if stop is not None:
            stop()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the screen ends
            self.error = error
        self.ended = True
        self._tell()

    @abstractmethod
    def _read(self) -> None:
        """Put each frame until all are read, or it is over."""

    def _put(self, frame: Frame, *, waits: bool) -> None:
        with self._room:
            while waits and len(self._queue) >= _WAITING and not self._over.is_set():
                self._room.wait(0.5)
            self._queue.append(frame)
        self._tell()


class LiveFeed(_Threaded):
    """A live machine: each interval once, as it is over."""

    def __init__(self, intervals: Intervals, maker: FrameMaker) -> None:
        """Take the intervals, and what makes frames of them."""
        super().__init__(intervals, lambda: maker)

    def want(self, index: int) -> None:
        """Do nothing: what is past is past."""

    def times(self) -> tuple[int, ...]:
        """Return nothing: the frames are all that is known."""
        return ()

    def _read(self) -> None:
        maker = self._make()
        for interval in self._intervals:
            frame = maker.frame(interval)
            self.total = frame.index + 1
            self._put(frame, waits=False)
            if self._over.is_set():
                return


class RecordingFeed(_Threaded):
    """A recording: read once for its times, and again up to a moment whose frames were let go of.

    Frames are made from `BACK` before the wanted one on, as many as may be kept.
    """

    def __init__(
        self, intervals: Intervals, make: Callable[[], FrameMaker], *, most_frames: int = MOST_FRAMES,
        most_bytes: int = MOST_BYTES,
    ) -> None:  # fmt: skip
        """Take the intervals, which are read several times, and what begins anew with each reading."""
        super().__init__(intervals, make)
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._times: list[int] = []
        self._wanted: int | None = 0
        self._whole = False

    def want(self, index: int) -> None:
        """Read up to this frame as soon as possible."""
        with self._room:
            self._wanted = index
            self._room.notify_all()

    def times(self) -> tuple[int, ...]:
        """Return the end of each interval that was read."""
        return tuple(self._times)

    def _read(self) -> None:
        while not self._over.is_set():
            with self._room:
                while self._wanted is None and not self._over.is_set():
                    self._room.wait()
                wanted, self._wanted = self._wanted, None
            if wanted is not None and not self._over.is_set():
                self._reading(wanted)

    def _reading(self, wanted: int) -> None:
        """Read the recording from its begin, until enough of it is there."""
        maker, first, room, made = self._make(), max(wanted - BACK, 0), self._most_bytes, 0
        for index, interval in enumerate(self._noted(self._intervals)):
            if self._over.is_set() or self._wanted is not None:
                return
            if room <= 0 or made >= self._most_frames:
                if self._whole:
                    return
                continue
            if index < first:
                maker.skim(interval)
                continue
            frame = maker.frame(interval)
            room, made = room - frame.size, made + 1
            # The last one that there is room for is not put: the ring would let go of the first for it.
            if room > 0:
                self._put(frame, waits=True)
        self._whole = True
        self._tell()

    def _noted(self, intervals: Intervals) -> Iterator[Interval]:
        for index, interval in enumerate(intervals):
            if index >= len(self._times):
                self._times.append(interval.end_ns + interval.epoch_ns)
                self.total = len(self._times)
            yield interval

    @property
    def whole(self) -> bool:
        """Whether it was read to its end once, so that its length is known."""
        return self._whole
