"""Several intervals as one: what a watch of seconds says as a whole, whether it is live or from a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.histogram import merge, statistics
from perfcheck.live.figures import tcp_figures
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import COUNTS, FlowTable
from perfcheck.model.interval import Accounting, Interval
from perfcheck.model.metric import STATS

NUMBERS_NOW: Final = frozenset({
    "ip.neighbours", "ip.neighbours_failed", "ip.conntrack_entries", "ip.ovs_flows", "nic.rx_queues", "nic.tx_queues",
})  # fmt: skip
"""Counts of what there is, not of what happened."""
SUMMED_TIMES: Final = frozenset({"cpu.off_voluntary_us", "cpu.off_forced_us"})
"""Times that are sums over an interval."""
_AT_ONCE: Final = frozenset({"tcp.connections"})
"""Counts of what was there at a time: of several intervals without flows the most that there were."""
_EXTREMES: Final = {"max": max, "min": min}


def together(intervals: Sequence[Interval]) -> Interval:
    """Return one interval from the first one's begin to the last one's end; ValueError for none.

    Counts are added, shares are means by time, percentiles are those of the merged histograms. Connections have what
    they did in all of it, and the latest of what only has a latest value.
    """
    if not intervals:
        raise ValueError("no interval")
    first, last = intervals[0], intervals[-1]
    flows = merged_flows([one.flows for one in intervals])
    histograms = merged_histograms([one.histograms for one in intervals])
    seconds = sum(one.seconds for one in intervals)
    metrics = merged_metrics([(one.seconds, one.metrics) for one in intervals], histograms)
    return replace(
        last, begin_ns=first.begin_ns, flows=flows, histograms=histograms,
        metrics=metrics | tcp_figures(flows, histograms, seconds),
        hosts=_by_name([(one.seconds, one.hosts) for one in intervals]),
        interfaces=_by_name([(one.seconds, one.interfaces) for one in intervals]),
        events=tuple(chain.from_iterable(one.events for one in intervals)),
        accounting=added([one.accounting for one in intervals], [one.seconds for one in intervals]),
    )  # fmt: skip


def merged_flows(tables: Sequence[FlowTable]) -> FlowTable:
    """Return each connection once, with the sums of its counts, and its latest values."""
    hosts = {inode: name for table in tables for inode, name in table.hosts.items()}
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0].columns}
    whose = np.zeros(len(columns["cookie"]), np.dtype([("netns", "u4"), ("cookie", "u8")]))
    whose["netns"], whose["cookie"] = columns["netns"], columns["cookie"]
    _, place = np.unique(whose, return_inverse=True)
    place = place.reshape(-1)
    number = int(place.max()) + 1 if place.size else 0
    latest = np.zeros(number, np.int64)
    np.maximum.at(latest, place, np.arange(len(place)))
    made = {name: column[latest] for name, column in columns.items()}
    for name in COUNTS:
        made[name] = np.zeros(number, np.uint64)
        np.add.at(made[name], place, columns[name])
    _merge_values(made, columns, place)
    return FlowTable.of(made, hosts)


def _merge_values(
    made: dict[str, npt.NDArray[Any]], columns: Mapping[str, npt.NDArray[Any]], place: npt.NDArray[Any]
) -> None:  # fmt: skip
    """Give the whole's extremes, means and rates; percentiles of parts are none of the whole."""
    number = len(made["cookie"])
    for name, extreme, worst in (
        ("rtt_min_us", np.minimum, np.inf), ("cwnd_min_segs", np.minimum, np.inf), ("rtt_max_us", np.maximum, -np.inf),
        ("cwnd_max_segs", np.maximum, -np.inf), ("inflight_max_segs", np.maximum, -np.inf),
    ):  # fmt: skip
        found = np.full(number, worst)
        known = ~np.isnan(columns[name])
        extreme.at(found, place[known], columns[name][known])
        made[name] = np.where(np.isinf(found), np.nan, found)
    counts = columns["rtt_count"].astype(np.float64)
    total = np.zeros(number)
    np.add.at(total, place, np.nan_to_num(columns["rtt_mean_us"]) * counts)
    known_counts = made["rtt_count"].astype(np.float64)
    made["rtt_mean_us"] = np.divide(total, known_counts, out=np.full(number, np.nan), where=known_counts > 0)
    several = np.bincount(place, minlength=number) > 1
    for stat in ("p50", "p90", "p99"):
        made[f"rtt_{stat}_us"] = np.where(several, np.nan, made[f"rtt_{stat}_us"])
    seconds = np.maximum(made["elapsed_us"] / 1e6, 1e-3)
    made["send_bps"], made["receive_bps"] = made["bytes_acked"] * 8 / seconds, made["bytes_received"] * 8 / seconds


def merged_histograms(parts: Sequence[Mapping[str, Histogram]]) -> dict[str, Histogram]:
    """Return the sum of each histogram."""
    found = {}
    for name in dict.fromkeys(chain.from_iterable(parts)):
        whole = merge([part[name] for part in parts if name in part])
        if whole is not None:
            found[name] = whole
    return found


def merged_metrics(
    parts: Sequence[tuple[float, Mapping[str, float]]], histograms: Mapping[str, Histogram]
) -> dict[str, float]:  # fmt: skip
    """Return the metrics of parts of so many seconds each as those of the whole, by what their units say."""
    named = {f"{name}.{stat}": value for name, one in histograms.items() for stat, value in statistics(one).items()}
    found = {}
    for name in dict.fromkeys(chain.from_iterable(metrics for _, metrics in parts)):
        known = [(seconds, metrics[name]) for seconds, metrics in parts if name in metrics]
        values = [value for _, value in known]
        stat = name.rpartition(".")[2]
        if name in named:
            found[name] = named[name]
        elif stat in _EXTREMES:
            found[name] = _EXTREMES[stat](values)
        elif stat not in STATS and is_summed(name):
            found[name] = sum(values)
        elif name in NUMBERS_NOW:
            found[name] = values[-1]
        elif name in _AT_ONCE:
            found[name] = max(values)
        else:
            found[name] = _mean(known)
    return found


def is_summed(name: str) -> bool:
    """Return whether a metric counts what happened, so that two intervals' values add up."""
    spec = CATALOGUE.get(name)
    counted = spec is not None and (spec.unit in {"count", "events", "segs"} or name in SUMMED_TIMES)
    return counted and name not in NUMBERS_NOW | _AT_ONCE


def _mean(known: Sequence[tuple[float, float]]) -> float:
    whole = sum(seconds for seconds, _ in known)
    return sum(seconds * value for seconds, value in known) / whole if whole else known[-1][1]


def _by_name(parts: Sequence[tuple[float, Mapping[Any, Mapping[str, float]]]]) -> dict[Any, dict[str, float]]:
    names = dict.fromkeys(chain.from_iterable(part for _, part in parts))
    return {name: merged_metrics([(seconds, part.get(name, {})) for seconds, part in parts], {}) for name in names}


def added(parts: Sequence[Accounting], seconds: Sequence[float]) -> Accounting:
    """Return the sums of what was opened, ended and lost, and the mean cost."""
    whole = sum(seconds) or 1.0
    return Accounting(
        opened=sum(one.opened for one in parts), ended=sum(one.ended for one in parts),
        refused=sum(one.refused for one in parts), lost=sum(one.lost for one in parts),
        cpu_pct=sum(one.cpu_pct * took for one, took in zip(parts, seconds, strict=True)) / whole,
        bpf_pct=sum(one.bpf_pct * took for one, took in zip(parts, seconds, strict=True)) / whole,
        shed=parts[-1].shed,
    )  # fmt: skip
