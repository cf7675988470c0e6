"""Metrics of the time that packets spent in each stage of their path; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.paths import STATIONS, Followed, Records
from perfcheck.model.catalogue import CATALOGUE

STAGES: Final = (
    ("socket.tx_stage_us", "offered", "written"),
    ("tcp.tx_stage_us", "written", "sent"),
    ("ip.tx_stage_us", "sent", "queued"),
    ("qdisc.tx_stage_us", "queued", "transmitted"),
    ("nic.wire_us", "transmitted", "received"),
    ("nic.rx_stage_us", "received", "softirq"),
    ("ip.rx_stage_us", "softirq", "tcp"),
    ("tcp.rx_stage_us", "tcp", "ready"),
    ("socket.rx_stage_us", "ready", "read"),
)  # fmt: skip
"""Name, and the stations between which the time counts; one that follows the other."""
WAY: Final = ("app.oneway_us", "offered", "read")
_QUANTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


def stage_ns(packets: Records, begin: str, end: str) -> npt.NDArray[np.int64]:
    """Return the time between two stations of each packet, -1 where either was not seen.

    A device that hands packets to the softirq itself has no `received`: the wire ends at the softirq.
    """
    last = packets[f"{end}_ns"]
    if end == "received":
        last = np.where(last > 0, last, packets["softirq_ns"])
    first = packets[f"{begin}_ns"]
    return np.where((first > 0) & (last > 0), last - first, -1)


def stage_metrics(followed: Followed) -> dict[str, float]:
    """Return the catalogue's metrics of a trial's packets; nothing where none was followed."""
    packets = followed.packets[followed.packets["counts"]]
    if not len(packets):
        return {}
    found: dict[str, float] = {}
    for name, begin, end in (*STAGES, WAY):
        spent = stage_ns(packets, begin, end)
        found |= dict(_statistics(name, spent[spent >= 0] / 1000))
    found |= dict(_statistics("nic.driver_us", packets["driver_ns"] / 1000))
    arrived = int(((packets["received_ns"] > 0) | (packets["softirq_ns"] > 0)).sum())
    if arrived:
        lost = int(packets["lost"].sum())
        found["nic.wire_loss_pct"] = 100 * lost / (arrived + lost)
    found["nic.followed_packets"] = float(packets["segments"].sum())
    return found


def _statistics(name: str, values: npt.NDArray[Any]) -> Iterator[tuple[str, float]]:
    if not len(values):
        return
    for stat, value in zip(_QUANTILES, np.percentile(values, list(_QUANTILES.values())), strict=True):
        if f"{name}.{stat}" in CATALOGUE:
            yield f"{name}.{stat}", float(value)
    for stat, value in (("mean", values.mean()), ("min", values.min()), ("max", values.max())):
        if f"{name}.{stat}" in CATALOGUE:
            yield f"{name}.{stat}", float(value)


def complete(packets: Records) -> npt.NDArray[np.bool_]:
    """Tell which packets were seen at the application's end and at each station that any packet was seen at."""
    seen = [name for name in STATIONS if (packets[f"{name}_ns"] > 0).any()]
    whole = np.ones(len(packets), np.bool_)
    for name in seen:
        whole &= packets[f"{name}_ns"] > 0
    return whole
