"""What the rules read: RTT, retransmissions, connect times, the Loss state and drops of one interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.analyse.histogram import quantile
from perfcheck.live.alerts.alert import Subject
from perfcheck.live.alerts.reading import Reading, all_beyond_chance, beyond_chance
from perfcheck.live.drops import harmful_drops, packets_of
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Interval
from perfcheck.model.units import whole_pct

ALL: Final = Subject()
LEAST_SAMPLES: Final = 50
"""Of RTT, for a 99th percentile of all flows; one flow needs twice as many."""
LEAST_SEGMENTS: Final = 100
TAIL_RATIO: Final = 10.0
LEAST_TAIL_US: Final = 60_000.0
"""A receiver may delay an ACK by 40 ms, which is in the sender's RTT: on a short path that is a healthy tail."""
_FAR_RATIO: Final = 5.0
LEAST_LOSS_US: Final = 100_000
MOST_FLOWS: Final = 64
"""Single flows that a rule reads in an interval, the worst ones."""
LEAST_BURST: Final = 20
BURST_SHARE: Final = 0.001
"""Of the segments sent: a saturated queue of a fast link may drop more than that of an idle one."""


def rtt_p99(bound_us: float) -> Callable[[Interval], Iterator[Reading]]:
    """Return a reader of the 99th percentile of all RTT samples."""

    def read(interval: Interval) -> Iterator[Reading]:
        found = interval.histograms.get("tcp.rtt_us")
        if found is None or not found.count:
            return
        above = samples_above(found, bound_us)
        enough = found.count >= LEAST_SAMPLES and beyond_chance(above, found.count, 0.01)
        yield Reading(subject=ALL, value=quantile(found, 0.99), bound=bound_us, enough=enough)

    return read


def rtt_tail(interval: Interval) -> Iterator[Reading]:
    """Yield p99 of RTT against 10 x p50: of all flows, and of each that has it.

    Flows of near and far paths together have a long tail that is no trouble, so that p99 of all must also be more than
    5 x the shortest RTT of the farthest ones.
    """
    flows = interval.flows
    found = interval.histograms.get("tcp.rtt_us")
    if found is not None and found.count:
        middle, tail = quantile(found, 0.5), quantile(found, 0.99)
        bound = max(TAIL_RATIO * middle, LEAST_TAIL_US, _FAR_RATIO * _farthest_us(flows))
        enough = found.count >= 2 * LEAST_SAMPLES and beyond_chance(samples_above(found, bound), found.count, 0.01)
        yield Reading(subject=ALL, value=tail, bound=bound, enough=enough)
    tails = flows["rtt_p99_us"]
    bounds = np.maximum(TAIL_RATIO * flows["rtt_p50_us"], LEAST_TAIL_US)
    enough_each = flows["rtt_count"] >= 2 * LEAST_SAMPLES
    with np.errstate(invalid="ignore"):
        yield from _of_flows(flows, tails, bounds, enough_each)


def retransmissions(bound_pct: float, *, each: bool) -> Callable[[Interval], Iterator[Reading]]:
    """Return a reader of the share of data segments that were sent again; `each`: also of single flows."""

    def read(interval: Interval) -> Iterator[Reading]:
        flows = interval.flows
        again, sent = data_again(flows), flows["data_segs_out"].astype(float)
        total, of = float(again.sum()), float(sent.sum())
        if of:
            value = min(100 * total / of, 100.0)
            enough = of >= LEAST_SEGMENTS and beyond_chance(total, of, bound_pct / 100)
            note = _largest(flows, again, total) if enough else ""
            yield Reading(subject=ALL, value=value, bound=bound_pct, enough=enough, note=note)
        if each and total:
            shares = np.minimum(100 * again / np.maximum(sent, 1), 100)
            wanted = (sent >= LEAST_SEGMENTS) & all_beyond_chance(again, sent, bound_pct / 100)
            yield from _of_flows(flows, shares, np.full(len(flows), bound_pct), wanted)

    return read


def connect_time(bound_us: float) -> Callable[[Interval], Iterator[Reading]]:
    """Return a reader of the 99th percentile of the connect times of connections that this machine opened."""

    def read(interval: Interval) -> Iterator[Reading]:
        times = connect_times_us(interval, passive=False)
        if not times.size:
            return
        above = int(np.count_nonzero(times > bound_us))
        # Few connections at once: half of them tell as much as two of many.
        enough = beyond_chance(above, times.size, 0.01) or (above > 0 and 2 * above >= times.size)
        yield Reading(
            subject=ALL, value=float(np.quantile(times, 0.99, method="higher")), bound=bound_us, enough=enough,
            note=f"{above} of {times.size} connections",
        )  # fmt: skip

    return read


