"""The TCP layer's time series: of each connection that moved, its counters and state, and which round trips it had.

What lies in the maps is copied as it is; rates, shares and percentiles are computed when the trial is over. With many
connections only those are looked at that received a segment since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.series.source import Moment
from perfcheck.collect.tcp import decode
from perfcheck.model.flow import FlowKey
from perfcheck.model.series import COUNT, FLOW, FlowSamples
from perfcheck.system.spool import Spool

_SPOOLED: Final = (
    "end_ns", "window_ns", "now", "window_events", "whole_events", "pacing_total", "pacing_samples", "cwnd_segs",
    "ssthresh_segs", "syn_ns", "passive", "state_ns", "state_since_ns", "state", "sndbuf_ns", "sndbuf_last_ns",
    "histogram", "pending", "samples",
)  # fmt: skip
_PREFIX: Final = 8
"""Bytes of tick and flow before them."""
_SELDOM: Final = 10
"""One tick in so many looks at all buckets."""
MOST: Final = 256
"""Connections' ends that are sampled at one tick; each takes some 3 us."""
_NOW: Final = ("bytes_acked", "bytes_received", "data_segs_out", "retrans_segs", "lost_segs", "rwnd_limited_jiffies")
_EVENTS: Final = ("retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs")
_LIKE: Final = ("window_ns", "pacing_total", "pacing_samples", "cwnd_segs", "ssthresh_segs")


