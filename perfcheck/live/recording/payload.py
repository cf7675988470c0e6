"""One interval as JSON and bytes of columns, and back, with all of it checked.

A column whose values are all alike is written as one value: of most connections most counts are 0. The bytes of the
others are written by significance, all first bytes before all second ones, since the high ones are alike.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from perfcheck.live.recording.frames import MAX_DATA_BYTES, MAX_TEXT_BYTES
from perfcheck.live.recording.header import first_fault
from perfcheck.model.event import Event
from perfcheck.model.flow import FlowKey, Histogram
from perfcheck.model.flow_table import COLUMNS, FlowTable
from perfcheck.model.interval import Accounting, Interval

MAX_ROWS: Final = 200_000
MAX_EVENTS: Final = 20_000
_MOST: Final = 2**62
_MOST_SAMPLES: Final = 2**48
"""In a bucket; sums of thousands of intervals still fit 64 bits."""
_NOT_KEPT: Final = "recording"

_Count = Annotated[int, Field(ge=0, le=_MOST)]
_Signed = Annotated[int, Field(ge=-_MOST, le=_MOST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column in a frame: numpy's name of its type (little endian), and whether one value stands for all rows."""

    name: str
    dtype: str
    alike: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """An interval's JSON; what a newer perfcheck adds is passed over."""

    number: _Count
    begin_ns: _Count
    end_ns: _Count
    epoch_ns: _Signed
    rows: Annotated[int, Field(ge=0, le=MAX_ROWS)]
    columns: tuple[_Column, ...]
    netns: dict[Annotated[int, Field(ge=0, lt=2**32)], str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    hosts: dict[str, dict[str, float]] = field(default_factory=dict)
    interfaces: tuple[tuple[str, str, dict[str, float]], ...] = ()
    histograms: dict[str, Histogram] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    accounting: Accounting = field(default_factory=Accounting)
    lacks: dict[str, str] = field(default_factory=dict)


_TEXT: Final = TypeAdapter(_Text)


def encode_interval(interval: Interval) -> tuple[bytes, bytes]:
    """Return an interval's JSON and its columns; what is beyond a frame's bounds is left out, and `lacks` says so."""
    kept = _bounded(interval)
    columns, data = _encode_columns(kept.flows)
    text = _Text(
        number=kept.number, begin_ns=kept.begin_ns, end_ns=kept.end_ns, epoch_ns=kept.epoch_ns, rows=len(kept.flows),
        columns=columns, netns=dict(kept.flows.hosts), metrics=dict(kept.metrics),
        hosts={host: dict(metrics) for host, metrics in kept.hosts.items()},
        interfaces=tuple((host, name, dict(metrics)) for (host, name), metrics in kept.interfaces.items()),
        histograms=dict(kept.histograms), events=kept.events, accounting=kept.accounting, lacks=dict(kept.lacks),
    )  # fmt: skip
    # pydantic's own JSON writes null for an infinity, which an edge of a histogram may be.
    encoded = json.dumps(_TEXT.dump_python(text, mode="json"), separators=(",", ":")).encode()
    if len(encoded) > MAX_TEXT_BYTES and kept.events:
        return encode_interval(_without(replace(kept, events=()), "events: they are larger than a recording holds"))
    return encoded, data


def decode_interval(text: bytes, data: bytes) -> Interval:
    """Return the interval; ValueError says what is wrong with it."""
    try:
        read = _TEXT.validate_json(text)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
    if not read.begin_ns <= read.end_ns or read.begin_ns + read.epoch_ns < 0:
        raise ValueError("an interval's begin, end or time of day is out of range")
    _check_events(read.events, read.epoch_ns)
    for name, histogram in read.histograms.items():
        _check_histogram(name, histogram)
    _check_counts((read.accounting.opened, read.accounting.ended, read.accounting.refused, read.accounting.lost))
    return Interval(
        number=read.number, begin_ns=read.begin_ns, end_ns=read.end_ns, epoch_ns=read.epoch_ns,
        flows=FlowTable(columns=_decode_columns(read.columns, read.rows, data), hosts=read.netns),
        metrics=read.metrics, hosts=read.hosts,
        interfaces={(host, name): metrics for host, name, metrics in read.interfaces},
        histograms=read.histograms, events=read.events, accounting=read.accounting, lacks=read.lacks,
    )  # fmt: skip


def _bounded(interval: Interval) -> Interval:
    if len(interval.flows) > MAX_ROWS:
        said = f"connections: the first {MAX_ROWS} of {len(interval.flows)} are kept"
        interval = _without(replace(interval, flows=interval.flows.where(np.arange(MAX_ROWS))), said)
    if len(interval.events) > MAX_EVENTS:
        said = f"events: the first {MAX_EVENTS} of {len(interval.events)} are kept"
        interval = _without(replace(interval, events=interval.events[:MAX_EVENTS]), said)
    return interval


def _without(interval: Interval, said: str) -> Interval:
    before = interval.lacks.get(_NOT_KEPT)
    return replace(interval, lacks={**interval.lacks, _NOT_KEPT: f"{before}; {said}" if before else said})


def _encode_columns(table: FlowTable) -> tuple[tuple[_Column, ...], bytes]:
    rows = len(table)
    columns, parts = [], []
    for name, column in table.columns.items():
        little = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        size = little.dtype.itemsize
        raw = little.tobytes()
        alike = rows > 1 and raw == raw[:size] * rows
        columns.append(_Column(name=name, dtype=little.dtype.str, alike=alike))
        parts.append(raw[:size] if alike else np.frombuffer(raw, "u1").reshape(rows, size).T.tobytes())
    data = b"".join(parts)
    assert len(data) <= MAX_DATA_BYTES  # noqa: S101 - MAX_ROWS of known columns are fewer
    return tuple(columns), data


def _decode_columns(columns: Iterable[_Column], rows: int, data: bytes) -> Mapping[str, npt.NDArray[Any]]:
    """Return every column of `COLUMNS`: one that is not in the frame is empty, one that is not known is left out."""
    found = dict(FlowTable.empty(rows).columns)
    place = 0
    for column in columns:
        size = _size_of(column.dtype)
        end = place + size * (1 if column.alike else rows)
        if end > len(data):
            raise ValueError(f"column {column.name[:40]}: its values are missing")
        kind = COLUMNS.get(column.name)
        if kind is not None:
            if column.dtype != kind.newbyteorder("<").str:
                raise ValueError(f"column {column.name}: expected values of type {kind.str}, got {column.dtype[:20]}")
            found[column.name] = _values(data[place:end], column, kind, rows)
        place = end
    if place != len(data):
        raise ValueError(f"{len(data) - place} bytes of columns belong to no column")
    return found


def _size_of(dtype: str) -> int:
    """Return the bytes of a value of a type; no type of Python objects, and none of another shape."""
    if len(dtype) > 8 or dtype[1:2] not in ("u", "i", "f", "b", "S", "V") or not dtype[2:].isascii():
        raise ValueError(f"a column's type is {dtype[:20]!a}")
    try:
        size = np.dtype(dtype).itemsize
    except (TypeError, ValueError, SyntaxError):
        size = 0
    if not 0 < size <= 4096:
        raise ValueError(f"a column's type is {dtype[:20]!a}")
    return size


def _values(raw: bytes, column: _Column, kind: np.dtype[Any], rows: int) -> npt.NDArray[Any]:
    if column.alike:
        raw *= rows
    else:
        raw = np.frombuffer(raw, "u1").reshape(kind.itemsize, rows).T.tobytes()
    if kind == np.dtype("?"):
        return np.frombuffer(raw, "u1").astype(bool)  # a byte of 2 would be neither true nor false
    return np.frombuffer(raw, column.dtype).astype(kind)


def _check_events(events: Iterable[Event], epoch_ns: int) -> None:
    for event in events:
        _check_counts((event.timestamp_ns, event.number, *event.related))
        _check_counts((event.timestamp_ns + epoch_ns,))
        if event.flow is not None:
            _check_key(event.flow)
        if any(isinstance(value, int) and abs(value) > 4 * _MOST for value in event.context.values()):
            raise ValueError("a number in an event's context is out of range")


def _check_key(key: FlowKey) -> None:
    for address in (key.local, key.remote):
        ipaddress.ip_address(address)
    if not (0 <= key.local_port < 65536 and 0 <= key.remote_port < 65536):
        raise ValueError("an event's port is out of range")


def _check_histogram(name: str, histogram: Histogram) -> None:
    edges = histogram.edges
    if len(edges) != len(histogram.counts) + 1 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError(f"histogram {name[:40]}: expected ascending edges, one more than counts")
    if not all(map(math.isfinite, (histogram.minimum, histogram.maximum, histogram.total))):
        raise ValueError(f"histogram {name[:40]}: its minimum, maximum or total is not finite")
    if any(not 0 <= count <= _MOST_SAMPLES for count in (*histogram.counts, histogram.below, histogram.above)):
        raise ValueError(f"histogram {name[:40]}: a count is out of range")


def _check_counts(counts: Iterable[int]) -> None:
    if any(not 0 <= count <= _MOST for count in counts):
        raise ValueError("a count or a time is out of range")
