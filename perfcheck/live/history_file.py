"""The file of `--history-file`: a recording of what trends need, which later runs continue, bounded by a duration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from perfcheck.errors import OutputError, UsageError
from perfcheck.live.connections import active_rows
from perfcheck.live.recording.frames import pack_frame
from perfcheck.live.recording.header import RecordingHeader, encode_header
from perfcheck.live.recording.reading import read_recording
from perfcheck.live.recording.writing import RecordingFile
from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.flow_table import IDENTITY, FlowTable
from perfcheck.model.interval import Interval
from perfcheck.system.files import replacing

_KEPT: Final = (
    *IDENTITY, "srtt_us", "rtt_p50_us", "cwnd_segs", "send_bps", "bytes_acked", "bytes_received", "retrans_segs",
    "data_segs_out",
)  # fmt: skip
_SLACK: Final = 1.25
"""How much longer than the duration a file becomes before its begin is cut off: copying costs."""


class HistoryFile:
    """Keeps the active connections of each interval, and those of the runs before."""

    def __init__(self, path: Path, header: RecordingHeader, *, duration_ns: int) -> None:
        """Touch nothing until `earlier`."""
        self._path = path
        self._header = header
        self._duration_ns = duration_ns
        self._places: list[tuple[int, int]] = []
        """The time of day of each interval in the file, and its first byte."""
        self._file: RecordingFile | None = None

    def earlier(self) -> Iterator[Interval]:
        """Yield what earlier runs kept, then open the file to go on; a file that is not whole is an error in one line.

        What a killed run did not finish is cut off.
        """
        end: int | None = None
        if self._path.exists() and (not self._path.is_file() or self._path.stat().st_size):
            recording = read_recording(self._path, FlowFilter())
            end = recording.whole_bytes
            for interval in recording:
                # The bytes before this frame were whole when the one before it had been read.
                self._places.append((interval.end_ns + interval.epoch_ns, end))
                end = recording.whole_bytes
                yield interval
            end = recording.whole_bytes
        self._file = RecordingFile(self._path, self._header, keep_bytes=end)

    def add(self, interval: Interval) -> None:
        """Keep an interval's active connections."""
        assert self._file is not None, "earlier() opens the file"  # noqa: S101 - the caller's order
        now_ns = interval.end_ns + interval.epoch_ns
        if self._places and self._places[0][0] < now_ns - _SLACK * self._duration_ns:
            self._cut(now_ns)
        place = self._file.size_bytes
        self._file.append(reduced(interval))
        if self._file.problem is None:
            self._places.append((now_ns, place))

    def close(self) -> None:
        """End the file; OutputError where intervals are missing in it."""
        file, self._file = self._file, None
        if file is None:
            return
        file.close()
        if file.missing:
            why = file.problem or f"{self._path}: the disk was full for a while"
            raise OutputError(f"{why}; {file.missing} intervals are missing in the history")

    def _cut(self, now_ns: int) -> None:
        """Write the file anew without what is older than the duration."""
        assert self._file is not None  # noqa: S101 - its caller has looked
        kept = [(at_ns, place) for at_ns, place in self._places if at_ns >= now_ns - self._duration_ns]
        head = pack_frame(encode_header(self._header))
        first = kept[0][1] if kept else self._file.size_bytes
        try:
            with (
                self._path.open("rb") as old,
                replacing(Path(os.path.realpath(self._path)), mode=None) as descriptor,
                open(descriptor, "wb", closefd=False) as new,
            ):
                new.write(head)
                old.seek(first)
                shutil.copyfileobj(old, new)
        except OSError:
            return  # a full disk: the file stays as it is, and is told when an interval cannot be added
        self._places = [(at_ns, place - first + len(head)) for at_ns, place in kept]
        self._file.close()
        missing = self._file.missing
        self._file = RecordingFile(self._path, self._header, keep_bytes=self._path.stat().st_size)
        self._file.missing = missing


def reduced(interval: Interval) -> Interval:
    """Return an interval with what trends need: active connections, and the columns that are looked at."""
    flows = interval.flows
    chosen = flows.where(active_rows(flows))
    empty = FlowTable.empty(len(chosen), hosts=flows.hosts)
    columns = {**empty.columns, **{name: chosen[name] for name in _KEPT}}
    return replace(
        interval, flows=FlowTable(columns=columns, hosts=flows.hosts), metrics={}, hosts={}, interfaces={},
        histograms={}, events=(), lacks={},
    )  # fmt: skip


def require_regular(path: Path) -> None:
    """Raise UsageError where a history cannot be kept in a file: a device or a pipe cannot be continued."""
    if path.exists() and not path.is_file():
        raise UsageError(f"--history-file: {path} is not a regular file; name another one")
