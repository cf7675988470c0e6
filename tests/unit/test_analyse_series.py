"""Percentiles of many histograms at once, rates from arrivals, and blocks that end with a tick."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.analyse.bucket_rows import quantiles
from perfcheck.analyse.histogram import quantile
from perfcheck.analyse.series import arrived_by, curves, whole_ticks
from perfcheck.collect.base import histogram
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.observation import Arrival, FlowReport, Requests, Timings, TrafficReport
from perfcheck.model.series import COUNT, FLOW, VALUE, FlowSamples, NamedSamples, Samples
from perfcheck.model.traffic import Iperf3Spec, TrafficSpec

EDGES = np.array(histogram.edges(histogram.RTT_BUCKETS))


def _end(host: str, port: int) -> FlowKey:
    return FlowKey(protocol=Protocol.TCP, host=host, local=host, local_port=port + 1, remote="x", remote_port=port + 1)


ENTRIES = (TrafficSpec(name="bulk", iperf3=Iperf3Spec.model_validate({"from": "client", "to": "server"})),)
counts = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(0, 3)),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=30),
    max_size=8,
)


@given(counts, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_percentiles_of_all_are_those_of_each(values: dict[tuple[int, int], list[int]], share: float) -> None:
    rows = np.array(
        [
            (tick, group, histogram.bucket_of(value), 1)
            for (group, tick), each in values.items()
            for value in each
        ],
        COUNT,
    )  # fmt: skip
    group, tick, found = quantiles(rows, EDGES, [share])
    assert sorted(values) == list(zip(group.tolist(), tick.tolist(), strict=True))
    for place, key in enumerate(sorted(values)):
        alone = histogram.of_values("us", tuple(EDGES.tolist()), np.array(values[key]))
        wide = histogram.of_values("us", tuple(EDGES.tolist()), np.array([0]))
        # Without the exact extremes, which rows do not have.
        expected = quantile(
            type(alone)(unit="us", edges=alone.edges, counts=alone.counts, minimum=wide.minimum, maximum=1e9), share
        )
        assert found[place, 0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 300), st.integers(0, 10**6)), min_size=1, max_size=20),
    st.lists(st.integers(0, 1400), max_size=10),
)
def test_all_that_arrives_is_told_once(arrivals: list[tuple[int, int, int]], cuts: list[int]) -> None:
    begins, lasted, amounts = (np.array(column) for column in zip(*arrivals, strict=True))
    moments = np.array([0, *sorted(cuts), 1400])
    found = arrived_by(moments, begins, lasted, amounts.astype(float))
    assert found[0] == 0
    assert found[-1] == pytest.approx(amounts.sum(), rel=1e-9, abs=1e-3)
    assert (np.diff(found) >= -1e-3).all()
    expected = [
        sum(amount * min(max((moment - begin) / length, 0), 1) for begin, length, amount in arrivals)
        for moment in moments.tolist()
    ]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-2)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8))
def test_blocks_end_with_a_tick(steps: list[list[int]]) -> None:
    ticks = np.cumsum([step for block in steps for step in block])
    blocks, place = [], 0
    for block in steps:
        rows = np.zeros(len(block), VALUE)
        rows["tick"] = ticks[place : place + len(block)]
        place += len(block)
        blocks.append(rows)
    found = list(whole_ticks(iter(blocks)))
    assert np.concatenate([block["tick"] for block in found]).tolist() == ticks.tolist()
    for before, after in itertools.pairwise(found):
        assert before["tick"][-1] < after["tick"][0]


def test_rates_are_told_as_finely_as_the_generator_does() -> None:
    report = TrafficReport(
        generator="iperf3", metrics={}, flows=(), start_ns=1000 * 10**6, end_ns=1400 * 10**6,
        arrivals=(
            Arrival(begin_ns=1000 * 10**6, end_ns=1200 * 10**6, size_bytes=1000, answers=4),
            Arrival(begin_ns=1200 * 10**6, end_ns=1400 * 10**6, size_bytes=3000),
        ),
    )  # fmt: skip
    ticks = np.array([1100, 1200, 1300, 1400, 1500]) * 10**6
    named = NamedSamples(
        curves=(("client", "cpu.busy_pct"),), values=lambda: iter([np.array([(0, 0, 7.0), (2, 0, 9.0)], VALUE)])
    )
    samples = Samples(began_ns=1000 * 10**6, ticks_ns=ticks, named=(named,))
    found = {(curve.subject, curve.metric): curve for curve in curves(samples, ENTRIES, [report], [])}
    throughput = found["bulk", "app.throughput_bps"]
    assert throughput.t_ns.tolist() == [100 * 10**6, 200 * 10**6, 300 * 10**6, 400 * 10**6]
    assert throughput.values == pytest.approx([40_000, 40_000, 120_000, 120_000])
    assert found["bulk", "app.requests_per_s"].values == pytest.approx([20, 20])
    assert found["client", "cpu.busy_pct"].t_ns.tolist() == [100 * 10**6, 300 * 10**6]


LIVES = st.lists(st.tuples(st.integers(1, 99), st.integers(1, 100)), min_size=1, max_size=20)
"""How many ms a connection lived within one interval of 100 ms, and for what share of it it had data to send."""


@given(LIVES, LIVES)
def test_what_limits_is_a_share_of_the_time_that_connections_lived(
    now: list[tuple[int, int]], later: list[tuple[int, int]]
) -> None:
    """Of connections that are shorter than an interval no time counts in which they were not there."""
    rows = np.zeros(len(now) + len(later), FLOW)
    rows["flow"], rows["fresh"] = np.arange(len(rows)), 1
    rows["tick"] = [0] * len(now) + [1] * len(later)
    lived, share = np.array([*now, *later]).T
    rows["until_ns"], rows["state_ns"][:, 0] = 1, lived * 10**6
    rows["busy_jiffies"] = lived * share * 10  # of 1 us, so that nothing is rounded
    ends = [FlowReport(sender=_end("client", port), receiver=_end("server", port)) for port in range(len(rows))]
    flows = FlowSamples(
        keys={port: pair.sender for port, pair in enumerate(ends)}, rows=lambda: iter([rows]), rtts=lambda: iter(()),
        edges_us=tuple(EDGES.tolist()), jiffy_us=1,
    )  # fmt: skip
    report = TrafficReport(generator="iperf3", metrics={}, flows=tuple(ends), start_ns=0, end_ns=2 * 10**8)
    samples = Samples(began_ns=0, ticks_ns=np.array([1, 2]) * 10**8, flows=(flows,))
    found: dict[str, list[float]] = {}
    for curve in curves(samples, ENTRIES, [report], []):
        found.setdefault(curve.metric, []).extend(curve.values.tolist())
    busy = [100 * sum(ms * part / 100 for ms, part in each) / sum(ms for ms, _ in each) for each in (now, later)]
    assert found["tcp.limited_cwnd_pct"] == pytest.approx(busy)
    parts = zip(*(found[f"tcp.limited_{name}_pct"] for name in ("rwnd", "sndbuf", "cwnd", "app")), strict=True)
    assert [sum(each) for each in parts] == pytest.approx([100, 100])


@given(st.lists(st.one_of(st.just(0), st.integers(1, 10**10)), min_size=1, max_size=40), st.integers(1, 99_999_999))
def test_where_nothing_arrived_the_rate_is_0_and_never_below(sizes: list[int], apart_ns: int) -> None:
    lasted = 100_000_000
    report = TrafficReport(
        generator="iperf3", metrics={}, flows=(), start_ns=0, end_ns=len(sizes) * lasted,
        arrivals=tuple(
            Arrival(begin_ns=number * lasted, end_ns=(number + 1) * lasted, size_bytes=size)
            for number, size in enumerate(sizes)
        ),
    )  # fmt: skip
    ticks = np.arange(1, len(sizes) + 1) * lasted + apart_ns
    samples = Samples(began_ns=0, ticks_ns=ticks)
    for curve in curves(samples, ENTRIES, [report], []):
        for end_ns, rate_bps in zip(curve.t_ns.tolist(), curve.values.tolist(), strict=True):
            begin_ns = 0 if end_ns == ticks[0] else end_ns - lasted
            there = any(sizes[begin_ns // lasted : -(-end_ns // lasted)])
            assert rate_bps >= 0
            assert there or rate_bps == 0


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), min_size=1, max_size=40),
    st.lists(st.integers(1, 1500), min_size=1, max_size=6, unique=True),
)
def test_latencies_are_those_of_the_answers_that_ended_in_an_interval(
    requests: list[tuple[int, int]], ticks: list[int]
) -> None:
    millisecond = 10**6
    sent, took = (np.array(column, np.int64) for column in zip(*requests, strict=True))
    took_us = took.astype(np.float64) * 1000
    report = TrafficReport(
        generator="http", metrics={}, flows=(), start_ns=0, end_ns=2000 * millisecond,
        requests=Requests(sent_ns=sent * millisecond, latency_us=took_us),
        timings=(Timings(metric="app.connect_us", ended_ns=(sent + took) * millisecond, took_us=took_us),),
    )  # fmt: skip
    edges = [0, *sorted(ticks)]
    samples = Samples(began_ns=0, ticks_ns=np.array(edges[1:]) * millisecond)
    found = {curve.metric: curve for curve in curves(samples, ENTRIES, [report], [])}
    ended = sent + took
    for name in ("app.latency_us", "app.connect_us"):
        for stat, share in (("p50", 50), ("p99", 99)):
            expected = {
                end * millisecond: np.percentile(took_us[(ended > begin) & (ended <= end)], share)
                for begin, end in itertools.pairwise(edges)
                if ((ended > begin) & (ended <= end)).any()
            }
            curve = found.get(f"{name}.{stat}")
            told = {} if curve is None else dict(zip(curve.t_ns.tolist(), curve.values.tolist(), strict=True))
            assert told == pytest.approx(expected)
