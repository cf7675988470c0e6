"""What `perfctl latency` has seen, as events: one a connection, one a stage, one a slow packet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np

from perfcheck.analyse.histogram import statistics
from perfcheck.cli.perfctl.hist_events import buckets
from perfcheck.cli.perfctl.latency_view import LatencyReport
from perfcheck.live.rtt_split import TOLD, Split
from perfcheck.live.stages import Packets, SlowPacket, StageTimes
from perfcheck.model.event import Event, EventType
from perfcheck.model.metric import Layer

_LAYER_OF: Mapping[str, Layer] = {layer.value: layer for layer in Layer}


def latency_events(report: LatencyReport) -> Iterator[Event]:
    """Yield all events; those of packets are of type `detail`, the others summaries."""
    number, end_ns = count(), report.end_ns
    for split in report.splits.largest(TOLD):
        yield _of_split(split, next(number), end_ns)
    if report.packets is None:
        return
    for each in report.packets.times():
        yield _of_stage(each, next(number), end_ns)
    for packet in report.packets.slowest(report.slowest):
        yield _of_packet(packet, next(number))
    yield _of_share(report, report.packets, next(number), end_ns)


def _of_split(split: Split, number: int, end_ns: int) -> Event:
    metrics = {
        "tcp.handshake_us": split.handshake_us, "tcp.min_rtt_us": split.path_us, "tcp.rtt_us.mean": split.rtt_us,
        "tcp.queue_delay_us": split.queue_us, "socket.unsent_bytes": split.unsent_bytes,
        "socket.unread_bytes": split.unread_bytes, "socket.send_wait_us": split.send_wait_us,
        "socket.read_wait_us": split.read_wait_us,
    }  # fmt: skip
    known = {name: value for name, value in metrics.items() if np.isfinite(value)}
    return Event(
        number=number, timestamp_ns=end_ns, flow=split.key, layer=Layer.TCP, metric="tcp.rtt_us.mean",
        value=known.get("tcp.rtt_us.mean", 0.0), type=EventType.SUMMARY, metrics=known,
        context={"host": split.key.host, "summary": "; ".join(split.lines())},
    )  # fmt: skip


def _of_stage(times: StageTimes, number: int, end_ns: int) -> Event:
    found = times.histogram()
    exact = {f"{times.name}.{stat}": times.quantile(share) for stat, share in _QUANTILES.items()}
    metrics = {f"{times.name}.{stat}": value for stat, value in statistics(found).items()} | exact
    median = metrics.pop(f"{times.name}.p50")
    metrics[f"{times.name}.count"] = float(found.count)
    return Event(
        number=number, timestamp_ns=end_ns, flow=None, layer=_LAYER_OF[times.name.partition(".")[0]],
        metric=f"{times.name}.p50", value=median, type=EventType.SUMMARY, metrics=metrics,
        context={"role": times.role.value, "unit": "us", **buckets(found)},
    )  # fmt: skip


_QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "min": 0.0, "max": 1.0}


def _of_packet(packet: SlowPacket, number: int) -> Event:
    name, longest = max(packet.stages_us, key=lambda each: each[1], default=("app.oneway_us", packet.total_us))
    return Event(
        number=number, timestamp_ns=packet.begin_ns + int(packet.total_us * 1000), flow=packet.flow,
        layer=_LAYER_OF[name.partition(".")[0]], metric=name, value=longest, type=EventType.DETAIL,
        metrics=dict(packet.stages_us),
        context={"role": packet.role.value, "total_us": packet.total_us, "seq": packet.seq,
                 "bytes": packet.length_bytes, "attempt": packet.attempt},
    )  # fmt: skip


def _of_share(report: LatencyReport, packets: Packets, number: int, end_ns: int) -> Event:
    stream = packets.stream
    return Event(
        number=number, timestamp_ns=end_ns, flow=None, layer=Layer.NIC, metric="nic.followed_packets",
        value=float(packets.followed), type=EventType.SUMMARY,
        metrics={"detail.followed_pct": 100 * stream.share, "detail.lost_records": float(stream.lost),
                 "detail.records": float(stream.written), "nic.lost_packets": float(packets.lost())},
        context={"notes": " | ".join(report.notes)} if report.notes else {},
    )  # fmt: skip
