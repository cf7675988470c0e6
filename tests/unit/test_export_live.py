"""Families of a live run: counters only grow, buckets add up, text reads back as what it was made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_intervals import flow_table, interval, packed
from prometheus_client import Metric
from prometheus_client import parser as plain_parser
from prometheus_client.openmetrics import parser as open_parser
from prometheus_programs import complaints

from perfcheck.analyse.histogram import quantile
from perfcheck.collect.base.histogram import BUCKETS, RTT_BUCKETS, SEGS_BUCKETS, edges, of_values
from perfcheck.export import own_families as own
from perfcheck.export.buckets import MOST_BOUNDS, SCHEMA, Accumulated, bounds_at
from perfcheck.export.exporter import Exporter, Found
from perfcheck.export.family import Kind
from perfcheck.export.label_sets import KINDS
from perfcheck.export.names import HISTOGRAMS, is_counted, live_place
from perfcheck.export.snapshot import Series, Snapshot
from perfcheck.export.text import openmetrics_text, prometheus_text
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Accounting, Interval

LIVE = [metric for metric in CATALOGUE if (place := live_place(metric)) and place.family.kind is not Kind.HISTOGRAM]
VALUES = st.floats(0, 1e12, allow_nan=False)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def intervals_of(draw: Any) -> Sequence[Interval]:
    made = []
    for number in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(0, 6))
        counts = {
            name: draw(st.lists(st.integers(0, 1 << 40), min_size=rows, max_size=rows))
            for name in ("bytes_acked", "bytes_received", "retrans_segs", "retrans_rto_segs", "data_segs_out")
        }
        cookies = draw(st.lists(st.integers(1, 9), min_size=rows, max_size=rows, unique=True))
        names = draw(st.lists(st.binary(max_size=8), min_size=rows, max_size=rows))
        table = flow_table(rows, **counts, cookie=cookies, local_port=cookies, pid=cookies, srtt_us=100.0)
        table.columns["comm"][:] = names
        metrics = draw(st.dictionaries(st.sampled_from(LIVE), VALUES, max_size=12))
        values = np.array(draw(st.lists(st.integers(0, 1 << 27), max_size=30)), dtype=float)
        segments = np.array(draw(st.lists(st.integers(0, 1 << 14), max_size=30)), dtype=float)
        made.append(interval(
            number, table, metrics=metrics,
            histograms={
                "tcp.rtt_us": of_values("us", edges(RTT_BUCKETS), values),
                "tcp.cwnd_segs": of_values("segs", edges(SEGS_BUCKETS), segments),
                "tcp.unheard_of": of_values("us", edges(BUCKETS), values),
            },
            interfaces={("", f"eth{one}"): {"qdisc.packets": 5.0, "qdisc.drop_pct": 1.0} for one in range(rows)},
            accounting=Accounting(opened=rows, shed=(f"{number} things",)),
        ))  # fmt: skip
    return made


some_intervals = st.composite(intervals_of)()


def samples_of(snapshot: Snapshot) -> Samples:
    found: Samples = {}
    text = prometheus_text(snapshot.series())
    for family in plain_parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def total(samples: Samples, name: str) -> float:
    return sum(value for (sample, _), value in samples.items() if sample == name)


@settings(max_examples=12, deadline=None)
@given(some_intervals, st.sets(st.sampled_from(KINDS)), st.integers(1, 4))
def test_counters_and_buckets_only_grow(made: Sequence[Interval], kinds: set[str], most: int) -> None:
    exporter = Exporter(kinds=tuple(kinds), most=most, rules=("rtt-tail",))
    before: Samples = {}
    for one in made:
        snapshot = exporter.take(one, Found(raised=("rtt-tail",), causes={"healthy": 0.5}))
        now = samples_of(snapshot)
        for (name, labels), value in before.items():
            is_cumulative = name.endswith(("_total", "_bucket", "_count", "_sum"))
            if is_cumulative and (name, labels) in now and "flow_" not in name:
                assert now[name, labels] >= value
            if is_cumulative and "flow_" not in name:
                assert (name, labels) in now, f"{name} has vanished"
        before = now


@settings(max_examples=12, deadline=None)
@given(some_intervals)
def test_buckets_are_cumulative_and_hold_all(made: Sequence[Interval]) -> None:
    exporter = Exporter()
    for one in made:
        snapshot = exporter.take(one)
    for each in snapshot.series():
        for _, histogram in each.histograms:
            classic, native = histogram.classic(), histogram.native()
            assert list(classic.cumulative) == sorted(classic.cumulative)
            assert not classic.cumulative or classic.cumulative[-1] <= histogram.count
            assert native.zeros + sum(count for _, count in native.counts) == histogram.count
            assert 0 < len(classic.bounds) <= MOST_BOUNDS
    rtt = sum(one.histograms["tcp.rtt_us"].count for one in made)
    whole = sum(one.histograms["tcp.rtt_us"].total for one in made)
    samples = samples_of(snapshot)
    assert samples["perfctl_tcp_rtt_seconds_count", frozenset()] == rtt
    assert samples["perfctl_tcp_rtt_seconds_bucket", frozenset({("le", "+Inf")})] == rtt
    assert samples["perfctl_tcp_rtt_seconds_sum", frozenset()] == pytest.approx(whole / 1e6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1 << 14), min_size=1, max_size=50))
def test_a_bound_of_whole_numbers_is_exact(values: list[int]) -> None:
    histogram = of_values("segs", edges(SEGS_BUCKETS), np.array(values, float))
    classic = Accumulated(scale=1.0, least=2.0).plus(histogram).classic()
    for bound, reached in zip(classic.bounds, classic.cumulative, strict=True):
        assert reached == sum(value <= bound for value in values)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 1 << 25), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_native_bucket_is_within_its_bound_of_our_quantile(values: list[int], share: float) -> None:
    histogram = of_values("us", edges(RTT_BUCKETS), np.array(values, float))
    native = Accumulated(scale=1e-6, least=32.0).plus(histogram).native()
    reached = native.zeros
    for index, count in native.counts:  # noqa: B007 - the bucket that is reached is used below
        reached += count
        if reached >= share * len(values):
            break
    exact = sorted(values)[math.ceil(share * len(values)) - 1] / 1e6
    growth = 2 ** (2.0**-SCHEMA)
    assert 2 ** ((index - 1) * 2.0**-SCHEMA) / 1.016 <= exact <= growth**index * 1.017
    assert quantile(histogram, share) > 0


def test_bounds_are_octaves_of_our_edges() -> None:
    times = edges(RTT_BUCKETS)
    assert [times[place] for place in bounds_at(times, 32.0)] == [32.0 * 2**step for step in range(MOST_BOUNDS)]


@settings(max_examples=12, deadline=None)
@given(some_intervals, st.sets(st.sampled_from(KINDS)), st.integers(1, 4))
def test_both_texts_read_back_alike(made: Sequence[Interval], kinds: set[str], most: int) -> None:
    exporter = Exporter(kinds=tuple(kinds), most=most)
    for one in made:
        snapshot = exporter.take(one)
    plain = samples_of(snapshot)
    families: Iterable[Metric] = open_parser.text_string_to_metric_families(  # type: ignore[no-untyped-call]
        openmetrics_text(snapshot.series())
    )
    opened = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    # The parsers write bounds of buckets differently.
    assert {key for key in plain if not key[0].endswith("_bucket")} == {
        key for key in opened if not key[0].endswith("_bucket")
    }
    assert sorted(plain.values()) == sorted(opened.values())


@settings(max_examples=12, deadline=None)
@given(some_intervals, st.sampled_from(KINDS), st.sampled_from([1, 3, 40]))
def test_what_a_bound_leaves_out_is_summed_up(made: Sequence[Interval], kind: str, most: int) -> None:
    exporter = Exporter(kinds=(kind,), most=most)
    grown: dict[str, float] = defaultdict(float)
    before: Samples = {}
    for one in made:
        now = samples_of(exporter.take(one))
        assert total(now, "perfctl_flow_connections") == len(one.flows)
        assert total(now, "perfctl_flow_bottleneck_connections") == len(one.flows)
        sets = {labels for name, labels in now if name == "perfctl_flow_acked_bytes_total"}
        assert len(sets) <= most + 1
        for key, value in now.items():
            if key[0].startswith("perfctl_flow_") and key[0].endswith("_total"):
                # As Prometheus' increase() does it: a value below the one before is a new counter.
                last = before.get(key, 0.0)
                grown[key[0]] += value - last if value >= last else value
        before = now
    for family, column in (("acked_bytes", "bytes_acked"), ("received_bytes", "bytes_received"),
                           ("retrans_segments", "retrans_segs")):  # fmt: skip
        whole = sum(int(one.flows[column].sum()) for one in made)
        assert grown[f"perfctl_flow_{family}_total"] <= whole
        if most == 40:
            assert grown[f"perfctl_flow_{family}_total"] == whole


@settings(max_examples=12, deadline=None)
@given(some_intervals, st.sampled_from(KINDS))
def test_totals_of_label_sets_add_up(made: Sequence[Interval], kind: str) -> None:
    exporter = Exporter(kinds=(kind,), most=1000)
    for one in made:
        samples = samples_of(exporter.take(one))
    assert total(samples, "perfctl_flow_acked_bytes_total") == total(samples, "perfctl_tcp_acked_bytes_total")
    assert total(samples, "perfctl_series_left_out") == 0


def test_the_rest_is_counted_where_there_are_more_label_sets_than_allowed() -> None:
    exporter = Exporter(kinds=("connection",), most=2)
    table = flow_table(5, bytes_acked=[1, 50, 2, 40, 3])
    samples = samples_of(exporter.take(interval(0, table)))
    kept = {dict(labels)["local_port"]: value for (name, labels), value in samples.items()
            if name == "perfctl_flow_acked_bytes_total"}  # fmt: skip
    assert kept == {"40001": 50, "40003": 40, "other": 6}
    assert total(samples, "perfctl_series_left_out") == 3
    # A set that carries far more takes the place of the smallest; one that carries a little more does not.
    table = flow_table(5, bytes_acked=[1, 50, 2, 40, 79])
    samples = samples_of(exporter.take(interval(1, table)))
    assert total(samples, "perfctl_flow_acked_bytes_total") == 96 + 172
    table = flow_table(5, bytes_acked=[1, 50, 2, 40, 900])
    samples = samples_of(exporter.take(interval(2, table)))
    kept = {dict(labels)["local_port"]: value for (name, labels), value in samples.items()
            if name == "perfctl_flow_acked_bytes_total"}  # fmt: skip
    assert kept == {"40001": 150, "40004": 900, "other": 6 + 82 + 3 + 40}


def test_counters_are_there_from_the_first_interval_on() -> None:
    samples = samples_of(Exporter(rules=("loss-state",)).take(interval(0, flow_table(0))))
    assert samples["perfctl_tcp_retransmissions_total", frozenset({("kind", "rto")})] == 0
    assert samples["perfctl_tcp_acked_bytes_total", frozenset()] == 0
    assert samples["perfctl_tcp_connections", frozenset()] == 0
    assert samples["perfctl_alerts_total", frozenset({("rule", "loss-state")})] == 0
    assert samples["perfctl_bottleneck_connections", frozenset({("bottleneck", "healthy")})] == 0
    counted = [metric for metric, spec in CATALOGUE.items() if "tcp" in spec.needs and is_counted(metric)]
    for metric in counted:
        place = live_place(metric)
        assert place is None or (place.family.name, frozenset(place.labels.items())) in samples


def test_several_namespaces_are_told_apart_and_nothing_is_told_twice() -> None:
    table = flow_table(3, netns=[1, 1, 2], bytes_acked=[10, 20, 30], segs_out=5, retrans_segs=[1, 2, 4])
    table = FlowTable(columns=table.columns, hosts={1: "a", 2: 'b"\n'})
    one = interval(
        0, table, metrics={"udp.in_errors": 3.0, "cpu.host_busy_pct": 50.0, "tcp.retrans_segs": 7.0},
        hosts={"a": {"udp.in_errors": 1.0}, 'b"\n': {"udp.in_errors": 2.0}},
        interfaces={("a", "eth0"): {"qdisc.drops": 4.0}},
    )  # fmt: skip
    samples = samples_of(Exporter().take(one))
    assert samples["perfctl_udp_in_errors_total", frozenset({("netns", "a")})] == 1
    assert total(samples, "perfctl_udp_in_errors_total") == 3
    assert total(samples, "perfctl_tcp_acked_bytes_total") == 60
    assert samples["perfctl_tcp_retrans_segments_total", frozenset({("netns", 'b"\\n')})] == 4
    assert total(samples, "perfctl_tcp_retrans_segments_total") == 7
    assert samples["perfctl_cpu_host_busy_ratio", frozenset()] == 0.5
    assert samples["perfctl_qdisc_drops_total", frozenset({("netns", "a"), ("interface", "eth0")})] == 4


def test_interfaces_beyond_the_bound_are_summed_up() -> None:
    where = {("", f"veth{number}"): {"qdisc.drops": 1.0, "qdisc.drop_pct": 1.0} for number in range(70)}
    samples = samples_of(Exporter().take(interval(0, interfaces=where)))
    assert samples["perfctl_qdisc_drops_total", frozenset({("interface", "other")})] == 6
    assert total(samples, "perfctl_qdisc_drops_total") == 70
    assert total(samples, "perfctl_series_left_out") == 6


HOSTILE = ('a"} 1\nperfctl_up 0', "\\", '\\\\"', "\x1b[31m", "\u202eevil", '{le="1"}', "# HELP x", "other", "é", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_of_a_process_is_one_label(name: str) -> None:
    table = flow_table(1, comm=name.encode()[:15], bytes_acked=7)
    exporter = Exporter(kinds=("app", "process"))
    text = prometheus_text(exporter.take(interval(0, table)).series())
    samples = samples_of(exporter.exported())
    named = [labels for name_, labels in samples if name_ == "perfctl_flow_acked_bytes_total"]
    assert len(named) == 2, "its own series and that of all others"
    assert total(samples, "perfctl_up") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert complaints(text) == ""


def test_names_of_processes_that_look_alike_are_one_label_set() -> None:
    table = flow_table(3, bytes_acked=[1, 2, 4])
    table.columns["comm"][:] = [b"\xff", b"\xfe", b"ok"]
    samples = samples_of(Exporter(kinds=("app",)).take(interval(0, table)))
    assert total(samples, "perfctl_flow_acked_bytes_total") == 7
    assert len([1 for name, _ in samples if name == "perfctl_flow_acked_bytes_total"]) == 3


def test_texts_with_numbers_are_one_series() -> None:
    exporter = Exporter()
    for number in range(5):
        one = interval(number, accounting=Accounting(shed=(f"intervals are {number} times as long",)))
        snapshot = exporter.take(one)
    samples = samples_of(snapshot)
    assert [value for (name, _), value in samples.items() if name == "perfctl_shed"] == [1]
    samples = samples_of(exporter.take(interval(9)))
    assert total(samples, "perfctl_shed") == 0


def test_a_snapshot_is_not_changed_by_what_follows() -> None:
    exporter = Exporter(kinds=("connection",))
    one = interval(0, flow_table(2, bytes_acked=5), histograms={
        "tcp.rtt_us": of_values("us", edges(RTT_BUCKETS), np.array([100.0]))})  # fmt: skip
    first = exporter.take(one)
    before = prometheus_text(first.series())
    exporter.take(one)
    assert prometheus_text(first.series()) == before


def test_promtool_has_nothing_against_a_whole_exposition() -> None:
    made = {name: of_values("us", edges(BUCKETS), np.array([1.0, 900.0])) for name in HISTOGRAMS}
    metrics = dict.fromkeys(LIVE, 1.0)
    exporter = Exporter(kinds=KINDS, rules=("rtt-tail",))
    table = flow_table(3, bytes_acked=5, remote=packed("192.0.2.1"))
    snapshot = exporter.take(interval(0, table, metrics=metrics, histograms=made))
    assert complaints(prometheus_text(snapshot.series())) == ""


def test_families_are_told_once() -> None:
    names = _names(Exporter(kinds=("app",), rules=()).take(interval()).series())
    assert len(set(names)) == len(names)
    assert own.UP.name in names


def _names(series: Iterable[Series]) -> list[str]:
    return [one.family.name for one in series]
