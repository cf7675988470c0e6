"""The TCP layer's time series: of each connection that moved, its counters and state, and which round trips it had.

What lies in the maps is copied as it is: all of it where that is little (collect/tcp/whole.py), and some of it with
many connections (collect/tcp/copies.py), of which only those are looked at that received a segment since. Rates, shares
and percentiles are computed when the trial is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.series.source import Moment
from perfcheck.collect.tcp import decode
from perfcheck.collect.tcp.copies import Copies, Taken
from perfcheck.collect.tcp.whole import WholeCopies
from perfcheck.model.flow import FlowKey
from perfcheck.model.series import COUNT, FLOW, FlowSamples
from perfcheck.system.spool import Spool

_SPOOLED: Final = (
    "end_ns", "window_ns", "now", "window_events", "whole_events", "pacing_total", "pacing_samples", "cwnd_segs",
    "ssthresh_segs", "syn_ns", "passive", "state_ns", "state_since_ns", "state", "sndbuf_ns", "sndbuf_last_ns",
    "histogram", "pending", "samples",
)  # fmt: skip
_PREFIX: Final = 2
"""Words of tick and flow before them."""
MOST: Final = 256
"""Connections' ends that are sampled at one tick; each takes some 3 us."""
_NOW: Final = ("bytes_acked", "bytes_received", "data_segs_out", "retrans_segs", "lost_segs", "rwnd_limited_jiffies")
_EVENTS: Final = ("retrans_fast_segs", "retrans_rto_segs", "retrans_tlp_segs")
_LIKE: Final = ("window_ns", "pacing_total", "pacing_samples", "cwnd_segs", "ssthresh_segs")


