"""Events of several machines as one stream, in the order of time by this machine's clock; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.model.event import EventCount, EventKind, EventStream
from perfcheck.remote.clock import Offset

_REASONS_OF_A_KERNEL: Final = 1 << 24
"""More than a kernel has: where kernels number their reasons differently, each has a range of its own."""

Records = npt.NDArray[Any]


def events_by_our_clock(stream: EventStream, clock: Offset) -> EventStream:
    """Return a stream with its times by this machine's clock."""
    records = stream.records.copy()
    records["ns"] = np.maximum(records["ns"].astype(np.int64) - clock.ns, 0)
    return replace(
        stream,
        records=records,
        start_ns=clock.here_ns(stream.start_ns),
        overflows=tuple(replace(one, ns=clock.here_ns(one.ns)) for one in stream.overflows),
    )


def joined_events(parts: Sequence[EventStream]) -> EventStream | None:
    """Return the streams of several machines as one; None where there is none.

    A CPU of one machine is another one than the CPU of that number elsewhere: events of a CPU are numbered.
    """
    if len(parts) < 2:
        return next(iter(parts), None)
    shifts = _shifts(parts)
    hosts: tuple[str, ...] = ()
    records: list[Records] = []
    cpus = 0
    for part, shift in zip(parts, shifts, strict=True):
        own = part.records.copy()
        own["host"] = np.where(own["host"] > 0, own["host"] + len(hosts), 0)
        own["cpu"] += cpus
        own["value"] += np.where(own["kind"] == EventKind.DROP, shift, 0).astype(own["value"].dtype)
        hosts += part.hosts
        cpus = 1 + int(own["cpu"].max()) if len(own) else cpus
        records.append(own)
    together = np.concatenate(records)
    return EventStream(
        records=together[np.argsort(together["ns"], kind="stable")],
        hosts=hosts,
        start_ns=min(part.start_ns for part in parts),
        counts=_counts(part.counts for part in parts),
        overflows=tuple(sorted((one for part in parts for one in part.overflows), key=lambda one: one.ns)),
        reasons=_numbered([part.reasons for part in parts], shifts),
        drop_metrics=_numbered([part.drop_metrics for part in parts], shifts),
    )


def _shifts(parts: Sequence[EventStream]) -> Sequence[int]:
    """Return what to add to each machine's numbers of reasons for drops, so that a number has one meaning."""
    first = parts[0]
    same = all((part.reasons, part.drop_metrics) == (first.reasons, first.drop_metrics) for part in parts)
    return [0 if same else place * _REASONS_OF_A_KERNEL for place in range(len(parts))]


def _numbered(names: Sequence[Mapping[int, str]], shifts: Sequence[int]) -> Mapping[int, str]:
    return {number + shift: name for each, shift in zip(names, shifts, strict=True) for number, name in each.items()}


def _counts(parts: Iterable[Mapping[EventKind, EventCount]]) -> Mapping[EventKind, EventCount]:
    found: dict[EventKind, EventCount] = {}
    for part in parts:
        for kind, one in part.items():
            before = found.get(kind, EventCount(seen=0, told=0))
            found[kind] = EventCount(
                seen=before.seen + one.seen, told=before.told + one.told, lost=before.lost + one.lost
            )  # fmt: skip
    return found
