"""Two hosts' records of packets as one stream: whose clocks differ, and whose packets are the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.live.clock_offset import Offset, offset_of, one_way_ns
from perfcheck.live.detail_file import SavedDetail
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.units import format_value

_BY_TIME_OF_DAY: Final = "the time of day of both hosts"
MOST_HOSTS: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Both ends' records in the clock of the first, and how the clocks were compared, in one sentence."""

    stream: DetailStream
    offset: Offset
    how: str


def joined(first: SavedDetail, second: SavedDetail) -> Joined:
    """Join two hosts' records; ValueError where they have no packet in common."""
    if not first.stream.flows.keys() & second.stream.flows.keys():
        raise ValueError("the files have no flow in common: both hosts have to follow the same flow at the same time")
    if len(first.stream.hosts) + len(second.stream.hosts) > MOST_HOSTS:
        raise ValueError(f"the files have more than {MOST_HOSTS} hosts together")
    rough = first.epoch_ns - second.epoch_ns
    together = _together(first.stream, second.stream, rough)
    ours = frozenset(range(1, len(first.stream.hosts) + 1))
    theirs = frozenset(range(len(ours) + 1, len(together.hosts) + 1))
    forward, back = one_way_ns(together, ours, theirs), one_way_ns(together, theirs, ours)
    found = offset_of(forward, back)
    if not (len(forward) or len(back)):
        raise ValueError("the files have no packet in common: both hosts have to follow at the same time")
    if found is None:
        least = [int(each.min()) for each in (forward, back) if len(each)]
        shift, why = _without_return(least, bool(len(forward)))
        offset = Offset(ns=rough + shift, error_ns=None, forward=len(forward), back=len(back))
        return Joined(stream=_together(first.stream, second.stream, offset.ns), offset=offset, how=why)
    offset = replace(found, ns=rough + found.ns)
    return Joined(stream=_together(first.stream, second.stream, offset.ns), offset=offset, how=_said(offset))


def _said(offset: Offset) -> str:
    error = format_value(offset.error_ns or 0, "ns")
    return (f"the second host's clock is {_signed(offset.ns)} the first's, +- {error}: half of the smallest round "
            f"trip, of {offset.forward} packets there and {offset.back} back")  # fmt: skip


def _without_return(least: list[int], went_forward: bool) -> tuple[int, str]:
    """Return how far to move the second clock, and why: nothing arrives before it is sent."""
    said = (f"data went one way only, so that the clocks are compared by {_BY_TIME_OF_DAY}: the error is not known, "
            "and the time on the wire holds it")  # fmt: skip
    if least and least[0] < 0:
        moved = format_value(-least[0], "ns")
        return least[0] if went_forward else -least[0], f"{said}; moved by {moved}, since packets came before they left"
    return 0, said


def _signed(ns: int) -> str:
    return f"{format_value(abs(ns), 'ns')} {'ahead of' if ns >= 0 else 'behind'}"


def _together(first: DetailStream, second: DetailStream, offset_ns: int) -> DetailStream:
    """Return both streams as one, the second's times moved into the first's clock."""
    events = np.concatenate((first.events, _moved(second.events, offset_ns, len(first.hosts))))
    events = events[np.argsort(events["ns"], kind="stable")]
    start_ns = max(first.start_ns, second.start_ns - offset_ns)
    return DetailStream(
        events=events, hosts=(*first.hosts, *second.hosts), flows={**second.flows, **first.flows},
        start_ns=start_ns, end_ns=max(min(first.end_ns, second.end_ns - offset_ns), start_ns),
        share=min(first.share, second.share), lost=first.lost + second.lost, written=first.written + second.written,
        told=tuple(_told(first, second)), filtered=first.filtered or second.filtered,
    )  # fmt: skip


def _moved(events: npt.NDArray[Any], offset_ns: int, hosts: int) -> npt.NDArray[Any]:
    made = events.copy()
    made["ns"] = np.maximum(events["ns"].astype(np.int64) - offset_ns, 1)
    sent = events["sent_ns"]
    # Of a flow's ends it is a port; 0: not known.
    is_time = (events["kind"] > Kind.FLOW_TARGET) & (sent > 0)
    made["sent_ns"] = np.where(is_time, np.maximum(sent.astype(np.int64) - offset_ns, 1), sent)
    made["host"] += hosts
    return made


def _told(first: DetailStream, second: DetailStream) -> Iterator[str]:
    yield from (f"first file: {text}" for text in first.told)
    yield from (f"second file: {text}" for text in second.told)
