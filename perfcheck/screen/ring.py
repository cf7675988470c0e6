"""The frames that can be looked at: a run of successive ones, bounded in number and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from perfcheck.screen.frame import Frame

MOST_FRAMES: Final = 3600
MOST_BYTES: Final = 64_000_000


class Ring:
    """Successive frames; when there are too many, the oldest go. The newest always stays."""

    def __init__(self, *, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        """Keep so many frames, and so many bytes, at most."""
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._frames: deque[Frame] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._frames)

    def append(self, frame: Frame) -> None:
        """Add a frame; where it does not follow the last one, it begins anew."""
        if self._frames and frame.index != self._frames[-1].index + 1:
            self.clear()
        self._frames.append(frame)
        self.bytes += frame.size
        while len(self._frames) > 1 and (len(self._frames) > self._most_frames or self.bytes > self._most_bytes):
            self.bytes -= self._frames.popleft().size

    def clear(self) -> None:
        """Let go of all."""
        self._frames.clear()
        self.bytes = 0

    def get(self, index: int) -> Frame | None:
        """Return the frame of this index, None where it is not there."""
        if not self._frames:
            return None
        place = index - self._frames[0].index
        return self._frames[place] if 0 <= place < len(self._frames) else None

    def before(self, frame: Frame, most: int) -> Sequence[Frame]:
        """Return at most so many frames up to this one, the oldest first; it is the last of them."""
        if not self._frames or self.get(frame.index) is not frame:
            return (frame,)
        end = frame.index - self._frames[0].index + 1
        return tuple(islice(self._frames, max(end - most, 0), end))

    @property
    def first(self) -> Frame | None:
        """The oldest frame."""
        return self._frames[0] if self._frames else None

    @property
    def last(self) -> Frame | None:
        """The newest frame."""
        return self._frames[-1] if self._frames else None

    def at(self, at_ns: int) -> Frame | None:
        """Return the frame whose end is the first at or after a time of day; the newest where none is."""
        return next((frame for frame in self._frames if frame.at_ns >= at_ns), self.last)
