"""A generator's report cut to a span of time: its figures as if nothing else had been measured.

What takes time is never divided: an interval of iperf3, or a request until its answer, belongs to the span in which its
middle lies, and rates of intervals are over their own time. So the parts of a report add up to the whole, and a request
that waits for a link to come back belongs to the time in which the link was away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from perfcheck.analyse.spans import Span
from perfcheck.model.observation import Arrival, Requests, TrafficReport

_PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
_THROUGHPUT: Final = "app.throughput_bps"
_REQUESTS: Final = "app.requests_per_s"


def cut(report: TrafficReport, span: Span) -> TrafficReport:
    """Return the report of that span alone; metrics whose time the generator does not tell are left out.

    The report has to have its final times: those by the kernel's clock where there are any.
    """
    zero_ns = report.zero_ns
    if zero_ns is None and report.arrivals:
        zero_ns = report.arrivals[0].begin_ns
    part = replace(
        report, metrics={}, arrivals=(), measured_ns=None, zero_ns=zero_ns,
        start_ns=min(max(report.start_ns, span[0]), span[1]), end_ns=max(min(report.end_ns, span[1]), span[0]),
    )  # fmt: skip
    if report.requests is not None:
        return _with_requests(part, report, report.requests, span)
    return _with_arrivals(part, report, [each for each in report.arrivals if _lies_in(each, span)])


def _lies_in(arrival: Arrival, span: Span) -> bool:
    return span[0] <= (arrival.begin_ns + arrival.end_ns) // 2 < span[1]


def _with_arrivals(part: TrafficReport, whole: TrafficReport, arrivals: Sequence[Arrival]) -> TrafficReport:
    within = whole.measured_ns
    measured = [each for each in arrivals if within and within[0] <= each.begin_ns and each.end_ns <= within[1]]
    if not measured:
        return replace(part, arrivals=tuple(arrivals))
    begin_ns, end_ns = measured[0].begin_ns, measured[-1].end_ns
    metrics = {}
    if end_ns > begin_ns:
        rate_bps = 8e9 * sum(each.size_bytes for each in measured) / (end_ns - begin_ns)
        metrics = {name: rate_bps for name in (_THROUGHPUT, "udp.throughput_bps") if name in whole.metrics}
    if "udp.datagrams" in whole.metrics:
        metrics |= _datagrams(measured)
    return replace(part, metrics=metrics, arrivals=tuple(arrivals), measured_ns=(begin_ns, end_ns))


def _datagrams(arrivals: Sequence[Arrival]) -> dict[str, float]:
    seen, lost = sum(each.datagrams for each in arrivals), sum(each.lost for each in arrivals)
    found = {"udp.datagrams": float(seen)}
    jitters_us = [jitter_us for each in arrivals for jitter_us in each.jitter_us]
    if seen:
        found["udp.loss_pct"] = 100.0 * min(max(lost, 0), seen) / seen
        found["udp.jitter_us"] = sum(jitters_us) / len(jitters_us) if jitters_us else 0.0
    return found


def _with_requests(part: TrafficReport, whole: TrafficReport, requests: Requests, span: Span) -> TrafficReport:
    middle_ns = requests.sent_ns + np.rint(500 * requests.latency_us).astype(np.int64)
    inside = (middle_ns >= span[0]) & (middle_ns < span[1])
    own = Requests(
        sent_ns=requests.sent_ns[inside], latency_us=requests.latency_us[inside], size_bytes=requests.size_bytes
    )
    if whole.measured_ns is None:
        # After the warm-up nothing was asked: what the generator says of all the time, it says of each part.
        nothing = {name: 0.0 for name in (_REQUESTS, _THROUGHPUT) if name in whole.metrics}
        return replace(part, requests=own, metrics=nothing if part.start_ns < part.end_ns else {})
    begin_ns, end_ns = max(span[0], whole.measured_ns[0]), min(span[1], whole.measured_ns[1])
    if end_ns <= begin_ns:
        return replace(part, requests=own)
    latency_us = own.latency_us[own.sent_ns >= whole.measured_ns[0]]
    answers = len(latency_us)
    metrics = {_REQUESTS: answers * 1e9 / (end_ns - begin_ns)}
    if _THROUGHPUT in whole.metrics:
        metrics[_THROUGHPUT] = 8 * requests.size_bytes * metrics[_REQUESTS]
    if answers:
        values = np.percentile(latency_us, list(_PERCENTILES.values()))
        metrics |= {f"app.latency_us.{stat}": float(value) for stat, value in zip(_PERCENTILES, values, strict=True)}
        metrics |= {"app.latency_us.mean": float(latency_us.mean()), "app.latency_us.max": float(latency_us.max())}
    arrival = Arrival(
        begin_ns=begin_ns, end_ns=end_ns, size_bytes=answers * requests.size_bytes, answers=answers
    )  # fmt: skip
    return replace(part, requests=own, metrics=metrics, arrivals=(arrival,), measured_ns=(begin_ns, end_ns))
