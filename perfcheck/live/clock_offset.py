"""How far two hosts' clocks are apart, from packets that went both ways; pure functions.

As NTP does it: the fastest packet of each direction took its one-way delay plus, or minus, what the clocks differ by.
Half the difference of both is the offset where the delays are alike. Delays are not negative, so the error is at most
half their sum, which is half of the smallest round trip. Clocks that run at different rates drift meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.ranges import TimedRanges, unwrapped
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.flow import Protocol

Ints = npt.NDArray[np.int64]
_NO_NS: Final = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """What the second host's clock is ahead of the first's by, and the largest error; None: it is not known."""

    ns: int
    error_ns: int | None
    forward: int = 0
    back: int = 0
    """How many packets of each direction it rests on."""


def offset_of(forward_ns: Ints, back_ns: Ints) -> Offset | None:
    """Return the offset from one-way differences (arrival at the one clock minus sending at the other).

    `forward_ns` are of packets from the first host to the second. None where a direction has no packet.
    """
    if not (len(forward_ns) and len(back_ns)):
        return None
    there, back = int(forward_ns.min()), int(back_ns.min())
    # Rounded up: whole numbers must not make the error smaller.
    error = max(-(-(there + back) // 2), 0)
    return Offset(ns=(there - back) // 2, error_ns=error, forward=len(forward_ns), back=len(back_ns))


def one_way_ns(stream: DetailStream, source: frozenset[int], target: frozenset[int]) -> Ints:
    """Return the one-way differences of packets from hosts of one set of numbers to hosts of the other.

    Only packets count whose last byte was sent once and came once, so that they are the same without any doubt.
    """
    parts = list(_by_flow(stream, source, target))
    return np.concatenate(parts) if parts else _NO_NS


def _by_flow(stream: DetailStream, source: frozenset[int], target: frozenset[int]) -> Iterator[Ints]:
    events = stream.events
    events = events[(events["flow"] != 0) & (events["kind"] >= Kind.WRITE) & (events["kind"] <= Kind.READ)]
    for flow, key in stream.flows.items():
        records = events[events["flow"] == np.uint64(flow)]
        if key.protocol is Protocol.TCP and len(records):
            yield _differences(records, source, target)


def _differences(records: npt.NDArray[Any], source: frozenset[int], target: frozenset[int]) -> Ints:
    position = unwrapped(records["seq"])
    ends = position + records["length"].astype(np.int64)
    sent = (records["kind"] == Kind.TX_NIC) & np.isin(records["host"], list(source))
    came = np.isin(records["host"], list(target))
    by_device = came & (records["kind"] == Kind.RX_NIC)
    came = by_device if by_device.any() else came & (records["kind"] == Kind.RX_IP)
    if not (sent.any() and came.any()):
        return _NO_NS
    ns = records["ns"].astype(np.int64)
    sendings = TimedRanges(position[sent], ends[sent], ns[sent])
    arrivals = TimedRanges(position[came], ends[came], ns[came])
    last = ends[sent] - 1
    once = (sendings.covering(last) == 1) & (arrivals.covering(last) == 1)
    found = arrivals.nth(last[once], np.zeros(int(once.sum()), np.int64))
    differences: Ints = ns[came][found] - ns[sent][once]
    return differences
