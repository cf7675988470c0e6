"""Reading a recording as if it were live; what is damaged is one clear line, after all that comes before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from perfcheck.errors import Problem, RecordingError
from perfcheck.live.recording.filtering import filtered, require_answerable
from perfcheck.live.recording.frames import DamagedFrame, Frame, read_frames
from perfcheck.live.recording.header import RecordingHeader, decode_header, is_header
from perfcheck.live.recording.payload import decode_interval
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.interval import Interval
from perfcheck.system.bounded_read import open_regular

_BUFFER_BYTES: Final = 1 << 20


class Recording:
    """The intervals of a file; each iteration reads it from its begin.

    `header` is the first segment's. `whole_bytes` and `torn_bytes` are, after an iteration, how much of the file
    was whole frames and how much its writer did not finish.
    """

    def __init__(
        self, path: Path, wanted: FlowFilter, netns: Collection[str] = (), *, duration_ns: int | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        """Read the header; RecordingError or UnreadableFile where there is none. `say` is told of a torn end."""
        self._duration_ns = duration_ns
        self._say = say
        self._path = path
        self._wanted = wanted
        self._netns = netns
        self.whole_bytes = 0
        self.torn_bytes = 0
        first = next(self._frames(), None)
        if first is None:
            raise self._error(0, "no recording of perfctl: not even its header is whole")
        self.header: RecordingHeader = self._header(first)
        require_answerable(wanted, self.header.request.filter)

    def __iter__(self) -> Iterator[Interval]:
        """Yield the intervals that were recorded; RecordingError at the first that is damaged."""
        until_ns: int | None = None
        for frame in self._frames():
            if is_header(frame.text):
                self._header(frame)
                continue
            try:
                interval = decode_interval(frame.text, frame.data)
            except ValueError as error:
                raise self._error(frame.place, f"damaged: {error}") from None
            if self._duration_ns is not None:
                until_ns = until_ns or interval.begin_ns + self._duration_ns
                if interval.begin_ns >= until_ns:
                    return
            yield filtered(interval, self._wanted, self._netns)
        if self.torn_bytes and self._say is not None:
            self._say(f"{self._path}: its writer did not finish the last {self.torn_bytes} bytes; all before is read")

    def __enter__(self) -> Self:
        """Return the recording: a command opens it as it opens a live machine."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held between iterations."""

    def _frames(self) -> Iterator[Frame]:
        with os.fdopen(open_regular(self._path), "rb", buffering=_BUFFER_BYTES) as stream:
            self.whole_bytes = 0
            try:
                for frame in read_frames(stream):
                    self.whole_bytes = frame.end
                    yield frame
            except DamagedFrame as damaged:
                raise self._error(damaged.place, damaged.reason) from None
            self.torn_bytes = max(0, os.fstat(stream.fileno()).st_size - self.whole_bytes)

    def _header(self, frame: Frame) -> RecordingHeader:
        if not is_header(frame.text):
            raise self._error(frame.place, "no recording of perfctl: it does not begin with a header")
        try:
            return decode_header(frame.text)
        except ValueError as error:
            raise self._error(frame.place, str(error)) from None

    def _error(self, place: int, reason: str) -> RecordingError:
        before = "; all before it can be read" if place else ""
        where = f"byte {place}" if place else ""
        return RecordingError(
            Problem(file=str(self._path), line=0, column=0, path=where, message=f"{reason}{before}")
        )  # fmt: skip


def read_recording(
    path: Path, wanted: FlowFilter, netns: Collection[str] = (), *, duration_ns: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Recording:  # fmt: skip
    """Return the intervals of a recording, with the connections that pass a filter.

    `netns` are names of network namespaces, as in `LiveRequest`; empty: all that were recorded. `duration_ns` ends
    it so long after its begin. `say` is told where its end is torn.
    """
    return Recording(path, wanted, netns, duration_ns=duration_ns, say=say)
