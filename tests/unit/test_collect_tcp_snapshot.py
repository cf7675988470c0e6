"""The TCP collector read while it counts: the intervals between snapshots add up to the trial."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import decode
from perfcheck.collect.tcp.snapshot import TcpSnapshot, copied, settle, sockets_between
from perfcheck.model.flow import Histogram, TcpSocket

PENDING: Final = 8
NAMES: Final = ("rtt", "srtt", "cwnd", "inflight")
SPREADS: Final = (*NAMES, "slow_rtt")
HOSTS: Final = {42: "client"}
SAMPLE = np.dtype([(name, "u4") for name in NAMES])
SPREAD = np.dtype([("total", "u8"), ("minimum", "u4"), ("maximum", "u4")])
COUNTS = np.dtype(
    [("bytes_acked", "u8"), ("bytes_received", "u8")]
    + [
        (name, "u4")
        for name in (
            "segs_out", "data_segs_out", "retrans_segs", "busy_jiffies", "rwnd_limited_jiffies",
            "sndbuf_limited_jiffies",
        )
    ]
)  # fmt: skip
EVENTS = np.dtype([("retrans_fast_segs", "u4"), ("retrans_rto_segs", "u4")])
WHOLE = np.dtype([("retrans_syn_segs", "u4"), ("resets", "u4")])
RECORD = np.dtype(
    [(name, "u8") for name in (
        "cookie", "window_at_ns", "last_ns", "pacing_total", "syn_ns", "established_ns", "end_ns", "window_ns",
        "state_since_ns", "sndbuf_ns", "sndbuf_last_ns",
    )]
    + [(name, "u4") for name in (
        "pacing_samples", "histogram", "snd_wnd_bytes", "pending", "lost_samples", "state", "netns", "handshake_us",
        "synack_rtt_us", "min_rtt_us", "rttvar_us", "ssthresh_segs", "mss_bytes", "reordering_segs",
        "rate_delivered_segs", "rate_interval_us", "cwnd_segs", "outstanding_segs", "closed", "passive", "family",
        "local_port", "remote_port", *(f"{name}_above" for name in SPREADS),
    )]
    + [(f"{name}_spread", SPREAD) for name in SPREADS]
    + [
        ("samples", SAMPLE, (PENDING,)), ("state_ns", "u8", (5,)), ("state_entries", "u4", (5,)), ("base", COUNTS),
        ("now", COUNTS), ("window_events", EVENTS), ("whole_events", WHOLE), ("local", "u1", (16,)),
        ("remote", "u1", (16,)), ("congestion", "S16"),
    ],
    align=True,
)  # fmt: skip
SETS = np.dtype(
    [
        ("segs", [("cwnd", "u4"), ("inflight", "u4")], (histogram.SEGS_BUCKETS,)),
        ("times", [("rtt", "u4"), ("srtt", "u4")], (histogram.RTT_BUCKETS,)),
        ("slow_start", [("slow_rtt", "u4")], (histogram.RTT_BUCKETS,)),
    ]
)
CONTROL = np.dtype([("records", "u4"), ("histograms", "u4"), ("lost_records", "u8")])


@dataclass
class Kernel:
    """What bpf/tcp.bpf.c does to its maps, as far as the numbers go."""

    now_ns: int = 10**9
    control: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(1, CONTROL))
    records: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(4, RECORD))
    sets: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(3, SETS))

    def admit(self) -> None:
        if self.control[0]["records"] == len(self.records):
            self.control[0]["lost_records"] += 1
            return
        record = self.records[self.control[0]["records"]]
        self.control[0]["records"] += 1
        record["cookie"] = 100 + self.control[0]["records"]
        record["netns"], record["family"], record["mss_bytes"] = 42, 2, 1448
        record["syn_ns"] = self.now_ns - 1000
        record["established_ns"] = record["window_ns"] = record["state_since_ns"] = record["last_ns"] = self.now_ns
        for name in ("base", "now"):
            record[name]["bytes_acked"] = 1
        for name in SPREADS:
            record[f"{name}_spread"]["minimum"] = decode.NO_VALUE

    def segment(self, index: int, rtt_us: int, retransmitted: int) -> None:
        record = self.records[index]
        if not record["cookie"] or record["closed"]:
            return
        self.now_ns += 1_234_567
        record["last_ns"] = self.now_ns
        now = record["now"]
        now["bytes_acked"] += 1448
        now["segs_out"] += 1 + retransmitted
        now["data_segs_out"] += 1 + retransmitted
        now["retrans_segs"] += retransmitted
        now["busy_jiffies"] += 1
        record["window_events"]["retrans_fast_segs"] += retransmitted
        record["pacing_total"] += rtt_us
        record["pacing_samples"] += 1
        if not record["histogram"]:
            self.control[0]["histograms"] += 1
            record["histogram"] = self.control[0]["histograms"]
        if rtt_us % 3 == 0:
            self.slow_start(record, rtt_us)
        record["samples"][record["pending"]] = (rtt_us, rtt_us + 3, rtt_us % 70, rtt_us % 30)
        record["pending"] += 1
        if record["pending"] == PENDING:
            decode.count_pending(self.records[index : index + 1], self.sets)

    def slow_start(self, record: npt.NDArray[Any], rtt_us: int) -> None:
        """These samples do not wait: they are added at once."""
        spread, bucket = record["slow_rtt_spread"], histogram.bucket_of(rtt_us)
        spread["total"] += rtt_us
        spread["minimum"], spread["maximum"] = min(spread["minimum"], rtt_us), max(spread["maximum"], rtt_us)
        if bucket < histogram.RTT_BUCKETS:
            self.sets[record["histogram"] - 1]["slow_start"]["slow_rtt"][bucket] += 1
        else:
            record["slow_rtt_above"] += 1

    def congestion_state(self, index: int, state: int) -> None:
        record = self.records[index]
        if not record["cookie"] or record["closed"] or record["state"] == state:
            return
        self.now_ns += 777
        record["state_ns"][record["state"]] += self.now_ns - int(record["state_since_ns"])
        record["state_entries"][state] += 1
        record["state_since_ns"], record["state"] = self.now_ns, state
        record["last_ns"] = self.now_ns

    def close(self, index: int) -> None:
        record = self.records[index]
        if record["cookie"] and not record["closed"]:
            record["end_ns"], record["closed"] = self.now_ns, 1

    def snapshot(self) -> TcpSnapshot:
        self.now_ns += 10_000
        for record in self.records[self.records["cookie"] > 0]:
            if not record["closed"]:
                self.records["end_ns"][self.records["cookie"] == record["cookie"]] = self.now_ns
        return copied(self.control[0], self.records, self.sets)


indices = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("admit")),
    st.tuples(st.just("segment"), indices, st.integers(1, 90_000_000), st.integers(0, 2)),
    st.tuples(st.just("segment"), indices, st.integers(1, 60_000), st.just(0)),
    st.tuples(st.just("congestion_state"), indices, st.integers(0, 4)),
    st.tuples(st.just("close"), indices),
    st.tuples(st.just("look")),
)


def driven(trace: list[tuple[Any, ...]]) -> list[TcpSnapshot]:
    kernel = Kernel()
    found = [kernel.snapshot()]
    for name, *arguments in trace:
        if name == "look":
            found.append(kernel.snapshot())
        else:
            getattr(kernel, name)(*arguments)
    return [*found, kernel.snapshot()]


def between(first: TcpSnapshot, second: TcpSnapshot) -> dict[int, TcpSocket]:
    return {one.cookie: one for one in sockets_between(first, second, HOSTS, 4000, frozenset())}


def histograms(socket: TcpSocket) -> tuple[Histogram, ...]:
    assert socket.slow_start_rtt_us is not None
    return socket.rtt_us, socket.srtt_us, socket.cwnd, socket.inflight, socket.slow_start_rtt_us


@given(st.lists(steps, max_size=120).map(lambda more: [("admit",), *more]))
def test_intervals_add_up_to_the_trial(trace: list[tuple[Any, ...]]) -> None:
    looks = driven(trace)
    whole = between(looks[0], looks[-1])
    parts = [between(first, second) for first, second in itertools.pairwise(looks)]
    assert whole
    for cookie, socket in whole.items():
        mine = [part[cookie] for part in parts if cookie in part]
        for name, value in socket.counters.items():
            assert sum(part.counters[name] for part in mine) == value, name
        assert sum(part.whole_bytes_acked for part in mine) == socket.whole_bytes_acked
        assert sum("handshake_us" in part.gauges for part in mine) == 1
        for each, all_of in zip(zip(*map(histograms, mine), strict=True), histograms(socket), strict=True):
            assert tuple(np.sum([one.counts for one in each], axis=0).tolist()) == all_of.counts
            assert sum(one.above for one in each) == all_of.above
            assert sum(one.total for one in each) == all_of.total
            assert all(one.minimum >= all_of.minimum and one.maximum <= all_of.maximum for one in each if one.count)
        assert replace(mine[-1], counters={}, gauges={}).closed == socket.closed
    assert sum(second.lost - first.lost for first, second in itertools.pairwise(looks)) == looks[-1].lost


@given(st.lists(steps, max_size=80).map(lambda more: [("admit",), *more]))
def test_from_the_begin_to_the_end_is_what_the_end_tells(trace: list[tuple[Any, ...]]) -> None:
    looks = driven([step for step in trace if step[0] != "look"])
    last = looks[-1]
    alone = {
        int(record["cookie"]): decode.socket_of(record, last.histograms, HOSTS, 4000, frozenset())
        for record in last.records
    }
    assert between(looks[0], last) == alone


def test_a_connection_that_was_closed_before_an_interval_is_not_in_it() -> None:
    looks = driven([("admit",), ("segment", 0, 20_000, 0), ("close", 0), ("look",), ("admit",), ("segment", 1, 5, 0)])
    assert list(between(looks[1], looks[2])) == [102]


@given(st.lists(st.integers(1, 10**6), min_size=1), st.lists(st.integers(1, 10**6), min_size=1))
def test_extremes_of_a_difference_hold_its_values(before: list[int], later: list[int]) -> None:
    scale = histogram.edges(histogram.RTT_BUCKETS)
    first = histogram.of_values("us", scale, np.array(before))
    found = histogram.since(first, histogram.of_values("us", scale, np.array([*before, *later])))
    assert found.count == len(later)
    assert found.minimum <= min(later)
    assert found.maximum >= max(later)
    # A bucket is at most 1/32 of its values wide.
    assert min(later) <= found.minimum * (1 + 1 / 32) + 1
    assert found.maximum <= max(later) * (1 + 1 / 32) + 1


def test_samples_that_the_kernel_counts_while_they_are_copied_are_counted_once() -> None:
    kernel = Kernel()
    kernel.admit()
    for _ in range(PENDING - 1):
        kernel.segment(0, 20_000, 0)
    torn, sets = kernel.records[:1].copy(), kernel.sets[:1].copy()
    kernel.segment(0, 20_000, 0)
    # The record as it was before the kernel counted its samples, the histograms as they were after.
    sets[:] = kernel.sets[:1]
    settle(torn, sets, kernel.records, kernel.sets)
    decode.count_pending(torn, sets)
    assert int(sets["times"]["rtt"].sum()) == PENDING
