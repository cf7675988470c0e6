"""Writing intervals to a file; a disk that is full is told and does not end measuring."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from perfcheck.errors import UsageError
from perfcheck.live.recording.frames import pack_frame
from perfcheck.live.recording.header import RecordingHeader, encode_header
from perfcheck.live.recording.payload import encode_interval
from perfcheck.model.interval import Interval

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC


class SegmentFile:
    """A file of whole frames: the header's, then intervals'. What could only be written in part is taken back."""

    def __init__(self, path: Path, header: bytes, *, mode: int = 0o644, append: bool = False) -> None:
        """Begin the file anew, or go on behind what it has; OSError where that cannot be."""
        self._header = header
        self._descriptor = os.open(path, _FLAGS | (0 if append else os.O_TRUNC), mode)
        self.size_bytes = os.lseek(self._descriptor, 0, os.SEEK_END) if append else 0

    def append(self, frame: bytes) -> None:
        """Add a frame, and the header before the first.

        OSError where there is no room; the file then is as it was before.
        """
        content = memoryview(frame if self.size_bytes else self._header + frame)
        written = 0
        try:
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError:
            if written:
                os.ftruncate(self._descriptor, self.size_bytes)
                os.lseek(self._descriptor, self.size_bytes, os.SEEK_SET)
            raise
        self.size_bytes += written

    def close(self) -> None:
        """Close the file; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RecordingFile:
    """A recording that is written interval by interval: after a kill at any moment, all before it can be read.

    `missing` counts intervals that could not be written, `problem` says why (None: the last one was).
    """

    def __init__(self, path: Path, header: RecordingHeader, *, keep_bytes: int | None = None) -> None:
        """Begin the file anew, or cut it to its first `keep_bytes` and go on; UsageError where that cannot be."""
        self._path = path
        self.kept = 0
        self.missing = 0
        self.problem: str | None = None
        try:
            if keep_bytes is not None:
                os.truncate(path, keep_bytes)
            self._file = SegmentFile(path, pack_frame(encode_header(header)), append=keep_bytes is not None)
        except OSError as error:
            raise UsageError(f"{path}: cannot write a recording: {error.strerror}; name another file") from None
        try:
            self._file.append(b"")
        except OSError as error:
            self.problem = written_reason(path, error)

    @property
    def size_bytes(self) -> int:
        """How large the file is."""
        return self._file.size_bytes

    def append(self, interval: Interval) -> None:
        """Add an interval; `problem` says whether that could be done."""
        try:
            self._file.append(pack_frame(*encode_interval(interval)))
        except OSError as error:
            self.missing += 1
            self.problem = written_reason(self._path, error)
        except ValueError as error:
            self.missing += 1
            self.problem = f"{self._path}: cannot write interval {interval.number}: {error}"
        else:
            self.kept += 1
            self.problem = None

    def close(self) -> None:
        """End the file; safe to call twice."""
        self._file.close()


def written_reason(path: Path, error: OSError) -> str:
    """Return the line that says why a recording cannot be written, and how to mend it."""
    hint = "; free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    return f"{path}: cannot write the recording: {error.strerror}{hint}"
