"""Turns `pc_record` and `pc_histograms` (bpf/perfcheck.h) into the model's TcpSocket.

Counters take their names from the C struct (as `retrans_tlp_segs` of pc_window_events): a new one needs no line here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.model.flow import FlowKey, Histogram, Protocol, TcpSocket
from perfcheck.model.flow_table import address_of

_CLOCK_MONOTONIC_COARSE: Final = 6
INFINITE_SSTHRESH: Final = 0x7FFFFFFF
_NO_RTT: Final = 0xFFFFFFFF
STATES: Final = ("open", "disorder", "cwr", "recovery", "loss")
RECOVERY: Final = STATES.index("recovery")
LOSS: Final = STATES.index("loss")
PADDING: Final = "__pad"  # as BCC names it
_CHRONOS: Final = ("busy", "rwnd_limited", "sndbuf_limited")
HISTOGRAMS: Final = (
    ("rtt", "times", "us"), ("srtt", "times", "us"), ("cwnd", "segs", "segs"), ("inflight", "segs", "segs"),
)  # fmt: skip

QUANTITIES: Final[Mapping[str, str]] = {name: array for name, array, _ in HISTOGRAMS}
"""Members of `pc_sample`, and the array of `pc_histograms` that each is counted in."""
NO_VALUE: Final = 0xFFFFFFFF  # PC_NO_VALUE

Record = Mapping[str, Any]


def jiffy_us() -> int:
    """Length of a jiffy: the resolution of the clock that ticks with it."""
    return round(time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e6)


def socket_of(
    record: Record, histograms: npt.NDArray[Any], hosts: Mapping[int, str], jiffy: int, absent: frozenset[str]
) -> TcpSocket:
    """Decode one record; `hosts` names network namespaces, `jiffy` is in us, `absent` counters are left out."""
    rtt, srtt, cwnd, inflight = _histograms(record, histograms)
    first_ns, last_ns = _window(record)
    window = bool(record["window_ns"])
    counters = _counters(record, jiffy) if window else dict.fromkeys(_counters(record, jiffy), 0)
    counters |= _counted(record["whole_events"])
    counters["elapsed_us"] = (last_ns - first_ns) // 1000 if window else 0
    now = record["now"]
    # An active open's SYN took a sequence number, which the kernel counts as a byte acknowledged.
    syn = bool(record["syn_ns"]) and bool(record["established_ns"]) and int(now["bytes_acked"]) > 0
    return TcpSocket(
        key=key_of(record, hosts),
        cookie=int(record["cookie"]),
        # Neither a SYN nor an ESTABLISHED was seen of a connection that was there before the trial.
        established_ns=int(record["established_ns"]) if record["syn_ns"] or record["passive"] else 0,
        first_ns=first_ns,
        last_ns=last_ns,
        closed=bool(record["closed"]),
        congestion=bytes(record["congestion"]).split(b"\0")[0].decode(errors="replace"),
        rtt_us=rtt,
        srtt_us=srtt,
        cwnd=cwnd,
        inflight=inflight,
        slow_start_rtt_us=_slow_start(record, histograms),
        counters={name: value for name, value in counters.items() if name not in absent},
        gauges=_gauges(record),
        whole_bytes_acked=int(now["bytes_acked"]) - syn,
        whole_bytes_received=int(now["bytes_received"]),
        whole_retrans_segs=int(now["retrans_segs"]),
        whole_segs_out=int(now["segs_out"]),
    )


def key_of(record: Record, hosts: Mapping[int, str]) -> FlowKey:
    """Return whose a record is."""
    family, netns = int(record["family"]), int(record["netns"])
    return FlowKey(
        protocol=Protocol.TCP,
        host=hosts.get(netns, f"netns:{netns}"),
        local=address_of(family, bytes(record["local"])),
        local_port=int(record["local_port"]),
        remote=address_of(family, bytes(record["remote"])),
        remote_port=int(record["remote_port"]),
    )


def _window(record: Record) -> tuple[int, int]:
    """Begin and end of the measured time; data still unacknowledged at the end count as time spent."""
    first_ns = int(record["window_ns"])
    last_ns = int(record["end_ns"] if record["outstanding_segs"] else record["last_ns"])
    return first_ns, max(first_ns, last_ns)


def _histograms(record: Record, sets: npt.NDArray[Any]) -> tuple[Histogram, Histogram, Histogram, Histogram]:
    """Decode the record's histogram set (counted from 1; 0 or beyond the end: no samples)."""
    number = int(record["histogram"])
    made = []
    for name, array, unit in HISTOGRAMS:
        scale = histogram.edges(sets.dtype[array].shape[0])
        if 0 < number <= len(sets):
            counts, above = sets[number - 1][array][name], int(record[f"{name}_above"])
            made.append(histogram.histogram(unit, scale, counts, above, record[f"{name}_spread"]))
        else:
            made.append(histogram.empty(unit, scale))
    return made[0], made[1], made[2], made[3]


