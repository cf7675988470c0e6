"""`--trend`, `--history-file` and `--history-duration` of `perfctl tcp`."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from perfcheck.cli.perfctl.columns import Column
from perfcheck.live.connections import bytes_of, largest
from perfcheck.live.grouping import GroupBy
from perfcheck.live.history import History, add_interval, connection_keys
from perfcheck.live.history_file import HistoryFile, require_regular
from perfcheck.live.recording.header import header_of
from perfcheck.live.short_values import ABSENT
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval, LiveRequest

DEFAULT_HISTORY_NS: Final = 3_600_000_000_000
_MOST_TOLD: Final = 200
"""Connections of an interval whose trends are found for JSON: each takes half a millisecond."""


class Trends(Protocol):
    """What the rows of a table say of their past."""

    def add(self, interval: Interval) -> None:
        """Take an interval, before it is shown."""

    def columns(self, shown: FlowTable) -> Sequence[Column]:
        """Return a column for these connections, or none."""

    def group_columns(self, labels: Sequence[str]) -> Sequence[Column]:
        """Return a column for these groups, or none."""

    def of_connections(self, flows: FlowTable) -> Sequence[str]:
        """Return a text a connection, empty where there is nothing to say."""

    def of_groups(self, labels: Sequence[str]) -> Sequence[str]:
        """Return a text a group, empty where there is nothing to say."""


class NoTrends:
    """Neither a trend nor a history was asked for, or only the file."""

    def __init__(self, file: HistoryFile | None = None) -> None:
        """Keep intervals in the file, if there is one."""
        self._file = file

    def add(self, interval: Interval) -> None:
        """Keep it in the file."""
        if self._file is not None:
            self._file.add(interval)

    def columns(self, shown: FlowTable) -> Sequence[Column]:
        """Return none."""
        del shown
        return ()

    def group_columns(self, labels: Sequence[str]) -> Sequence[Column]:
        """Return none."""
        del labels
        return ()

    def of_connections(self, flows: FlowTable) -> Sequence[str]:
        """Return nothing to say of any."""
        return [""] * len(flows)

    def of_groups(self, labels: Sequence[str]) -> Sequence[str]:
        """Return nothing to say of any."""
        return [""] * len(labels)


class KeptTrends:
    """Trends of the series in memory, which the file of earlier runs begins."""

    def __init__(self, history: History, by: GroupBy, file: HistoryFile | None) -> None:
        """Follow connections or groups."""
        self._history = history
        self._by = by
        self._file = file

    def add(self, interval: Interval) -> None:
        """Add it to the series, and to the file."""
        add_interval(self._history, interval, self._by)
        if self._file is not None:
            self._file.add(interval)

    def columns(self, shown: FlowTable) -> Sequence[Column]:
        """Return the column of trends."""
        return (_column(self._texts(connection_keys(shown))),)

    def group_columns(self, labels: Sequence[str]) -> Sequence[Column]:
        """Return the column of trends."""
        return (_column(self._texts(labels)),)

    def of_connections(self, flows: FlowTable) -> Sequence[str]:
        """Return the trends of those with the most bytes."""
        texts = [""] * len(flows)
        chosen = largest(bytes_of(flows), _MOST_TOLD)
        for row, text in zip(chosen.tolist(), self._texts(connection_keys(flows.where(chosen))), strict=True):
            texts[row] = text
        return texts

    def of_groups(self, labels: Sequence[str]) -> Sequence[str]:
        """Return the trends of the first ones."""
        return [*self._texts(labels[:_MOST_TOLD]), *[""] * len(labels[_MOST_TOLD:])]

    def _texts(self, keys: Sequence[Hashable]) -> list[str]:
        found = [self._history.series(key) for key in keys]
        return [series.text() if series is not None else "" for series in found]


@contextmanager
def opened_trends(args: argparse.Namespace, request: LiveRequest, by: GroupBy) -> Iterator[Trends]:
    """Yield what the options ask for; the history of earlier runs is read first."""
    duration_ns = args.history_duration_ns or DEFAULT_HISTORY_NS
    history = History(duration_ns=duration_ns) if args.trend else None
    file: HistoryFile | None = None
    if args.history_file is not None:
        require_regular(args.history_file)
        file = HistoryFile(args.history_file, header_of(request), duration_ns=duration_ns)
        for interval in file.earlier():
            if history is not None:
                add_interval(history, interval, by)
    try:
        yield KeptTrends(history, by, file) if history is not None else NoTrends(file)
    finally:
        if file is not None:
            file.close()


def _column(texts: Sequence[str]) -> Column:
    return Column(heading="TREND", rank=1, is_text=True, cells=[text or ABSENT for text in texts])