class TcpSeries:
    """Samples the records that the TCP collector's programs fill; `read_live` brings those of live sockets up to date.

    `key_of` decodes a record's addresses. Ends that have sent no data are left aside until they do. `let_go` is called
    at the end, once or more.
    """

    def __init__(
        self, control: npt.NDArray[Any], records: npt.NDArray[Any], sets: npt.NDArray[Any],
        read_live: Callable[[], None], key_of: Callable[[decode.Record], FlowKey], most: int = MOST,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Take the mapped arrays; the trial has begun."""
        self._control, self._records = control, records
        self._sent = records["now"]["data_segs_out"]
        self._read_live, self._key_of, self._most, self._let_go = read_live, key_of, most, let_go
        self._packed, self._words = packed(records.dtype)
        self._rows, self._rtts = Spool(self._packed), Spool(COUNT)
        rtts = sets["times"]["rtt"]
        self._whole, self._copies = WholeCopies(control, records, sets), Copies(records, rtts)
        self._room, self._buckets = min(most, len(records)), rtts.shape[1]
        self._count = 0
        self._done = np.zeros(0, bool)
        self._silent = np.zeros(0, bool)
        self._last_ns = np.zeros(0, np.uint64)
        self._sampled = np.zeros(0, np.int64)
        self._here = np.zeros(0, np.int64)
        self._looked = False
        self._asleep = np.zeros(0, np.int64)
        self._before = np.zeros((0, self._buckets), np.int32)
        self._last_tick = -1
        self._left_out = self._ticks_short = 0

    def sample(self, moment: Moment) -> None:
        """Copy the connections that are there, or those that moved where there are many."""
        self._read_live()
        if moment.last:
            self._last_tick = moment.tick
        count = self._whole.in_use
        if count <= self._room:
            if count:
                if not self._whole.fits(count):
                    self.spool()
                    self._whole.make_room(count)
                self._whole.take(moment.tick, count)
                if self._whole.full:
                    self.spool()
            return
        if self._whole.holds:
            self.spool()
        chosen = self._chosen(moment)
        if chosen.size:
            self._copies.take(moment.tick, chosen)
        if self._copies.full or not self._looked:
            self.spool()

    def _chosen(self, moment: Moment) -> npt.NDArray[np.int64]:
        """Return the indices of the records to be sampled; from tick to tick some are added, until `spool`."""
        if self._looked and self._came(moment) > self._most:
            self.spool()
        if not self._looked:
            self._look(moment)
        here: npt.NDArray[np.int64] = self._here
        if len(here) <= self._most:
            return here
        self._looked = False
        moved = self._records["last_ns"][here] != self._last_ns[here]
        here = here[moved | (self._records["closed"][here] != 0)]
        if len(here) <= self._most:
            return here
        self._left_out += len(here) - self._most
        self._ticks_short += 1
        waited: npt.NDArray[np.int64] = here[np.argsort(self._sampled[here], kind="stable")[: self._most]]
        return waited

    def _look(self, moment: Moment) -> None:
        """Find out which records there are to be sampled, and which have not sent anything yet."""
        self._grow()
        self._looked = True
        known = ~self._done[: self._count]
        silent = self._silent[: self._count]
        self._here, self._asleep = np.flatnonzero(known & ~silent), np.flatnonzero(known & silent)
        if len(self._here) + len(self._asleep) <= self._most:
            # To copy them costs less than to ask at each tick whether they have sent.
            self._here, self._asleep = np.flatnonzero(known), self._asleep[:0]
        self._came(moment)

    def _came(self, moment: Moment) -> int:
        """Add the records that are new or send for the first time; return how many there are."""
        before = self._count
        if self._grow() > before:
            self._here = np.append(self._here, np.arange(before, self._count))
        if self._asleep.size:
            awake = (self._sent[self._asleep] > 0) | moment.last
            if awake.any():
                self._here = np.append(self._here, self._asleep[awake])
                self._asleep = self._asleep[~awake]
        return len(self._here)

    def _grow(self) -> int:
        self._count = count = min(int(self._control["records"]), len(self._records))
        if count > len(self._done):
            more = max(count, 2 * len(self._done)) - len(self._done)
            self._done = np.append(self._done, np.zeros(more, bool))
            self._silent = np.append(self._silent, np.zeros(more, bool))
            self._last_ns = np.append(self._last_ns, np.zeros(more, np.uint64))
            self._sampled = np.append(self._sampled, np.full(more, -1, np.int64))
        return count

    def spool(self) -> None:
        """Spool the rows that were copied, and the round trips that came with each."""
        self._looked = False
        self._grow()
        taken = self._whole.taken(self._done) or self._copies.taken()
        if taken is None:
            return
        tick, place = np.nonzero(self._wanted(taken))
        if not tick.size:
            return
        rows, flows = taken.rows[tick, place], taken.flows[place]
        self._note(flows, rows, taken.ticks[tick])
        spooled = np.empty(len(rows), self._packed)
        words = spooled.view(np.uint32).reshape(len(rows), -1)
        words[:, 0], words[:, 1] = taken.ticks[tick], flows
        words[:, _PREFIX:] = rows.view(np.uint32).reshape(len(rows), -1)[:, self._words]
        self._rows.append(spooled)
        self._spool_rtts(taken, tick, place)

    def _wanted(self, taken: Taken) -> npt.NDArray[np.bool_]:
        """Return by tick and place which copies are rows: those that have sent, of others the first and the last."""
        rows = taken.rows
        ready = taken.there & (rows["family"] > 0) & (rows["end_ns"] > 0)
        first = ready & (np.cumsum(ready, axis=0) == 1) & (self._sampled[taken.flows] < 0)
        last = (taken.ticks == self._last_tick)[:, None]
        wanted = ready & ((rows["now"]["data_segs_out"] > 0) | first | last)
        closed = wanted & (rows["closed"] != 0)
        # A connection's end is told once.
        found: npt.NDArray[np.bool_] = wanted & (np.cumsum(closed, axis=0) - closed == 0)
        return found

    def _note(self, flows: npt.NDArray[np.int64], rows: npt.NDArray[Any], ticks: npt.NDArray[np.int64]) -> None:
        # Of each flow the last row counts.
        self._sampled[flows] = ticks
        self._last_ns[flows] = rows["last_ns"]
        self._done[flows] = rows["closed"] != 0
        self._silent[flows] = (rows["now"]["data_segs_out"] == 0) & (rows["closed"] == 0)

    def _spool_rtts(self, taken: Taken, tick: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> None:
        number = taken.rows["histogram"][tick, place].astype(np.int64) - 1
        known = (number >= 0) & (number < taken.sets)
        if not known.any():
            return
        tick, place, number = tick[known], place[known], number[known]
        if int(number.max()) >= len(self._before):
            more = max(int(number.max()) + 1, 2 * len(self._before)) - len(self._before)
            self._before = np.append(self._before, np.zeros((more, self._before.shape[1]), np.int32), axis=0)
        begin, counts = taken.counted(tick, place)
        # Flows by the number of their histograms.
        numbers, column = np.unique(number, return_inverse=True)
        flow_of = np.zeros(len(numbers), np.int64)
        flow_of[column] = taken.flows[place]
        span = slice(begin, begin + counts.shape[1])
        so_far = np.zeros((len(taken.ticks) + 1, len(numbers), counts.shape[1]), np.int32)
        so_far[0] = self._before[numbers, span]
        so_far[tick + 1, column] = counts
        # A copy that the kernel wrote into may be a few values short: they are with the next.
        np.maximum.accumulate(so_far, axis=0, out=so_far)
        self._before[numbers, span] = so_far[-1]
        grew = np.diff(so_far, axis=0)
        at, column, bucket = np.nonzero(grew)
        found = np.empty(len(at), COUNT)
        found["tick"], found["group"], found["bucket"] = taken.ticks[at], flow_of[column], bucket + begin
        found["count"] = grew[at, column, bucket]
        self._rtts.append(found)

    def samples(self) -> FlowSamples:
        """Return the connections' rows; the records must still be there."""
        count = min(int(self._control["records"]), len(self._records))
        named = np.flatnonzero(self._records["family"][:count])
        return FlowSamples(
            keys={int(index): self._key_of(self._records[index]) for index in named},
            rows=lambda: map(flow_rows, self._rows.blocks()),
            rtts=self._rtts.blocks,
            edges_us=histogram.edges(self._buckets),
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
        self._let_go()
        self._rows.close()
        self._rtts.close()


def packed(record: np.dtype[Any]) -> tuple[np.dtype[Any], npt.NDArray[np.int64]]:
    """Return the type of spooled rows, and which 32-bit words of a `pc_record` follow tick and flow in them."""
    fields: Mapping[str, Any] = record.fields or {}
    members = [(name, fields[name][0]) for name in _SPOOLED]
    places = [
        np.arange(fields[name][1], fields[name][1] + fields[name][0].itemsize, 4, dtype=np.int64) // 4
        for name in _SPOOLED
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
    view: Callable[[str], npt.NDArray[Any]], read_live: Callable[[], None], hosts: Mapping[int, str],
    let_go: Callable[[], None] = lambda: None,
) -> TcpSeries:  # fmt: skip
    """Return the source of a trial that was begun; `view` gives an array map's elements."""
    return TcpSeries(
        view("control")[0], view("records"), view("histograms"), read_live,
        lambda record: decode.key_of(record, hosts), let_go=let_go,
    )  # fmt: skip