def loss_state(bound_pct: float) -> Callable[[Interval], Iterator[Reading]]:
    """Return a reader of the share of the flows' busy time that they spent in the Loss state.

    A flow whose peer says nothing is left out where it is the only one: one peer that went away is no trouble of a
    network.
    """

    def read(interval: Interval) -> Iterator[Reading]:
        flows = interval.flows
        lost, busy = flows["state_loss_us"].astype(float), flows["busy_us"].astype(float)
        silent = (lost > 0) & (flows["bytes_acked"] == 0) & (flows["bytes_received"] == 0)
        if np.count_nonzero(silent) == 1:
            lost, busy = lost[~silent], busy[~silent]
        total, of = float(lost.sum()), float(max(busy.sum(), lost.sum()))
        if of:
            yield Reading(subject=ALL, value=100 * total / of, bound=bound_pct, enough=total >= LEAST_LOSS_US)

    return read


def drop_burst(bound_per_s: float) -> Callable[[Interval], Iterator[Reading]]:
    """Return a reader of drops a second, of each host where there are several."""

    def read(interval: Interval) -> Iterator[Reading]:
        if interval.seconds <= 0:
            return
        least = max(LEAST_BURST, BURST_SHARE * float(interval.flows["segs_out"].sum()))
        for subject, metrics in _by_host(interval):
            drops = harmful_drops(metrics)
            count = sum(drops.values())
            yield Reading(
                subject=subject, value=count / interval.seconds, bound=bound_per_s, enough=count >= least,
                note=_three(drops),
            )  # fmt: skip

    return read


def drop_share(bound_pct: float) -> Callable[[Interval], Iterator[Reading]]:
    """Return a reader of the share of packets that were dropped, of each host where there are several."""

    def read(interval: Interval) -> Iterator[Reading]:
        for subject, metrics in _by_host(interval):
            drops = harmful_drops(metrics)
            count = sum(drops.values())
            of = count + (packets_of(metrics) or float(interval.flows["segs_out"].sum()))
            if of:
                enough = of >= LEAST_SEGMENTS and beyond_chance(count, of, bound_pct / 100)
                yield Reading(subject=subject, value=100 * count / of, bound=bound_pct, enough=enough,
                              note=_three(drops))  # fmt: skip

    return read


def _three(drops: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:,.0f}" for name, count in list(drops.items())[:3])


def samples_above(histogram: Histogram, bound: float) -> float:
    """Return how many samples are above a bound; a bucket that the bound is in counts by its share."""
    edges = np.asarray(histogram.edges)
    counts = np.asarray(histogram.counts, float)
    shares = np.clip((edges[1:] - bound) / np.diff(edges), 0, 1)
    above = histogram.above if histogram.maximum > bound else 0
    return float((counts * shares).sum()) + above


def data_again(flows: FlowTable) -> npt.NDArray[np.float64]:
    """Return the data segments that each flow sent again; `retrans_segs` is without SYN and SYN-ACK."""
    return flows["retrans_segs"].astype(float)


def connect_times_us(interval: Interval, *, passive: bool | None = None) -> npt.NDArray[np.float64]:
    """Return the handshakes' times of connections that were established in the interval; `passive`: accepted ones."""
    flows = interval.flows
    since = flows["established_ns"]
    wanted = (since > interval.begin_ns) & (since <= interval.end_ns) & ~np.isnan(flows["handshake_us"])
    if passive is not None:
        wanted &= flows["passive"] == passive
    found: npt.NDArray[np.float64] = flows["handshake_us"][wanted]
    return found


def _by_host(interval: Interval) -> Iterator[tuple[Subject, Mapping[str, float]]]:
    if len(interval.hosts) > 1:
        for host, metrics in interval.hosts.items():
            yield Subject(host=host), metrics
    else:
        yield ALL, interval.metrics


def _farthest_us(flows: FlowTable) -> float:
    """Return the shortest RTT of the flow that is farther than 95 % of those with samples."""
    shortest = flows["min_rtt_us"][(flows["rtt_count"] > 0) & ~np.isnan(flows["min_rtt_us"])]
    return float(np.quantile(shortest, 0.95)) if shortest.size else 0.0


def _largest(flows: FlowTable, counts: npt.NDArray[np.float64], total: float) -> str:
    if len(flows) < 2:
        return ""
    row = int(np.argmax(counts))
    return f"{whole_pct(100 * counts[row] / total)} of them of {Subject(flow=flows.key(row)).label}"


def _of_flows(
    flows: FlowTable, values: npt.NDArray[Any], bounds: npt.NDArray[Any], enough: npt.NDArray[np.bool_]
) -> Iterator[Reading]:
    """Yield the readings of flows that have enough and are above half their bound, the worst ones."""
    rows = np.flatnonzero(enough & (values > bounds / 2))
    if rows.size > MOST_FLOWS:
        rows = rows[np.argsort(values[rows] / bounds[rows])[-MOST_FLOWS:]]
    for row in rows:
        subject = Subject(flow=flows.key(int(row)))
        yield Reading(subject=subject, value=float(values[row]), bound=float(bounds[row]), enough=True)
