"""The TCP collector's maps without a kernel, and the steps by which bpf/tcp.bpf.c changes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import decode
from perfcheck.collect.tcp.snapshot import TcpSnapshot, copied

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
            "segs_out", "data_segs_out", "retrans_segs", "lost_segs", "busy_jiffies", "rwnd_limited_jiffies",
            "sndbuf_limited_jiffies",
        )
    ]
)  # fmt: skip
EVENTS = np.dtype([(f"retrans_{kind}_segs", "u4") for kind in ("fast", "rto", "tlp")])
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
        if record["histogram"] > len(self.sets):
            record["lost_samples"] += 1
            return
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

    def bring_up_to_date(self) -> None:
        self.now_ns += 10_000
        self.records["end_ns"][(self.records["cookie"] > 0) & (self.records["closed"] == 0)] = self.now_ns

    def snapshot(self) -> TcpSnapshot:
        self.bring_up_to_date()
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
