"""Where a packet's time went, in the order of its path; detail mode adds this to a scenario's results."""

from __future__ import annotations

from typing import Final

from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import RunRecord
from perfcheck.model.units import format_value

WAY: Final = (
    ("socket.tx_stage_us", "waiting for room in the send buffer"),
    ("tcp.tx_stage_us", "in the send buffer: congestion or receive window, pacing, recovery"),
    ("ip.tx_stage_us", "IP and netfilter of the sender"),
    ("qdisc.tx_stage_us", "the sending device's queue"),
    ("nic.wire_us", "the link and the hosts in between"),
    ("nic.rx_stage_us", "waiting for the softirq"),
    ("ip.rx_stage_us", "IP, netfilter, the socket's backlog"),
    ("tcp.rx_stage_us", "waiting for missing segments before it"),
    ("socket.rx_stage_us", "waiting for the application to read"),
    ("app.oneway_us", "from send() to recv()"),
)
"""Metrics without their stat, and where the time goes (docs/detail.md)."""

_STATS: Final = ("p50", "p99", "max")


def stage_lines(record: RunRecord) -> tuple[str, ...]:
    """Return an aligned table of the stages' times, medians over the runs; nothing where no packet was followed."""
    rows = [
        (name, *(_shown(record, f"{name}.{stat}") for stat in _STATS), meaning)
        for name, meaning in WAY
        if f"{name}.{_STATS[0]}" in record.metrics
    ]
    if not rows:
        return ()
    lines = [("time of a packet in", *_STATS, ""), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return tuple(
        "  ".join(
            (name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(values, widths[1:], strict=False)), why)
        ).rstrip()
        for name, *values, why in lines
    )


def _shown(record: RunRecord, metric: str) -> str:
    found = record.metrics.get(metric)
    return format_value(found.value, CATALOGUE[metric].unit) if found is not None else ""
