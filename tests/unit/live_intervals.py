"""Intervals of a live machine that tests make by hand, and whether two are the same."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Accounting, Interval

SECOND_NS = 1_000_000_000
EPOCH_NS = 1_790_000_000 * SECOND_NS


def packed(address: str) -> bytes:
    """Return an address as the kernel's 16 bytes."""
    return ipaddress.ip_address(address).packed.ljust(16, b"\0")


def flow_table(rows: int = 1, **columns: Any) -> FlowTable:
    """Return a table of connections 10.0.0.1:4xxxx -> 10.0.0.2:5201; columns are one value, or one a row."""
    table = FlowTable.empty(rows, hosts={4026531840: ""})
    made: dict[str, Any] = {
        "cookie": np.arange(1, rows + 1), "netns": 4026531840, "family": 2, "local": packed("10.0.0.1"),
        "local_port": 40000 + np.arange(rows) % 25000, "remote": packed("10.0.0.2"), "remote_port": 5201,
        "pid": 100, "comm": b"iperf3", "congestion": b"cubic",
    }  # fmt: skip
    for name, value in {**made, **columns}.items():
        column = table.columns[name]
        column[:] = np.asarray(value, column.dtype) if isinstance(value, bytes) else value
    return table


def interval(number: int = 0, flows: FlowTable | None = None, **more: Any) -> Interval:
    """Return the interval of this number, each a second long; the first begins at 1000 s."""
    begin_ns = (1000 + number) * SECOND_NS
    return Interval(
        number=number, begin_ns=begin_ns, end_ns=begin_ns + SECOND_NS, epoch_ns=EPOCH_NS,
        flows=flow_table() if flows is None else flows, **more,
    )  # fmt: skip


def a_histogram(counts: Sequence[int] = (1, 2, 3)) -> Histogram:
    """Return a histogram of round trips."""
    edges = tuple(10.0 * 2**step for step in range(len(counts) + 1))
    return Histogram(unit="us", edges=edges, counts=tuple(counts), below=1, minimum=1.5, maximum=80.25, total=300.125)


def difference(one: Interval, other: Interval) -> str | None:
    """Return the first thing in which two intervals differ, or None."""
    for field in fields(Interval):
        if field.name != "flows" and _plain(getattr(one, field.name)) != _plain(getattr(other, field.name)):
            return field.name
    if dict(one.flows.hosts) != dict(other.flows.hosts):
        return "hosts of flows"
    for name, column in one.flows.columns.items():
        found = other.flows[name]
        if found.dtype != column.dtype or found.tobytes() != column.tobytes():
            return f"column {name}"
    return None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


FULL_ACCOUNTING = Accounting(
    opened=3, ended=2, refused=1, lost=4, cpu_pct=0.25, bpf_pct=0.125, shed=("detail", "events of drops")
)
"""Accounting in which nothing is its default."""
