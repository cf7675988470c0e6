"""A report cut to spans of time: its parts add up to the whole, and the whole span is the report itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pytest
from fluid import EPOCH_NS, Flow, S, World
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.analyse.cut import cut
from perfcheck.analyse.spans import Span
from perfcheck.model.flow import Protocol
from perfcheck.model.observation import Arrival, TrafficReport
from perfcheck.testing import make_flow_report
from perfcheck.traffic.requests import Answered, arrivals, request_metrics, timed

SECOND: Final = 50
"""Steps of the fluid model."""
MBIT: Final = 10**6
AMOUNTS: Final = ("app.throughput_bps", "udp.throughput_bps", "app.requests_per_s")


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    source, target = draw(st.permutations(["a", "b", "c"]).map(lambda order: order[:2]))
    generator = draw(st.sampled_from(["iperf3", "http", "sockperf"]))
    return Flow(
        generator=generator, source=source, target=target, start_step=draw(st.integers(0, SECOND)),
        steps=draw(st.integers(SECOND, 4 * SECOND)), cap_bps=draw(st.sampled_from([float("inf"), 3.0 * MBIT])),
        protocol=draw(st.sampled_from(["tcp", "udp"])) if generator == "iperf3" else "tcp",
    )  # fmt: skip


worlds = st.builds(
    World, rates_bps=st.just(((20 * MBIT, 20 * MBIT), (10 * MBIT, 10 * MBIT))),
    flows=st.lists(flows(), min_size=1, max_size=3).map(tuple), warmup_steps=st.sampled_from([0, 7]),
).map(World.run)  # fmt: skip

moments = st.lists(st.integers(0, 7 * S), max_size=4, unique=True).map(sorted)


def spans_of(report: TrafficReport, cuts: list[int]) -> list[Span]:
    """Return spans that cover all of the report's time, divided at these moments."""
    ends = [EPOCH_NS - S, *(EPOCH_NS + each for each in cuts), report.end_ns + 10 * S]
    return list(pairwise(ends))


def amount(report: TrafficReport, name: str) -> float:
    """Return a rate's amount: the rate times the time that it is of."""
    if name not in report.metrics or report.measured_ns is None:
        return 0.0
    begin_ns, end_ns = report.measured_ns
    return report.metrics[name] * (end_ns - begin_ns) / S


@given(worlds, moments)
@settings(max_examples=80, deadline=None)
def test_what_the_parts_received_is_what_the_whole_received(world: World, cuts: list[int]) -> None:
    for report in world.reports():
        parts = [cut(report, span) for span in spans_of(report, cuts)]
        for name in AMOUNTS:
            assert sum(amount(part, name) for part in parts) == pytest.approx(amount(report, name), rel=1e-6), name
        for name in ("udp.datagrams",):
            assert sum(part.metrics.get(name, 0.0) for part in parts) == report.metrics.get(name, 0.0)


@given(worlds)
@settings(max_examples=60, deadline=None)
def test_a_report_cut_to_all_of_its_time_is_itself(world: World) -> None:
    for report in world.reports():
        (span,) = spans_of(report, [])
        assert cut(report, span).metrics == pytest.approx(dict(report.metrics), rel=1e-6)


@given(
    st.lists(st.tuples(st.integers(1, 400_000), st.floats(50, 300_000)), min_size=1, max_size=60),
    st.sampled_from([0.0, 50_000.0]), moments,
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_each_request_is_in_one_part_with_the_latency_that_it_had(
    asked: list[tuple[int, float]], warmup_us: float, cuts: list[int]
) -> None:
    sent_us = np.cumsum([gap for gap, _ in asked]).astype(np.float64)
    answered = Answered(sent_us=sent_us, latency_us=np.array([latency for _, latency in asked]))
    arrived, measured_ns = arrivals(answered, warmup_us, EPOCH_NS, 100)
    report = TrafficReport(
        generator="http", flows=(), metrics=request_metrics(answered, warmup_us), start_ns=EPOCH_NS,
        end_ns=EPOCH_NS + round(1000 * sent_us[-1]) + S, arrivals=arrived, measured_ns=measured_ns,
        requests=timed(answered, EPOCH_NS, 100),
    )  # fmt: skip
    parts = [cut(report, span) for span in spans_of(report, cuts)]
    together = np.concatenate([part.requests.latency_us for part in parts if part.requests is not None])
    assert sorted(together.tolist()) == sorted(answered.latency_us.tolist())
    (whole,) = (cut(report, span) for span in spans_of(report, []))
    assert dict(whole.metrics) == pytest.approx(dict(report.metrics), rel=1e-6)


def report_of(*each: Arrival) -> TrafficReport:
    metrics = {"app.throughput_bps": 1.0, "udp.throughput_bps": 1.0, "udp.datagrams": 1.0}
    return TrafficReport(
        generator="iperf3", flows=(make_flow_report(protocol=Protocol.UDP),), metrics=metrics, start_ns=0, end_ns=5 * S,
        arrivals=each, measured_ns=(each[0].begin_ns, each[-1].end_ns),
    )  # fmt: skip


def test_datagrams_of_a_span_have_their_own_loss_and_jitter() -> None:
    report = report_of(
        Arrival(begin_ns=0, end_ns=S, size_bytes=1000, datagrams=10, lost=1, jitter_us=(100.0, 300.0)),
        Arrival(begin_ns=S, end_ns=2 * S, size_bytes=500, datagrams=10, lost=5, jitter_us=(400.0,)),
        Arrival(begin_ns=2 * S, end_ns=3 * S),
    )
    first, second, third = (cut(report, (begin * S, (begin + 1) * S)).metrics for begin in range(3))
    assert (first["udp.loss_pct"], first["udp.jitter_us"], first["app.throughput_bps"]) == (10, 200, 8000)
    assert (second["udp.loss_pct"], second["udp.jitter_us"], second["udp.throughput_bps"]) == (50, 400, 4000)
    # Which of the datagrams are lost is known where the next one arrives.
    assert third == {"app.throughput_bps": 0.0, "udp.throughput_bps": 0.0, "udp.datagrams": 0.0}


def test_an_interval_belongs_to_the_span_in_which_its_middle_lies() -> None:
    report = report_of(*(Arrival(begin_ns=each * S, end_ns=(each + 1) * S, size_bytes=each) for each in range(4)))
    assert cut(report, (S // 2 - 1, 2 * S)).measured_ns == (0, 2 * S)
    assert cut(report, (S // 2 + 1, 2 * S)).measured_ns == (S, 2 * S)


def test_the_clock_of_a_part_is_that_of_the_whole() -> None:
    report = report_of(*(Arrival(begin_ns=each * S, end_ns=(each + 1) * S, size_bytes=each) for each in range(1, 4)))
    assert cut(report, (2 * S, 4 * S)).zero_ns == S


def test_of_a_generator_that_does_not_say_when_there_is_nothing() -> None:
    report = TrafficReport(
        generator="command", flows=(), metrics={"app.duration_us": 1e6}, start_ns=S, end_ns=3 * S
    )  # fmt: skip
    part = cut(report, (2 * S, 5 * S))
    assert part.metrics == {}
    assert (part.start_ns, part.end_ns) == (2 * S, 3 * S)
