"""What the traffic of several generators received together, over one common time.

The rates of two flows, each over its own time, cannot be added. A flow can have the link to itself before the other
starts, and the other after the first ends: each then reaches nearly the link's rate. So the amounts are added and
divided by the time in which at least one of the reports was measured (warm-up over, traffic not ended). What the
others received in that time counts, too, even in their warm-up: the link carried it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from perfcheck.analyse.flows import Identity, identity
from perfcheck.analyse.spans import Span, length_ns, union, within
from perfcheck.model.flow import Protocol, TcpSocket
from perfcheck.model.observation import Arrival, TrafficReport

_UDP: Final = "udp.throughput_bps"
RATES: Final[Mapping[str, Callable[[Arrival], int]]] = MappingProxyType({
    "app.throughput_bps": lambda arrival: 8 * arrival.size_bytes,
    _UDP: lambda arrival: 8 * arrival.size_bytes,
    "app.requests_per_s": lambda arrival: arrival.answers,
    "app.connections_per_s": lambda arrival: arrival.connections,
})  # fmt: skip
"""Metrics that are an amount a second, and the amount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An amount, and the time in which it arrived."""

    amount: float
    spans: tuple[Span, ...]

    @property
    def per_s(self) -> float:
        """The amount a second; 0 where there is no time."""
        time_ns = length_ns(self.spans)
        return self.amount * 1e9 / time_ns if time_ns else 0.0


def common_rates(reports: Sequence[TrafficReport]) -> dict[str, float]:
    """Return each metric of RATES over all reports together; one report's own figure stands as it is."""
    found = {}
    for name in RATES:
        having = [report for report in reports if name in report.metrics]
        if not having:
            continue
        others = [
            report for report in reports if name not in report.metrics and any(True for _ in _amounts(name, report))
        ]
        if len(having) == 1 and not others:
            found[name] = having[0].metrics[name]
        elif (together := received(name, having, others)).spans:
            found[name] = together.per_s
    return found


def received(name: str, measured: Sequence[TrafficReport], others: Sequence[TrafficReport] = ()) -> Received:
    """Return what all reports received while at least one of the measured ones was; others add no time.

    A stretch that lies in that time only in part is left out, so that the sum is never above what arrived.
    """
    spans = union(_measured_ns(report) for report in measured)
    amount = sum(
        value
        for report in (*measured, *others)
        for begin_ns, end_ns, value in _amounts(name, report)
        if within(begin_ns, end_ns, spans)
    )
    return Received(amount=amount, spans=tuple(spans))


def on_the_kernels_clock(reports: Sequence[TrafficReport], sockets: Sequence[TcpSocket]) -> tuple[TrafficReport, ...]:
    """Return the reports with their arrivals moved to where their connections were established.

    iperf3 begins once the last of its connections stands. It does not say when that was; the kernel does.
    """
    established = {identity(socket.key): socket.established_ns for socket in sockets if socket.established_ns}
    return tuple(_moved(report, established) for report in reports)


def _moved(report: TrafficReport, established: Mapping[Identity, int]) -> TrafficReport:
    keys = [key for flow in report.flows for key in (flow.sender, flow.receiver) if key.protocol is Protocol.TCP]
    moments = [established[identity(key)] for key in keys if identity(key) in established]
    if not moments or not report.arrivals:
        return report
    # The first arrival of a report that was cut to a span is not where its clock begins.
    by_ns = max(moments) - (report.arrivals[0].begin_ns if report.zero_ns is None else report.zero_ns)
    arrivals = tuple(
        replace(each, begin_ns=each.begin_ns + by_ns, end_ns=each.end_ns + by_ns) for each in report.arrivals
    )
    span = report.measured_ns
    moved_ns = None if span is None else (span[0] + by_ns, span[1] + by_ns)
    return replace(report, arrivals=arrivals, measured_ns=moved_ns, zero_ns=max(moments))


def _measured_ns(report: TrafficReport) -> Span:
    return report.measured_ns or (report.start_ns, report.end_ns)


def _amounts(name: str, report: TrafficReport) -> Iterator[tuple[int, int, float]]:
    """Return (begin, end, amount); from a figure alone, the amount that makes it up."""
    if name == _UDP and not _is_udp(report):
        return
    amount = RATES[name]
    told = [(each.begin_ns, each.end_ns, amount(each)) for each in report.arrivals if amount(each)]
    if told:
        yield from told
    elif name in report.metrics:
        begin_ns, end_ns = _measured_ns(report)
        yield begin_ns, end_ns, report.metrics[name] * (end_ns - begin_ns) / 1e9


def _is_udp(report: TrafficReport) -> bool:
    return _UDP in report.metrics or any(flow.sender.protocol is Protocol.UDP for flow in report.flows)
