"""The ring: the latest intervals on disk, bounded by time and by bytes, in segments that are removed as a whole.

The ring is a private folder of segment files, each a whole recording. A dump is one segment after the other. The
folder is removed at a clean end. After a kill it stays, and `leftover_rings` and `recover` bring out what it holds.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from perfcheck.errors import UsageError
from perfcheck.live.recording.frames import DamagedFrame, pack_frame, read_frames
from perfcheck.live.recording.header import RecordingHeader, encode_header, is_header
from perfcheck.live.recording.payload import encode_interval
from perfcheck.live.recording.writing import SegmentFile, written_reason
from perfcheck.model.interval import Interval
from perfcheck.system.bounded_read import open_regular
from perfcheck.system.files import writing_report
from perfcheck.system.owner import lock, lock_is_free

RING_BYTES: Final = 256 << 20
_PARTS: Final = 8
"""Segments of a full ring: what is removed at once is an eighth of it."""
_MOST_SEGMENT_BYTES: Final = 4 << 20
_PREFIX: Final = "perfctl-ring-"
_LOCK: Final = "lock"
_SEGMENTS: Final = "segment-*"


@dataclass(slots=True, kw_only=True)
class _Segment:
    path: Path
    file: SegmentFile
    intervals: int = 0
    first_ns: int = 0
    last_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """What a dump holds."""

    path: Path
    intervals: int
    size_bytes: int


class Ring:
    """The latest intervals on disk; what was written before goes first."""

    def __init__(
        self, header: RecordingHeader, *, duration_ns: int, max_bytes: int = RING_BYTES, parent: Path | None = None
    ) -> None:
        """Make the folder, in that for temporary files unless `parent` is given; UsageError where that cannot be."""
        self._header = pack_frame(encode_header(header))
        self._duration_ns = duration_ns
        self._max_bytes = max_bytes
        self._segment_bytes = min(_MOST_SEGMENT_BYTES, max_bytes // _PARTS)
        self._segments: list[_Segment] = []
        self._number = 0
        self.missing = 0
        self.problem: str | None = None
        place = parent or Path(tempfile.gettempdir())
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
            self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{place}: cannot keep a ring: {error.strerror}; set TMPDIR to another folder") from None
        lock(self._lock)

    @property
    def size_bytes(self) -> int:
        """How many bytes of the disk the intervals take."""
        return sum(segment.file.size_bytes for segment in self._segments)

    @property
    def intervals(self) -> int:
        """How many intervals are kept."""
        return sum(segment.intervals for segment in self._segments)

    def append(self, interval: Interval) -> None:
        """Add an interval and let go of the oldest beyond the bounds; `problem` says whether it could be written."""
        try:
            frame = pack_frame(*encode_interval(interval))
            self._make_room(len(frame), interval.end_ns)
            self._write(frame, interval.end_ns)
        except OSError as error:
            self.missing += 1
            self.problem = written_reason(self.folder, error)
        except ValueError as error:
            self.missing += 1
            self.problem = f"{self.folder}: cannot write interval {interval.number}: {error}"
        else:
            self.problem = None

    def dump(self, path: Path) -> Dumped:
        """Write what is kept to a file, whole or not at all; OSError where that cannot be."""
        size = 0
        with writing_report(path) as stream:
            for segment in self._segments:
                size += _copy(segment.path, stream, segment.file.size_bytes)
        return Dumped(path=path, intervals=self.intervals, size_bytes=size)

    def close(self, *, keep: bool = False) -> None:
        """Remove the ring, or keep it for `recover`; safe to call twice."""
        for segment in self._segments:
            segment.file.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _make_room(self, frame_bytes: int, now_ns: int) -> None:
        while self._segments and (
            self.size_bytes + frame_bytes > self._max_bytes or self._segments[0].last_ns < now_ns - self._duration_ns
        ):
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        oldest = self._segments.pop(0)
        oldest.file.close()
        oldest.path.unlink(missing_ok=True)

    def _write(self, frame: bytes, end_ns: int) -> None:
        segment = self._segment(end_ns)
        try:
            segment.file.append(frame)
        except OSError:
            # The disk has less room than the ring may take: the newest interval is worth more than the oldest. Where
            # that did not help the last time, others take the room, and what is kept must not go for nothing.
            if self.problem is not None or len(self._segments) < 2:
                raise
            self._remove_oldest()
            segment.file.append(frame)
        segment.first_ns = segment.first_ns or end_ns
        segment.last_ns = end_ns
        segment.intervals += 1

    def _segment(self, end_ns: int) -> _Segment:
        """Return the segment that the next frame goes into: a new one where the last is full."""
        if self._segments:
            last = self._segments[-1]
            lasted_ns = end_ns - last.first_ns if last.intervals else 0
            if last.file.size_bytes < self._segment_bytes and lasted_ns < self._duration_ns / _PARTS:
                return last
        self._number += 1
        path = self.folder / f"segment-{self._number:08d}"
        made = _Segment(path=path, file=SegmentFile(path, self._header, mode=0o600))
        self._segments.append(made)
        return made


def leftover_rings(parent: Path | None = None) -> tuple[Path, ...]:
    """Return the folders of rings whose perfctl was killed, the oldest first."""
    place = parent or Path(tempfile.gettempdir())
    return tuple(sorted((each for each in place.glob(f"{_PREFIX}*") if _is_left(each)), key=_time_of))


def recover(folder: Path, path: Path) -> Dumped:
    """Write what a ring that was left holds to a file, and remove the ring; OSError where that cannot be."""
    intervals = size = 0
    with writing_report(path) as stream:
        for segment in sorted(folder.glob(_SEGMENTS)):
            whole, count = _whole_bytes(segment)
            size += _copy(segment, stream, whole)
            intervals += count
    shutil.rmtree(folder, ignore_errors=True)
    return Dumped(path=path, intervals=intervals, size_bytes=size)


def _is_left(folder: Path) -> bool:
    """Whether a folder is a ring of this user's that no process keeps."""
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return False
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return lock_is_free(descriptor)
    finally:
        os.close(descriptor)


def _time_of(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _whole_bytes(segment: Path) -> tuple[int, int]:
    """Return how many bytes of a segment are whole frames, and how many intervals these are."""
    end = intervals = 0
    with os.fdopen(open_regular(segment), "rb") as stream:
        for frame in _sound(stream):
            end, intervals = frame
    return end, intervals


def _sound(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    intervals = 0
    try:
        for frame in read_frames(stream):
            intervals += not is_header(frame.text)
            yield frame.end, intervals
    except DamagedFrame:
        return


def _copy(source: Path, stream: BinaryIO, size: int) -> int:
    """Add the first bytes of a file to a stream; return how many."""
    copied = 0
    with source.open("rb") as content:
        while part := content.read(min(1 << 20, size - copied)):
            stream.write(part)
            copied += len(part)
    return copied
