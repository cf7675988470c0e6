"""Leaves the connection that an agent is reached by out of what its collectors saw: it is none of the scenario's."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perfcheck.model.event import EventCount, EventKind, EventStream
from perfcheck.model.flow import FlowKey
from perfcheck.model.observation import Observation

if TYPE_CHECKING:
    import numpy.typing as npt

Endpoints = tuple[str, int, str, int]
"""Local and remote address and port."""


def without_connection(seen: Observation, own: Endpoints | None) -> Observation:
    """Return what was seen but for one connection."""
    if own is None:
        return seen
    return replace(
        seen,
        tcp_sockets=tuple(one for one in seen.tcp_sockets if _ends(one.key) != own),
        socket_buffers=tuple(one for one in seen.socket_buffers if _ends(one.key) != own),
        events=None if seen.events is None else _events_without(seen.events, own),
    )


def _ends(key: FlowKey) -> Endpoints:
    return key.local, key.local_port, key.remote, key.remote_port


def _events_without(stream: EventStream, own: Endpoints) -> EventStream:
    here, there = own[:2], own[2:]
    ours = _between(stream.records, here, there) | _between(stream.records, there, here)
    left_out = Counter(map(EventKind, stream.records["kind"][ours].tolist()))
    return replace(stream, records=stream.records[~ours], counts=_less(stream.counts, left_out))


def _between(records: npt.NDArray[Any], source: tuple[str, int], target: tuple[str, int]) -> npt.NDArray[Any]:
    """Return which records are of packets of this direction."""
    found: npt.NDArray[Any] = records["flow"] != 0
    for end, (address, port) in (("source", source), ("target", target)):
        high, low = _halves(address)
        found &= (records[end]["high"] == high) & (records[end]["low"] == low) & (records[f"{end}_port"] == port)
    return found


def _halves(address: str) -> tuple[int, int]:
    """Return an address as a `struct pc_address` has it (bpf/packet.h)."""
    packed = ipaddress.ip_address(address).packed
    if len(packed) == 4:
        return 0, int.from_bytes(packed, "little")
    return int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:], "little")


def _less(counts: Mapping[EventKind, EventCount], left_out: Counter[EventKind]) -> dict[EventKind, EventCount]:
    found = {}
    for kind, one in counts.items():
        fewer = left_out[kind]
        if one.seen > fewer:
            found[kind] = replace(one, seen=one.seen - fewer, told=one.told - fewer)
    return found
