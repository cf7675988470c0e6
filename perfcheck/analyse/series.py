"""Curves of a trial, from what was sampled at each interval and what the generators reported.

A traffic entry's figures are those of its senders together: counters and rates are summed, shares are of the time of
all of them, the state of windows and timers is their mean, percentiles are of all values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.bucket_rows import quantiles
from perfcheck.analyse.flows import Identity, identity, measured_connections
from perfcheck.analyse.subjects import alone
from perfcheck.analyse.trial import timed
from perfcheck.model.flow import FlowKey
from perfcheck.model.observation import Observation, Timings, TrafficReport
from perfcheck.model.series import FLOW, BufferLooks, Curve, FlowSamples, NamedSamples, Rows, Samples
from perfcheck.model.traffic import TrafficSpec, entry_names

_STATES: Final = ("open", "disorder", "cwr", "recovery", "loss")
_COUNTS: Final = (
    "retrans_segs", "retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs", "retrans_syn_segs", "lost_segs",
    "data_segs_out",
)  # fmt: skip
_STATE: Final = ("cwnd_segs", "ssthresh_segs", "srtt_us", "inflight_segs")
_NO_SSTHRESH: Final = 0x7FFFFFFF
_NONE: Final = -1
_DUST: Final = 1e-11
"""A smaller share of all that arrived is rounding of sums."""
_PERCENTILES: Final = (("p50", 0.5), ("p99", 0.99))
_RATES: Final = (
    ("app.throughput_bps", "size_bytes", 8), ("app.requests_per_s", "answers", 1),
    ("app.connections_per_s", "connections", 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """The intervals: the end of each in the traffic's time, and its length."""

    ends_ns: npt.NDArray[np.int64]
    length_ns: npt.NDArray[np.int64]
    began_ns: int

    @classmethod
    def of(cls, samples: Samples, zero_ns: int) -> _Grid:
        edges = np.concatenate(([samples.began_ns], samples.ticks_ns))
        return cls(
            ends_ns=samples.ticks_ns - zero_ns, length_ns=np.maximum(np.diff(edges), 1),
            began_ns=samples.began_ns - zero_ns,
        )  # fmt: skip


def curves(
    samples: Samples, entries: Sequence[TrafficSpec], reports: Sequence[TrafficReport],
    observations: Sequence[Observation],
) -> Iterator[Curve]:  # fmt: skip
    """Yield all curves of a trial in parts, each in the order of time; 0 is when the first generator's traffic began.

    `reports` are in the order of the scenario's traffic.
    """
    zero_ns = traffic_zero_ns(samples, reports)
    grid = _Grid.of(samples, zero_ns)
    names = entry_names(entries)
    ends = [_ends(reports, index, observations) for index in range(len(reports))]
    for flows in samples.flows:
        group_of = _group_of(flows.keys, [senders for senders, _ in ends])
        yield from _flow_curves(flows, group_of, names, grid)
        rtts = (_regrouped(rows, group_of) for rows in whole_ticks(flows.rtts()))
        yield from _distributions(rtts, [(name, "tcp.rtt_us") for name in names], flows.edges_us, grid)
    for named in samples.named:
        yield from _named(named, grid)
    yield from _buffers(samples.buffers, ends, names, zero_ns)
    for name, report in zip(names, timed(reports, observations), strict=True):
        yield from _arrived(name, report, grid, zero_ns)
        for timings in _timings(report):
            yield from _timed(name, timings, grid, zero_ns)


def traffic_zero_ns(samples: Samples, reports: Sequence[TrafficReport]) -> int:
    """Return when the traffic's time began, on CLOCK_MONOTONIC."""
    return min((report.start_ns for report in reports), default=samples.began_ns)


def _ends(
    reports: Sequence[TrafficReport], index: int, observations: Sequence[Observation]
) -> tuple[frozenset[Identity], frozenset[Identity]]:  # fmt: skip
    """Return whose sockets send, and whose receive, for one traffic entry."""
    sockets = [socket for seen in observations for socket in seen.tcp_sockets]
    found = measured_connections(sockets, alone(reports, index))
    flows = reports[index].flows
    senders = {identity(one.sender.key) for one in found if one.sender} | {identity(flow.sender) for flow in flows}
    receivers = {identity(one.receiver.key) for one in found if one.receiver}
    return frozenset(senders), frozenset(receivers | {identity(flow.receiver) for flow in flows})


