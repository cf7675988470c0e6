"""One interval as the screen keeps it: all that is shown of it, in a few hundred bytes a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.alerts import Alert
from perfcheck.model.flow_table import IDENTITY, FlowTable
from perfcheck.model.interval import Accounting
from perfcheck.model.record import DiagnosisRecord

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_BESIDE_FLOWS: Final = 16_384
_OF_AN_ALERT: Final = 1024
_OF_AN_EVENT: Final = 256
"""Bytes that objects take, about: a frame's own, and each of what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The figures of all connections together; NaN where there is none."""

    flows: int
    opened: int
    ended: int
    send_bps: float
    receive_bps: float
    retrans_pct: float
    rtt_p50_us: float
    rtt_p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The diagnosis of several intervals, the most probable cause first; `number` is the last interval's."""

    text: str
    causes: tuple[DiagnosisRecord, ...]
    number: int
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The time that packets of all connections spent in one stage, in us."""

    name: str
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One interval. `index` counts from 0 in the order of time.

    `flows` has numbers as 32-bit floats. `keys` stand for connections over intervals, and `order` sorts them.
    `limits` are places in `bottleneck.NAMES`, each with its share. `events` are of the kernel, in words, by flow.
    """

    index: int
    number: int
    begin_ns: int
    end_ns: int
    epoch_ns: int
    flows: FlowTable
    keys: Keys
    order: npt.NDArray[np.int32]
    limits: npt.NDArray[np.int8]
    limit_pct: Floats
    headline: Headline
    accounting: Accounting
    alerts: tuple[Alert, ...] = ()
    judgement: Judgement | None = None
    stages: tuple[Stage, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    events: tuple[tuple[str, str], ...] = ()

    @property
    def seconds(self) -> float:
        """The interval's length."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def at_ns(self) -> int:
        """The interval's end, as time of day."""
        return self.end_ns + self.epoch_ns

    @property
    def size(self) -> int:
        """How many bytes it takes in memory, about."""
        own = sum(column.nbytes for column in self.flows.columns.values())
        own += _OF_AN_ALERT * len(self.alerts) + _OF_AN_EVENT * len(self.events)
        return own + self.keys.nbytes + self.order.nbytes + self.limits.nbytes + self.limit_pct.nbytes + _BESIDE_FLOWS

    def rows_of(self, keys: Keys) -> npt.NDArray[np.intp]:
        """Return the row of each key, -1 where the connection is not there."""
        if not len(self.keys) or not len(keys):
            return np.full(len(keys), -1, np.intp)
        ordered = self.keys[self.order]
        place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
        return np.where(ordered[place] == keys, self.order[place], -1).astype(np.intp)


def keys_of(flows: FlowTable) -> Keys:
    """Return a number that stands for each connection: its socket's cookie, turned by its namespace."""
    with np.errstate(over="ignore"):
        mixed: Keys = flows["cookie"] ^ (flows["netns"].astype(np.uint64) * _GOLDEN)
    return mixed


def compact(flows: FlowTable) -> FlowTable:
    """Return a table that takes less memory: numbers that are only shown have seven digits."""
    made: dict[str, npt.NDArray[Any]] = {
        name: column if name in IDENTITY else _single(column) for name, column in flows.columns.items()
    }
    return FlowTable(columns=made, hosts=flows.hosts)


def _single(column: npt.NDArray[Any]) -> Floats:
    limits = np.finfo(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        single: Floats = np.clip(column, limits.min, limits.max).astype(np.float32)
    return single


def series(frames: Sequence[Frame], keys: Keys, name: str) -> Floats:
    """Return a column of these connections over frames: a row a connection, NaN where it was not there."""
    found = np.full((len(keys), len(frames)), np.nan, np.float32)
    for place, frame in enumerate(frames):
        rows = frame.rows_of(keys)
        there = rows >= 0
        found[there, place] = frame.flows[name][rows[there]]
    return found


def keys_array(keys: Sequence[int]) -> Keys:
    """Return keys as an array."""
    return np.array(keys, np.uint64)
