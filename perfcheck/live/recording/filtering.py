"""Filters on what a recording holds: the kernel's part of them, done here for whole columns at once."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from perfcheck.errors import UsageError
from perfcheck.model.event import Event
from perfcheck.model.flow import Protocol, flow_id
from perfcheck.model.flow_filter import End, FlowFilter
from perfcheck.model.flow_table import AF_INET, FlowTable
from perfcheck.model.interval import Interval

Mask = npt.NDArray[np.bool_]

_MAPPED: Final = np.frombuffer(bytes(10) + b"\xff\xff", "u1")
_COMM_BYTES: Final = 15
"""The kernel's names of tasks are no longer."""


def require_answerable(wanted: FlowFilter, recorded: FlowFilter) -> None:
    """Raise UsageError where a filter needs what a recording does not hold, unless it was recorded with that filter."""
    for option, asked, had in (
        ("--cgroup", wanted.cgroup, recorded.cgroup), ("--interface", wanted.interface, recorded.interface)
    ):  # fmt: skip
        if asked is not None and asked != had:
            raise UsageError(f"{option} cannot filter a recording: give it to the perfctl record that makes it")


def filtered(interval: Interval, wanted: FlowFilter, netns: Collection[str] = ()) -> Interval:
    """Return the interval with the connections and events that pass.

    The histograms are of all recorded connections together: where one of these does not pass they are left out.
    """
    mask = rows_passing(interval.flows, wanted, netns)
    if mask.all():
        return interval
    flows = interval.flows.where(mask)
    lacks = dict(interval.lacks)
    if interval.histograms:
        lacks["histograms"] = "the recording has them of all its connections together; record with this filter"
    return replace(
        interval, flows=flows, histograms={}, lacks=lacks, events=_events(interval.events, flows, wanted)
    )  # fmt: skip


def rows_passing(table: FlowTable, wanted: FlowFilter, netns: Collection[str] = ()) -> Mask:
    """Return which rows pass, as `FlowFilter.passes_ends` says of each, and by process, name and namespace."""
    mask: Mask = np.ones(len(table), bool)
    if wanted.protocol not in (None, Protocol.TCP):
        mask[:] = False
    if wanted.pid is not None:
        mask &= table["pid"] == wanted.pid
    if wanted.comm is not None:
        mask &= table["comm"] == wanted.comm.encode(errors="surrogateescape")[:_COMM_BYTES]
    if netns:
        numbers = [number for number, name in table.hosts.items() if name in netns]
        mask &= np.isin(table["netns"], numbers)
    ends = _Ends(table)
    mask &= ends.passes("local", wanted.local) & ends.passes("remote", wanted.remote)
    one_way = ends.passes("local", wanted.source) & ends.passes("remote", wanted.target)
    other_way = ends.passes("remote", wanted.source) & ends.passes("local", wanted.target)
    mask &= one_way | other_way
    return mask


class _Ends:
    """The ends of a table's rows; addresses are unpacked only where a filter asks for one."""

    def __init__(self, table: FlowTable) -> None:
        self._table = table

    def passes(self, side: str, end: End) -> Mask:
        """Return which rows' end of a side passes."""
        ports = self._table[f"{side}_port"]
        mask: Mask = np.logical_and(ports >= end.ports[0], ports <= end.ports[1])
        if end.network is None:
            return mask
        raw, is_ipv4 = self._addresses(side)
        if end.network.version == 4:
            return np.logical_and(mask & is_ipv4, _in_network(raw[:, 12:], end.network))
        return np.logical_and(mask & ~is_ipv4, _in_network(raw, end.network))

    def _addresses(self, side: str) -> tuple[npt.NDArray[np.uint8], Mask]:
        """Return addresses as 16 bytes, IPv4 mapped into IPv6, and which are IPv4."""
        raw = np.frombuffer(self._table[side].tobytes(), "u1").reshape(-1, 16).copy()
        plain = self._table["family"] == AF_INET
        raw[plain, 12:] = raw[plain, :4]
        raw[plain, :12] = _MAPPED
        return raw, (raw[:, :12] == _MAPPED).all(axis=1)


def _in_network(raw: npt.NDArray[np.uint8], network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Mask:
    bits = np.frombuffer(network.netmask.packed, "u1")
    found: Mask = np.all((raw & bits) == np.frombuffer(network.network_address.packed, "u1"), axis=1)
    return found


def _events(events: tuple[Event, ...], flows: FlowTable, wanted: FlowFilter) -> tuple[Event, ...]:
    """Return the events of flows that pass, and those of no flow."""
    if wanted.pid is None and wanted.comm is None:
        return tuple(event for event in events if event.flow is None or wanted.passes_ends(event.flow))
    kept = {flow_id(key) for key in flows.keys()} if events else set()  # noqa: SIM118 - not a mapping
    return tuple(event for event in events if event.flow is None or flow_id(event.flow) in kept)