def _group_of(keys: Mapping[int, FlowKey], groups: Sequence[frozenset[Identity]]) -> npt.NDArray[np.int64]:
    """Return the number of each flow's group by the flow's number; _NONE where it is in none."""
    found = np.full(max(keys, default=-1) + 2, _NONE, dtype=np.int64)
    number_of = {one: number for number, group in enumerate(groups) for one in group}
    for flow, key in keys.items():
        found[flow] = number_of.get(identity(key), _NONE)
    return found


def whole_ticks(blocks: Iterator[Rows]) -> Iterator[Rows]:
    """Yield the same rows in blocks that do not end in the middle of a tick."""
    rest: Rows | None = None
    for block in blocks:
        rows = block if rest is None or not len(rest) else np.concatenate([rest, block])
        cut = int(np.searchsorted(rows["tick"], rows["tick"][-1], side="left"))
        if cut:
            yield rows[:cut]
        rest = rows[cut:]
    if rest is not None and len(rest):
        yield rest


# ---- connections


def _flow_curves(
    flows: FlowSamples, group_of: npt.NDArray[np.int64], names: Sequence[str], grid: _Grid
) -> Iterator[Curve]:  # fmt: skip
    last = np.zeros(len(group_of), FLOW)
    for block in whole_ticks(flows.rows()):
        rows = block[group_of[np.minimum(block["flow"], len(group_of) - 1)] != _NONE]
        if not len(rows):
            continue
        rows = rows[np.argsort(rows["flow"], kind="stable")]
        before = _before(rows, last)
        yield from _block_curves(rows, before, group_of[rows["flow"]], names, grid, flows.jiffy_us)


def _before(rows: Rows, last: Rows) -> Rows:
    """Return for each row, sorted by flow and tick, the one before of its flow; `last` is brought up to date."""
    found = np.empty_like(rows)
    found[1:] = rows[:-1]
    begins = np.flatnonzero(np.append(True, rows["flow"][1:] != rows["flow"][:-1]))
    found[begins] = last[rows["flow"][begins]]
    # What a connection had counted before the trial is none of its doing.
    old = begins[(found["until_ns"][begins] == 0) & (rows["fresh"][begins] == 0)]
    found[old] = rows[old]
    last_of_each = np.append(begins[1:], len(rows)) - 1
    last[rows["flow"][last_of_each]] = rows[last_of_each]
    return found


