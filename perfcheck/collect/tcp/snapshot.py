"""Copies of the TCP collector's maps while it counts, and the difference of two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfcheck.collect.base import histogram
from perfcheck.collect.tcp import decode
from perfcheck.model.flow import Histogram, TcpSocket

_TRIES: Final = 8
_AT_THE_START: Final = ("handshake_us", "synack_rtt_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSnapshot:
    """The used part of the maps at one moment: `pc_record`s, and `pc_histograms` by `pc_record.histogram` - 1.

    Samples that were pending are counted. `lost_records` are sockets for which there was no room.
    """

    records: npt.NDArray[Any]
    histograms: npt.NDArray[Any]
    lost_records: int

    @property
    def lost(self) -> int:
        """Sockets and samples that were not counted so far."""
        return self.lost_records + int(self.records["lost_samples"].sum())


def copied(control: npt.NDArray[Any], records: npt.NDArray[Any], sets: npt.NDArray[Any]) -> TcpSnapshot:
    """Copy what the maps hold, while the kernel writes to them."""
    own = records[: int(control["records"])].copy()
    own_sets = sets[: int(control["histograms"])].copy()
    settle(own, own_sets, records, sets)
    decode.count_pending(own, own_sets)
    return TcpSnapshot(records=own, histograms=own_sets, lost_records=int(control["lost_records"]))


def settle(
    own: npt.NDArray[Any], own_sets: npt.NDArray[Any], records: npt.NDArray[Any], sets: npt.NDArray[Any]
) -> None:  # fmt: skip
    """Copy again whose pending samples the kernel counted meanwhile: they would be counted twice, or not at all."""
    for _ in range(_TRIES):
        live = records[: len(own)]
        moved = np.flatnonzero(
            (live["pending"] != own["pending"]) | (live["cwnd_spread"]["total"] != own["cwnd_spread"]["total"])
        )
        if not moved.size:
            return
        own[moved] = live[moved]
        numbers = own["histogram"][moved].astype(np.int64) - 1
        numbers = numbers[(numbers >= 0) & (numbers < len(own_sets))]
        own_sets[numbers] = sets[numbers]


def sockets_between(
    first: TcpSnapshot, second: TcpSnapshot, hosts: Mapping[int, str], jiffy_us: int, absent: frozenset[str]
) -> Iterator[TcpSocket]:
    """Yield what each connection did between the snapshots, without those that were closed before."""
    for index, record in enumerate(second.records):
        if not (record["family"] and record["end_ns"]):
            continue
        after = decode.socket_of(record, second.histograms, hosts, jiffy_us, absent)
        earlier = first.records[index] if index < len(first.records) else None
        if earlier is None or not (earlier["family"] and earlier["end_ns"]):
            yield after
        elif not earlier["closed"]:
            before = decode.socket_of(earlier, first.histograms, hosts, jiffy_us, absent)
            yield replace(since(before, after), gauges=_gauges(before, after, earlier, record))


def since(before: TcpSocket, after: TcpSocket) -> TcpSocket:
    """Return a socket with what two looks at it differ by; gauges are the later one's."""
    first_ns = before.last_ns if before.first_ns else after.first_ns
    return replace(
        after,
        first_ns=first_ns,
        last_ns=max(first_ns, after.last_ns),
        rtt_us=histogram.since(before.rtt_us, after.rtt_us),
        srtt_us=histogram.since(before.srtt_us, after.srtt_us),
        cwnd=histogram.since(before.cwnd, after.cwnd),
        inflight=histogram.since(before.inflight, after.inflight),
        slow_start_rtt_us=_slow_start(before, after),
        counters={name: _grown(before.counters.get(name, 0), value) for name, value in after.counters.items()},
        whole_bytes_acked=_grown(before.whole_bytes_acked, after.whole_bytes_acked),
        whole_bytes_received=_grown(before.whole_bytes_received, after.whole_bytes_received),
        whole_retrans_segs=_grown(before.whole_retrans_segs, after.whole_retrans_segs),
        whole_segs_out=_grown(before.whole_segs_out, after.whole_segs_out),
    )


def _slow_start(before: TcpSocket, after: TcpSocket) -> Histogram | None:
    if before.slow_start_rtt_us is None or after.slow_start_rtt_us is None:
        return after.slow_start_rtt_us
    return histogram.since(before.slow_start_rtt_us, after.slow_start_rtt_us)


def _grown(before: int, after: int) -> int:
    """Return the difference; times that last while a snapshot is taken may turn out shorter (sndbuf_limited_us)."""
    return max(after - before, 0)


def _gauges(before: TcpSocket, after: TcpSocket, earlier: decode.Record, record: decode.Record) -> dict[str, float]:
    gauges = dict(after.gauges)
    if before.established_ns:
        for name in _AT_THE_START:
            gauges.pop(name, None)
    gauges.pop("pacing_rate_bps", None)
    if samples := int(record["pacing_samples"]) - int(earlier["pacing_samples"]):
        gauges["pacing_rate_bps"] = (int(record["pacing_total"]) - int(earlier["pacing_total"])) / samples * 8
    return gauges
