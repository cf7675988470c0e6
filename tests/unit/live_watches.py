"""Watches that tests gather from intervals made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from live_intervals import a_histogram, flow_table, interval

from perfcheck.model.flow_filter import FlowFilter
from perfcheck.model.interval import Accounting, Interval, LiveRequest
from perfcheck.report.live.gathering import Gathering, Watch
from perfcheck.report.live.stretch import RTT


def busy(number: int, *, sent: int = 1_000_000, lost: int = 0, rows: int = 1, **more: Any) -> Interval:
    """Return an interval of connections that send for all of it."""
    flows = flow_table(
        rows, bytes_acked=sent, data_segs_out=1000, segs_out=1000, retrans_segs=lost, retrans_fast_segs=lost,
        lost_segs=lost, busy_us=1_000_000, elapsed_us=1_000_000, srtt_us=20_000.0, min_rtt_us=20_000.0, cwnd_segs=40.0,
        inflight_segs=39.0, delivered_segs=1000, rtt_count=6, rtt_mean_us=21_000.0,
    )  # fmt: skip
    fields: dict[str, Any] = {"histograms": {RTT: a_histogram()}, "accounting": Accounting(cpu_pct=0.5)}
    return interval(number, flows, **(fields | more))


def gathered(*intervals: Interval, **watch: Any) -> Gathering:
    known: dict[str, Any] = {"command": "tcp", "request": LiveRequest(), "filters": {}}
    found = Gathering(Watch(**(known | watch)))
    for one in intervals:
        found.add(one)
    return found


def hostile_watch(text: Callable[[str], str]) -> Gathering:
    """Return a watch with what `text` makes of a usual text wherever it may have one."""
    flows = replace(busy(0).flows, hosts={4026531840: text("some")})
    flows.columns["comm"][:] = b"<img src=x>\x1b"
    return gathered(
        interval(0, flows, histograms={RTT: a_histogram()}, lacks={text("drops"): text("why")}), command=text("some"),
        filters={"--comm": text("some")}, recording=text("some"), reproduce=text("some"),
        request=LiveRequest(netns=(text("some"),), filter=FlowFilter(comm=text("some"))),
    )  # fmt: skip