def _block_curves(
    rows: Rows, before: Rows, group: npt.NDArray[np.int64], names: Sequence[str], grid: _Grid, jiffy_us: int
) -> Iterator[Curve]:  # fmt: skip
    first = int(rows["tick"].min())
    ticks = int(rows["tick"].max()) - first + 1
    place = (rows["tick"].astype(np.int64) - first) * len(names) + group
    size = ticks * len(names)
    there = np.bincount(place, minlength=size)

    def grown(name: str) -> npt.NDArray[np.float64]:
        values: npt.NDArray[Any] = rows[name] - before[name]
        # A time that lasts is an estimate until it ends, and may turn out shorter.
        return np.where(values > np.iinfo(values.dtype).max // 2, 0, values).astype(float)

    def summed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = np.bincount(place, values, minlength=size).astype(float)
        return found

    def told(metric: str, values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> Iterator[Curve]:
        yield from _by_group(f"tcp.{metric}", values, known, names, first, grid)

    length_s = np.repeat(grid.length_ns[first : first + ticks], len(names)) / 1e9
    for name in _COUNTS:
        yield from told(name, summed(grown(name)), there > 0)
    yield from told("delivery_rate_bps", 8 * summed(grown("bytes_acked")) / length_s, there > 0)
    samples = grown("pacing_samples")
    paces = np.divide(8 * grown("pacing_total"), samples, out=np.zeros_like(samples), where=samples > 0)
    yield from told("pacing_rate_bps", summed(paces), summed(samples) > 0)
    for name in _STATE:
        values = rows[name].astype(float)
        has = (values > 0) & ((name != "ssthresh_segs") | (rows[name] < _NO_SSTHRESH))
        count = np.bincount(place[has], minlength=size)
        mean = np.bincount(place[has], values[has], minlength=size) / np.maximum(count, 1)
        yield from told(name, mean, count > 0)
    each_s = grid.length_ns[rows["tick"].astype(np.int64)] / 1e9
    yield from _shares(rows, before, summed, grown, told, each_s, there, jiffy_us)


def _shares(
    rows: Rows, before: Rows, summed: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    grown: Callable[[str], npt.NDArray[np.float64]],
    told: Callable[[str, npt.NDArray[np.float64], npt.NDArray[np.bool_]], Iterator[Curve]],
    each_s: npt.NDArray[np.float64], there: npt.NDArray[np.int64], jiffy_us: int,
) -> Iterator[Curve]:  # fmt: skip
    """Yield shares of the connections' time, in per cent: congestion states, and what limited them."""
    spent = rows["state_ns"].astype(float) - before["state_ns"].astype(float)
    states = np.stack([summed(np.maximum(spent[:, index], 0)) for index in range(len(_STATES))])
    whole = states.sum(axis=0)
    for name, part in zip(_STATES, states, strict=True):
        yield from told(f"state_{name}_pct", 100 * part / np.maximum(whole, 1), whole > 0)
    busy_us, rwnd_us = (jiffy_us * summed(grown(f"{name}_jiffies")) for name in ("busy", "rwnd_limited"))
    sndbuf_us = np.minimum(summed(grown("sndbuf_ns")) / 1000, np.maximum(busy_us - rwnd_us, 0))
    # A connection that began or ended within the interval has not had all of it; after a pause it has had no more.
    lived_us = np.maximum(spent, 0).sum(axis=1) / 1e3
    lived_us = np.where(lived_us > 0, np.minimum(lived_us, each_s * 1e6), each_s * 1e6)
    whole_us = np.maximum(summed(lived_us), busy_us)
    cwnd_us = np.maximum(busy_us - rwnd_us - sndbuf_us, 0)
    parts = (("rwnd", rwnd_us), ("sndbuf", sndbuf_us), ("cwnd", cwnd_us), ("app", whole_us - busy_us))
    for name, part in parts:
        yield from told(f"limited_{name}_pct", 100 * part / np.maximum(whole_us, 1), there > 0)


def _by_group(
    metric: str, values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_], names: Sequence[str], first: int,
    grid: _Grid,
) -> Iterator[Curve]:  # fmt: skip
    """Yield one curve a group, from values in the order of ticks and in each of groups."""
    for number, name in enumerate(names):
        own, has = values[number :: len(names)], known[number :: len(names)]
        if has.any():
            ticks = first + np.flatnonzero(has)
            yield Curve(subject=name, metric=metric, t_ns=grid.ends_ns[ticks], values=own[has])


# ---- values and distributions by name


def _regrouped(rows: Rows, group_of: npt.NDArray[np.int64]) -> Rows:
    group = group_of[np.minimum(rows["group"], len(group_of) - 1)]
    found: Rows = rows[group != _NONE].copy()
    found["group"] = group[group != _NONE]
    return found


def _distributions(
    blocks: Iterator[Rows], names: Sequence[tuple[str | None, str]], edges: Sequence[float], grid: _Grid
) -> Iterator[Curve]:
    bounds = np.asarray(edges)
    for rows in blocks:
        group, tick, values = quantiles(rows, bounds, [share for _, share in _PERCENTILES])
        for number in np.unique(group):
            own = group == number
            subject, metric = names[number]
            for (stat, _), column in zip(_PERCENTILES, values[own].T, strict=True):
                yield Curve(subject=subject, metric=f"{metric}.{stat}", t_ns=grid.ends_ns[tick[own]], values=column)


def _named(named: NamedSamples, grid: _Grid) -> Iterator[Curve]:
    for rows in named.values():
        for number in np.unique(rows["curve"]):
            own = rows[rows["curve"] == number]
            subject, metric = named.curves[number]
            yield Curve(subject=subject, metric=metric, t_ns=grid.ends_ns[own["tick"]], values=own["value"])
    yield from _distributions(whole_ticks(named.counts()), named.distributions, named.edges, grid)


# ---- buffers, and what generators report


def _buffers(
    looks: Sequence[BufferLooks], ends: Sequence[tuple[frozenset[Identity], frozenset[Identity]]],
    names: Sequence[str], zero_ns: int,
) -> Iterator[Curve]:  # fmt: skip
    """Yield how full buffers were on average: the senders' for sending, the receivers' for receiving."""
    for name, sides in zip(names, ends, strict=True):
        for metric, wanted in zip(("snd_use_pct", "rcv_use_pct"), sides, strict=True):
            mine = [look for look in looks if identity(look.key) in wanted]
            if not mine:
                continue
            t_ns = np.concatenate([look.t_ns for look in mine])
            values = np.concatenate([getattr(look, metric) for look in mine])
            moments, place, count = np.unique(t_ns, return_inverse=True, return_counts=True)
            mean = np.bincount(place, values) / count
            yield Curve(subject=name, metric=f"socket.{metric}", t_ns=moments - zero_ns, values=mean)


def _arrived(name: str, report: TrafficReport, grid: _Grid, zero_ns: int) -> Iterator[Curve]:
    """Yield rates by what arrived, as finely as the generator tells."""
    for metric, member, factor in _RATES:
        told = [one for one in report.arrivals if getattr(one, member)]
        if not told or not len(grid.ends_ns):
            continue
        begins = np.array([one.begin_ns for one in told]) - zero_ns
        lasted = np.maximum(np.array([one.end_ns for one in told]) - zero_ns - begins, 1)
        amounts = np.array([getattr(one, member) for one in told], dtype=float)
        edges = np.concatenate(([grid.began_ns], grid.ends_ns))
        arrived = np.diff(arrived_by(edges, begins, lasted, amounts))
        arrived[arrived < _DUST * amounts.sum()] = 0
        inside = (grid.ends_ns > int(begins.min())) & (edges[:-1] < int((begins + lasted).max()))
        yield Curve(
            subject=name, metric=metric, t_ns=grid.ends_ns[inside],
            values=factor * 1e9 * arrived[inside] / grid.length_ns[inside],
        )  # fmt: skip


def _timings(report: TrafficReport) -> Iterator[Timings]:
    """Yield the times of single requests, or of a generator's other single events."""
    if report.requests is not None:
        sent_ns, latency_us = report.requests.sent_ns, report.requests.latency_us
        ended_ns = sent_ns + np.rint(1000 * latency_us).astype(np.int64)
        yield Timings(metric="app.latency_us", ended_ns=ended_ns, took_us=latency_us)
    yield from report.timings


def _timed(name: str, timings: Timings, grid: _Grid, zero_ns: int) -> Iterator[Curve]:
    """Yield percentiles of the times that ended in each interval, as numpy has them; no value where none ended."""
    ended_ns = timings.ended_ns - zero_ns
    tick = np.searchsorted(grid.ends_ns, ended_ns, side="left")
    inside = (tick < len(grid.ends_ns)) & (ended_ns > grid.began_ns)
    tick, took_us = tick[inside], timings.took_us[inside]
    order = np.lexsort((took_us, tick))
    tick, took_us = tick[order], took_us[order]
    ticks, begins, counts = np.unique(tick, return_index=True, return_counts=True)
    if not len(ticks):
        return
    for stat, share in _PERCENTILES:
        place = share * (counts - 1)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, counts - 1)
        low, high = took_us[begins + below], took_us[begins + above]
        yield Curve(
            subject=name, metric=f"{timings.metric}.{stat}", t_ns=grid.ends_ns[ticks],
            values=low + (place - below) * (high - low),
        )  # fmt: skip


def arrived_by(
    moments: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], lasted: npt.NDArray[np.int64],
    amounts: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Return how much had arrived by each moment, each amount arriving evenly in its time."""
    at = np.concatenate((begins, begins + lasted))
    slope = np.concatenate((amounts / lasted, -amounts / lasted))
    order = np.argsort(at, kind="stable")
    at, rate = at[order], np.cumsum(slope[order])
    reached = np.concatenate(([0.0], np.cumsum(rate[:-1] * np.diff(at))))
    found: npt.NDArray[np.float64] = np.interp(moments, at, reached)
    return found
