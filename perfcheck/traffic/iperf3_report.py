"""Turns the two documents of one iperf3 run into a TrafficReport; pure.

Goodput, loss and jitter come from the receiving side's interval reports that start after the warm-up: what the
sending side wrote does not show what arrived. iperf3's own `--omit` is not used. It would also remove the warm-up
from the totals of the whole flow, against which the kernel's counters are checked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from perfcheck.errors import TrafficError
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.observation import Arrival, FlowReport, TrafficReport
from perfcheck.model.scenario import Iperf3Spec
from perfcheck.model.units import readable_pct
from perfcheck.traffic.iperf3_json import Connected, Document, Interval, StreamInterval, Total

SLACK_S: Final = 0.005
"""An interval that begins so little before the end of the warm-up counts as after it: timers are not exact."""
SHORTEST_S: Final = 0.1
"""Less than one whole interval is the rest after the end of the traffic, not a measurement."""
CPU_BOTTLENECK_PCT: Final = 95.0
COARSE_PCT: Final = 1.0
THREADED: Final = (3, 16)
"""First version with one thread a stream: it counts whole reads, and looks for the end once an interval."""
SETUP_SHARE: Final = 0.6
"""Share of the client's time without traffic that lies before the traffic: connecting and agreeing on the parameters
takes about four round trips, exchanging the results between two and three."""
IDLES_WHEN_PACED: Final = (3, 17)
"""First version whose paced senders sleep; 3.16's spin, so that its CPU use says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Who runs the client and the server, and which of them sends."""

    client: str
    server: str
    client_sends: bool

    @classmethod
    def of(cls, spec: Iperf3Spec) -> Roles:
        """Choose the roles: the file's `from` is the client, except where an end after `bytes` needs it otherwise.

        The client decides when `bytes` are through. Sending TCP it would stop once all is written,
        megabytes before all has arrived, so the receiver is the client then. For UDP the sender is:
        a receiver would wait for ever for what was lost.
        """
        sender, receiver = (
            (spec.to_host, spec.from_host) if spec.reverse else (spec.from_host, spec.to_host)
        )  # fmt: skip
        client_sends = not spec.reverse if spec.size_bytes is None else spec.protocol == "udp"
        client, server = (sender, receiver) if client_sends else (receiver, sender)
        return cls(client=client, server=server, client_sends=client_sends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished run: both documents (the server's may be missing) and CLOCK_MONOTONIC around the client."""

    spec: Iperf3Spec
    roles: Roles
    client: Document
    server: Document | None
    start_ns: int
    end_ns: int

    @property
    def sender(self) -> Document | None:
        """The sending side's document."""
        return self.client if self.roles.client_sends else self.server

    @property
    def receiver(self) -> Document | None:
        """The receiving side's document."""
        return self.server if self.roles.client_sends else self.client


def build_report(run: Run, warmup_ns: int, *, warnings: Sequence[str] = ()) -> TrafficReport:
    """Return the report; what the documents do not say is left out of `metrics` and said in `warnings`.

    TrafficError when the client's document lacks what every finished test has.
    """
    _check_complete(run)
    notes = list(warnings)
    metrics: dict[str, float] = {}
    measured = _measured(run, warmup_ns, notes)
    if measured:
        goodput = _goodput_bps(measured)
        if goodput is not None:
            metrics["app.throughput_bps"] = goodput
            _warn_if_coarse(run, measured, notes)
        if run.spec.protocol == "udp":
            metrics |= _udp_metrics(run, measured, goodput)
    if run.spec.size_bytes is not None:
        metrics |= _duration_metrics(run, notes)
    cpu_pct = _cpu_pct(run)
    if cpu_pct is not None and cpu_pct > CPU_BOTTLENECK_PCT:
        notes.append(
            f"iperf3 used {cpu_pct:.0f} % of a CPU: it may have limited the throughput, not the path. Pin each host "
            "to its own CPUs, or lower the rate"
        )
    return TrafficReport(
        generator="iperf3",
        flows=tuple(_flows(run)),
        metrics=metrics,
        start_ns=run.start_ns,
        end_ns=run.end_ns,
        background=run.spec.background,
        cpu_pct=cpu_pct,
        arrivals=_arrivals(run),
        measured_ns=_span_ns(_zero_ns(run), measured) if measured else None,
        raw={
            "version": run.client.start.version,
            "client": run.client.end.model_dump(mode="json", by_alias=True),
            "server": None if run.server is None else run.server.end.model_dump(mode="json", by_alias=True),
        },
        warnings=tuple(notes),
    )


def _check_complete(run: Run) -> None:
    if not run.client.start.connected or not run.client.end.streams:
        raise TrafficError("iperf3's JSON is not that of a finished test: it has no connections or no totals")
    asked, used = run.spec.congestion, run.client.end.sender_tcp_congestion
    if asked is not None and used is not None and used != asked:
        raise TrafficError(f"iperf3's sender used the congestion control {used}, not {asked} as in the file")


def _measured(run: Run, warmup_ns: int, notes: list[str]) -> list[Interval]:
    """Return the receiver's intervals after the warm-up."""
    intervals = _received(run)
    if not intervals:
        notes.append("the receiving iperf3 gave no interval reports: no throughput was measured")
        return []
    begin = warmup_ns / 1e9 - SLACK_S
    kept = [interval for interval in intervals if interval.streams[0].start >= begin]
    if not kept or _seconds(kept) < SHORTEST_S:
        notes.append(f"iperf3's traffic ended within the warm-up of {warmup_ns / 1e9:g} s: no throughput was measured")
        return []
    return kept


def _received(run: Run) -> list[Interval]:
    intervals = () if run.receiver is None else run.receiver.intervals
    return [interval for interval in intervals if interval.streams]


def _arrivals(run: Run) -> tuple[Arrival, ...]:
    """Return what arrived in each interval."""
    zero_ns, found = _zero_ns(run), []
    for interval in _received(run):
        begin_ns, end_ns = _span_ns(zero_ns, [interval])
        found.append(Arrival(
            begin_ns=begin_ns, end_ns=end_ns,
            size_bytes=sum(stream.size_bytes for stream in interval.streams),
            datagrams=sum(stream.packets or 0 for stream in interval.streams),
            lost=sum(stream.lost_packets or 0 for stream in interval.streams),
            jitter_us=tuple(1000 * stream.jitter_ms for stream in interval.streams if stream.jitter_ms is not None),
        ))  # fmt: skip
    return tuple(found)


def _zero_ns(run: Run) -> int:
    """Return when the receiver's clock began, CLOCK_MONOTONIC, as far as the client's time without traffic tells."""
    whole_ns = round(1e9 * max((stream.end for stream in _streams(_received(run))), default=0))
    return run.start_ns + round(SETUP_SHARE * max(run.end_ns - run.start_ns - whole_ns, 0))


def _span_ns(zero_ns: int, intervals: Sequence[Interval]) -> tuple[int, int]:
    """Return begin and end of the intervals, CLOCK_MONOTONIC."""
    begin_s = min(stream.start for stream in _streams(intervals))
    return zero_ns + round(1e9 * begin_s), zero_ns + round(1e9 * max(stream.end for stream in _streams(intervals)))


def _streams(intervals: Iterable[Interval]) -> Iterable[StreamInterval]:
    return (stream for interval in intervals for stream in interval.streams)


def _seconds(intervals: Sequence[Interval]) -> float:
    return max(stream.end for stream in _streams(intervals)) - min(stream.start for stream in _streams(intervals))


def _goodput_bps(intervals: Sequence[Interval]) -> float | None:
    seconds = _seconds(intervals)
    if seconds <= 0:
        return None
    return 8 * sum(stream.size_bytes for stream in _streams(intervals)) / seconds


def _warn_if_coarse(run: Run, intervals: Sequence[Interval], notes: list[str]) -> None:
    if run.spec.protocol == "udp" or run.client.version < THREADED:
        return
    block = run.client.start.test_start.blksize
    total = sum(stream.size_bytes for stream in _streams(intervals))
    streams = len(intervals[0].streams)
    coarse_pct = 100 * block * streams**0.5 / total if total else 100.0
    if coarse_pct > COARSE_PCT:
        notes.append(
            f"iperf3 {'.'.join(map(str, run.client.version))} counts received data in whole reads of {block} bytes, "
            f"so its throughput is uncertain by {readable_pct(coarse_pct, 2)}: give a smaller length, "
            "such as length: 16kb"
        )


def _udp_metrics(run: Run, intervals: Sequence[Interval], goodput: float | None) -> dict[str, float]:
    metrics = {} if goodput is None else {"udp.throughput_bps": goodput}
    if run.receiver is None or not run.receiver.intervals:
        return metrics
    streams = tuple(_streams(intervals))
    seen = sum(stream.packets or 0 for stream in streams)
    lost = sum(stream.lost_packets or 0 for stream in streams)
    jitters = [stream.jitter_ms for stream in streams if stream.jitter_ms is not None]
    metrics["udp.datagrams"] = float(seen)
    if seen:
        metrics["udp.loss_pct"] = 100.0 * min(max(lost, 0), seen) / seen
        metrics["udp.jitter_us"] = 1000.0 * sum(jitters) / len(jitters) if jitters else 0.0
    elif run.sender is not None and (sent := _sent_since(run.sender, streams[0].start)):
        metrics |= {"udp.datagrams": float(sent), "udp.loss_pct": 100.0}
    return metrics


def _sent_since(sender: Document, start_s: float) -> int:
    """Count what was sent while the receiver, which numbers datagrams by those that arrive, saw none."""
    return sum(stream.packets or 0 for stream in _streams(sender.intervals) if stream.start >= start_s - SLACK_S)


def _duration_metrics(run: Run, notes: list[str]) -> dict[str, float]:
    """Return the time from the start of the traffic to the last byte that arrived, by the receiver's clock."""
    total = run.client.end.sum_received
    if total is None:
        notes.append("iperf3 did not say how long the transfer took")
        return {}
    if run.client.version >= THREADED:
        notes.append(
            f"iperf3 {'.'.join(map(str, run.client.version))} checks for the end of a transfer every 0.1 s: "
            "app.duration_us may be up to 0.1 s too long"
        )
    return {"app.duration_us": 1e6 * total.seconds}


def _cpu_pct(run: Run) -> float | None:
    """Return the busier side's use of one CPU; None where iperf3 spins, since that hides what it needs.

    A server spins once all `bytes` are written, and so do the paced senders of one version.
    """
    use = run.client.end.cpu_utilization_percent
    known = [pct for pct in (use.host_total, use.remote_total) if pct is not None]
    version = run.client.version
    if not known or run.spec.size_bytes is not None:
        return None
    paced = run.spec.protocol == "udp" or run.spec.rate_bps is not None
    if THREADED <= version < IDLES_WHEN_PACED and paced:
        return None
    return max(known) / (run.spec.streams if version >= THREADED else 1)


def _flows(run: Run) -> Iterable[FlowReport]:
    ends = run.client.end.streams
    for index, connected in enumerate(run.client.start.connected):
        here, there = _keys(run, connected)
        end = ends[index] if index < len(ends) else None
        sent, received = _totals(run, connected)
        yield FlowReport(
            sender=here if run.roles.client_sends else there,
            receiver=there if run.roles.client_sends else here,
            bytes_sent=sent,
            bytes_received=received,
            retransmits=end.sender.retransmits if end is not None and end.sender is not None else None,
        )


def _keys(run: Run, connected: Connected) -> tuple[FlowKey, FlowKey]:
    """Return the flow as the client's and as the server's host sees it; the latter differs behind a NAT."""
    protocol = Protocol(run.spec.protocol)
    here = FlowKey(
        protocol=protocol, host=run.roles.client, local=_plain(connected.local_host), local_port=connected.local_port,
        remote=_plain(connected.remote_host), remote_port=connected.remote_port,
    )  # fmt: skip
    other = _counterpart(run.server, connected)
    if other is None:
        return here, FlowKey(
            protocol=protocol, host=run.roles.server, local=here.remote, local_port=here.remote_port,
            remote=here.local, remote_port=here.local_port,
        )  # fmt: skip
    return here, FlowKey(
        protocol=protocol, host=run.roles.server, local=_plain(other.local_host), local_port=other.local_port,
        remote=_plain(other.remote_host), remote_port=other.remote_port,
    )  # fmt: skip


def _counterpart(server: Document | None, connected: Connected) -> Connected | None:
    """Find the server's end of a client's connection; None where address translation hides which one it is."""
    ends = () if server is None else server.start.connected
    if len(ends) == 1:
        return ends[0]
    return next((other for other in ends if other.remote_port == connected.local_port), None)


def _plain(address: str) -> str:
    """Return an IPv4-mapped IPv6 address as IPv4, and any address in its canonical text."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _totals(run: Run, connected: Connected) -> tuple[int | None, int | None]:
    """Return the payload bytes that one stream's sender wrote and its receiver got."""
    end = next((end for end in run.client.end.streams if _socket(end.sender or end.udp) == connected.socket), None)
    if end is None or end.udp is None:
        return (None, None) if end is None else (_size(end.sender), _size(end.receiver))
    other = _counterpart(run.server, connected)
    ours, theirs = connected.socket, None if other is None else other.socket
    sender, receiver = (ours, theirs) if run.roles.client_sends else (theirs, ours)
    return _counted(run.sender, sender), _counted(run.receiver, receiver)


def _counted(document: Document | None, socket: int | None) -> int | None:
    """Add up one side's intervals of one stream: a UDP receiver's totals do not say how much arrived."""
    if document is None or socket is None or not document.intervals:
        return None
    return sum(stream.size_bytes for stream in _streams(document.intervals) if stream.socket == socket)


def _socket(total: Total | None) -> int | None:
    return None if total is None else total.socket


def _size(total: Total | None) -> int | None:
    return None if total is None else total.size_bytes
