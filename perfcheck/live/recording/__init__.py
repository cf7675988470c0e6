"""Recordings: intervals in a file, and the ring on disk that keeps the latest of them.

`open_recording` gives a command the intervals of a file. `RecordingFile` (writing.py) and `Ring` (ring.py) keep them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfcheck.model.interval import LiveRequest, OpenIntervals


def open_recording(path: Path, request: LiveRequest) -> OpenIntervals:
    """Return the intervals of a recording, with the connections that the request's filter and namespaces let pass."""
    from perfcheck.live.recording.reading import read_recording
    from perfcheck.system.printing import complain

    return read_recording(path, request.filter, request.netns, duration_ns=request.duration_ns, say=complain)