def _slow_start(record: Record, sets: npt.NDArray[Any]) -> Histogram:
    number, scale = int(record["histogram"]), histogram.edges(sets.dtype["slow_start"].shape[0])
    if not 0 < number <= len(sets):
        return histogram.empty("us", scale)
    counts, above = sets[number - 1]["slow_start"]["slow_rtt"], int(record["slow_rtt_above"])
    return histogram.histogram("us", scale, counts, above, record["slow_rtt_spread"])


def _counted(members: Any) -> dict[str, int]:
    """Return the members of a struct of `pc_record`, whose names are the counters'."""
    return {name: int(members[name]) for name in members.dtype.names if not name.startswith(PADDING)}


def _grown(record: Record) -> dict[str, int]:
    """Return by how much tcp_sock's counts grew in the window; those of 32 bits may have wrapped."""
    before, after = _counted(record["base"]), _counted(record["now"])
    bits = {name: 8 * record["now"].dtype[name].itemsize for name in after}
    return {name: (value - before[name]) % (1 << bits[name]) for name, value in after.items()}


def _counters(record: Record, jiffy: int) -> dict[str, int]:
    _, last_ns = _window(record)
    grown = _grown(record)
    ticks = {name: grown.pop(f"{name}_jiffies") * jiffy for name in _CHRONOS}
    counters = grown | _limits(record, ticks) | _counted(record["window_events"])
    for index, state in enumerate(STATES):
        spent_ns = int(record["state_ns"][index])
        if index == int(record["state"]):
            spent_ns += max(0, last_ns - int(record["state_since_ns"]))
        counters[f"state_{state}_us"] = spent_ns // 1000
    counters["rto_events"] = int(record["state_entries"][LOSS])
    counters["recovery_events"] = int(record["state_entries"][RECOVERY])
    return counters


def _limits(record: Record, chronos: Mapping[str, int]) -> dict[str, int]:
    """Return the busy time and what limited it, by the chronos in us; the parts never exceed the whole."""
    # As TCP_INFO's busy time, which the two limits are part of (tcp_get_info_chrono_stats).
    busy_us = sum(chronos.values())
    limited_us = (int(record["sndbuf_ns"]) + int(record["sndbuf_last_ns"])) // 1000
    return {
        "busy_us": busy_us,
        "rwnd_limited_us": chronos["rwnd_limited"],
        "sndbuf_limited_us": min(limited_us, busy_us - chronos["rwnd_limited"]),
        "sndbuf_chrono_us": chronos["sndbuf_limited"],
    }


def _gauges(record: Record) -> dict[str, float]:
    mss, samples = int(record["mss_bytes"]), int(record["pacing_samples"])
    gauges = {
        "rttvar_us": float(record["rttvar_us"]),
        "mss_bytes": float(mss),
        "snd_wnd_bytes": float(record["snd_wnd_bytes"]),
        "reordering_segs": float(record["reordering_segs"]),
        "cwnd_segs": float(record["cwnd_segs"]),
    }
    ssthresh = int(record["ssthresh_segs"])
    gauges["ssthresh_segs"] = 0.0 if ssthresh >= INFINITE_SSTHRESH else float(ssthresh)
    if int(record["min_rtt_us"]) not in {0, _NO_RTT}:
        gauges["min_rtt_us"] = float(record["min_rtt_us"])
    if record["syn_ns"] and record["established_ns"]:
        gauges["handshake_us"] = float(record["handshake_us"])
    if record["passive"]:
        gauges["synack_rtt_us"] = float(record["synack_rtt_us"])
    if samples:
        gauges["pacing_rate_bps"] = int(record["pacing_total"]) / samples * 8
    if record["rate_interval_us"]:
        bits = int(record["rate_delivered_segs"]) * mss * 8
        gauges["delivery_rate_bps"] = bits * 1e6 / int(record["rate_interval_us"])
    return gauges


def count_pending(records: npt.NDArray[Any], sets: npt.NDArray[Any]) -> None:
    """Count what is left in `pc_record`s as count_samples() of bpf/tcp.bpf.c does; changes both arrays.

    What has no set of histograms is added to `lost_samples`.
    """
    rows, places = np.nonzero(np.arange(records.dtype["samples"].shape[0]) < records["pending"][:, None])
    number = records["histogram"][rows].astype(np.int64) - 1
    known = (number >= 0) & (number < len(sets))
    np.add.at(records["lost_samples"], rows[~known], 1)
    rows, places, number = rows[known], places[known], number[known]
    samples = records["samples"][rows, places]
    for name, array in QUANTITIES.items():
        given = samples[name] != NO_VALUE
        _count(name, rows[given], samples[name][given], number[given], records, sets[array][name])
    records["pending"] = 0


def _count(
    name: str, rows: npt.NDArray[Any], values: npt.NDArray[Any], number: npt.NDArray[Any],
    records: npt.NDArray[Any], counts: npt.NDArray[Any],
) -> None:  # fmt: skip
    buckets = histogram.buckets_of(values)
    within = buckets < counts.shape[1]
    np.add.at(counts, (number[within], buckets[within]), 1)
    np.add.at(records[f"{name}_above"], rows[~within], 1)
    spread = records[f"{name}_spread"]
    np.add.at(spread["total"], rows, values.astype(np.uint64))
    np.minimum.at(spread["minimum"], rows, values)
    np.maximum.at(spread["maximum"], rows, values)