class TcpSeries:
    """Samples the records that the TCP collector's programs fill; `read_live` brings those of live sockets up to date.

    `key_of` decodes a record's addresses. Ends that have sent no data are left aside until they do.
    """

    def __init__(
        self, control: npt.NDArray[Any], records: npt.NDArray[Any], sets: npt.NDArray[Any],
        read_live: Callable[[], None], key_of: Callable[[decode.Record], FlowKey], most: int = MOST,
    ) -> None:  # fmt: skip
        """Take the mapped arrays; the trial has begun."""
        self._control, self._records = control, records
        self._counts, self._sent = sets["times"]["rtt"], records["now"]["data_segs_out"]
        self._read_live, self._key_of, self._most = read_live, key_of, most
        self._packed, self._bytes = packed(records.dtype)
        self._rows, self._rtts = Spool(self._packed), Spool(COUNT)
        self._done = np.zeros(0, bool)
        self._silent = np.zeros(0, bool)
        self._last_ns = np.zeros(0, np.uint64)
        self._sampled = np.zeros(0, np.int64)
        self._before = np.zeros((0, self._counts.shape[1]), np.int32)
        self._range = (0, 0)
        self._places = np.arange(records.dtype["samples"].shape[0])
        self._left_out = self._ticks_short = 0
        self._crowded = False

    def sample(self, moment: Moment) -> None:
        """Spool the connections that are there, or those that moved where there are many."""
        self._read_live()
        chosen = self._chosen(moment)
        if not chosen.size:
            return
        rows, counts, numbers, begin = self._copied(chosen, moment)
        ready = (rows["family"] > 0) & (rows["end_ns"] > 0)
        if not ready.all():
            chosen, rows, counts, numbers = chosen[ready], rows[ready], counts[ready], numbers[ready]
        self._note(chosen, rows, moment.tick)
        spooled = np.empty(len(rows), self._packed)
        spooled["tick"], spooled["flow"] = moment.tick, chosen
        copied = rows.view(np.uint8).reshape(len(rows), -1)[:, self._bytes]
        spooled.view(np.uint8).reshape(len(rows), -1)[:, _PREFIX:] = copied
        self._rows.append(spooled)
        self._spool_rtts(counts, numbers, chosen, begin, moment.tick)

    def _chosen(self, moment: Moment) -> npt.NDArray[np.int64]:
        """Return the indices of the records to be sampled."""
        count = min(int(self._control["records"]), len(self._records))
        if count > len(self._done):
            more = max(count, 2 * len(self._done)) - len(self._done)
            self._done = np.append(self._done, np.zeros(more, bool))
            self._silent = np.append(self._silent, np.zeros(more, bool))
            self._last_ns = np.append(self._last_ns, np.zeros(more, np.uint64))
            self._sampled = np.append(self._sampled, np.full(more, -1, np.int64))
        silent = np.flatnonzero(self._silent[:count])
        if silent.size:
            self._silent[silent] = (self._sent[silent] == 0) & (not moment.last)
        here: npt.NDArray[np.int64] = np.flatnonzero(~(self._done[:count] | self._silent[:count]))
        self._crowded = len(here) > self._most
        if not self._crowded:
            return here
        moved = self._records["last_ns"][here] != self._last_ns[here]
        here = np.array(here[moved | (self._records["closed"][here] != 0)])
        if len(here) <= self._most:
            return here
        self._left_out += len(here) - self._most
        self._ticks_short += 1
        waited: npt.NDArray[np.int64] = here[np.argsort(self._sampled[here], kind="stable")[: self._most]]
        return waited

    def _copied(
        self, chosen: npt.NDArray[np.int64], moment: Moment
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32], npt.NDArray[np.int64], int]:  # fmt: skip
        """Return copies of records, their round trips by bucket, the numbers of their histograms, and the first bucket.

        Only buckets in which there was something lately are read; those that are new are with the next tick.
        """
        # Where not all are sampled, the next time may be the last for one of them.
        seldom = moment.last or self._crowded or not moment.tick % _SELDOM or not self._range[1]
        begin, end = (0, self._counts.shape[1]) if seldom else self._range
        rows = self._records[chosen]
        numbers = rows["histogram"].astype(np.int64) - 1
        counts = self._gathered(numbers, begin, end)
        # What the kernel counted while it was copied would be counted twice, or not at all.
        live = self._records["pending"][chosen] != rows["pending"]
        if live.any():
            moved = np.flatnonzero(live)
            rows[moved] = self._records[chosen[moved]]
            numbers[moved] = rows["histogram"][moved].astype(np.int64) - 1
            counts[moved] = self._gathered(numbers[moved], begin, end)
        self._add_pending(rows, counts, numbers, begin)
        spread = rows["rtt_spread"]
        if (known := spread["maximum"] > 0).any():
            low, high = histogram.buckets_of(np.array([spread["minimum"][known].min(), spread["maximum"].max()]))
            self._range = (min(int(low), counts.shape[1]), min(int(high) + 1, self._counts.shape[1]))
        return rows, counts, numbers, begin

    def _gathered(self, numbers: npt.NDArray[np.int64], begin: int, end: int) -> npt.NDArray[np.int32]:
        counts = np.zeros((len(numbers), end - begin), np.int32)
        known = (numbers >= 0) & (numbers < len(self._counts))
        counts[known] = self._counts[numbers[known], begin:end]
        return counts

    def _add_pending(
        self, rows: npt.NDArray[Any], counts: npt.NDArray[np.int32], numbers: npt.NDArray[np.int64], begin: int
    ) -> None:  # fmt: skip
        values = rows["samples"]["rtt"]
        waiting = (self._places < rows["pending"][:, None]) & (values != decode.NO_VALUE)
        waiting &= ((numbers >= 0) & (numbers < len(self._counts)))[:, None]
        row, place = np.nonzero(waiting)
        buckets = histogram.buckets_of(values[row, place]) - begin
        within = (buckets >= 0) & (buckets < counts.shape[1])
        np.add.at(counts, (row[within], buckets[within]), 1)

    def _note(self, chosen: npt.NDArray[np.int64], rows: npt.NDArray[Any], tick: int) -> None:
        self._sampled[chosen] = tick
        self._last_ns[chosen] = rows["last_ns"]
        self._done[chosen] = rows["closed"] != 0
        self._silent[chosen] = (rows["now"]["data_segs_out"] == 0) & (rows["closed"] == 0)

    def _spool_rtts(
        self, counts: npt.NDArray[np.int32], numbers: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64],
        begin: int, tick: int,
    ) -> None:  # fmt: skip
        known = np.flatnonzero((numbers >= 0) & (numbers < len(self._counts)))
        if not known.size:
            return
        numbers, counts = numbers[known], counts[known]
        if int(numbers.max()) >= len(self._before):
            more = max(int(numbers.max()) + 1, 2 * len(self._before)) - len(self._before)
            self._before = np.append(self._before, np.zeros((more, self._counts.shape[1]), np.int32), axis=0)
        span = slice(begin, begin + counts.shape[1])
        # A copy that the kernel wrote into may be a few values short: they are with the next.
        grew = np.maximum(counts - self._before[numbers, span], 0)
        self._before[numbers, span] += grew
        row, bucket = np.nonzero(grew)
        found = np.empty(len(row), COUNT)
        found["tick"], found["group"], found["bucket"] = tick, chosen[known][row], bucket + begin
        found["count"] = grew[row, bucket]
        self._rtts.append(found)

    def samples(self) -> FlowSamples:
        """Return the connections' rows; the records must still be there."""
        count = min(int(self._control["records"]), len(self._records))
        named = np.flatnonzero(self._records["family"][:count])
        return FlowSamples(
            keys={int(index): self._key_of(self._records[index]) for index in named},
            rows=lambda: map(flow_rows, self._rows.blocks()),
            rtts=self._rtts.blocks,
            edges_us=histogram.edges(self._counts.shape[1]),
            jiffy_us=decode.jiffy_us(),
        )

    def warnings(self) -> tuple[str, ...]:
        """Say how many connections were left out."""
        if not self._left_out:
            return ()
        mean = self._left_out / self._ticks_short
        told = (
            f"series: in {self._ticks_short:,} intervals {mean:,.0f} connections' ends that moved were left out on "
            f"average, beyond {self._most}; what they did is told with the next interval in which they are sampled"
        )
        return (told,)

    def close(self) -> None:
        """Remove what was spooled."""
        self._rows.close()
        self._rtts.close()


def packed(record: np.dtype[Any]) -> tuple[np.dtype[Any], npt.NDArray[np.int64]]:
    """Return the type of spooled rows, and which bytes of a `pc_record` follow tick and flow in them."""
    fields: Mapping[str, Any] = record.fields or {}
    members = [(name, fields[name][0]) for name in _SPOOLED]
    places = [
        np.arange(fields[name][1], fields[name][1] + fields[name][0].itemsize, dtype=np.int64) for name in _SPOOLED
    ]
    return np.dtype([("tick", "u4"), ("flow", "u4"), *members]), np.concatenate(places)


def flow_rows(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return FLOW rows of those that were spooled."""
    found = np.empty(len(rows), FLOW)
    found["tick"], found["flow"], found["until_ns"] = rows["tick"], rows["flow"], rows["end_ns"]
    now, events = rows["now"], rows["window_events"]
    for name in _NOW:
        found[name] = now[name]
    for name in _EVENTS:
        found[name] = events[name]
    for name in _LIKE:
        found[name] = rows[name]
    found["retrans_syn_segs"] = rows["whole_events"]["retrans_syn_segs"]
    found["busy_jiffies"] = now["busy_jiffies"] + now["rwnd_limited_jiffies"] + now["sndbuf_limited_jiffies"]
    found["sndbuf_ns"] = rows["sndbuf_ns"] + rows["sndbuf_last_ns"]
    found["fresh"] = (rows["syn_ns"] > 0) | (rows["passive"] > 0)
    index = np.arange(len(rows))
    states = rows["state_ns"]
    since_ns, open_ = rows["state_since_ns"], rows["window_ns"] > 0
    lasted = np.where(open_ & (rows["end_ns"] > since_ns), rows["end_ns"] - since_ns, 0)
    found["state_ns"] = states
    found["state_ns"][index, rows["state"]] += lasted.astype(np.uint64)
    latest = rows["samples"][index, (rows["pending"] - 1) % rows.dtype["samples"].shape[0]]
    sampled = rows["histogram"] > 0
    found["srtt_us"] = np.where(sampled, latest["srtt"], 0)
    found["inflight_segs"] = np.where(sampled, latest["inflight"], 0)
    return found


def open_series(
    view: Callable[[str], npt.NDArray[Any]], read_live: Callable[[], None], hosts: Mapping[int, str]
) -> TcpSeries:
    """Return the source of a trial that was begun; `view` gives an array map's elements."""
    return TcpSeries(
        view("control")[0], view("records"), view("histograms"), read_live, lambda record: decode.key_of(record, hosts)
    )
