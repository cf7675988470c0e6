"""What a watch is gathered into: sums add up however much it is thinned, memory is bounded, and the page tells it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_intervals import a_histogram, flow_table, interval, packed
from live_watches import busy, gathered, hostile_watch

from perfcheck.analyse.histogram import merge
from perfcheck.live.observation import figures_of
from perfcheck.model.flow import Histogram
from perfcheck.model.flow_table import FlowTable
from perfcheck.model.interval import Accounting, Interval
from perfcheck.report.charts.cumulated import cumulated, steps
from perfcheck.report.charts.heatmap import Slice, counted, edges_of, heatmap
from perfcheck.report.charts.lines import Labels
from perfcheck.report.document import Document, Table
from perfcheck.report.html import render_html
from perfcheck.report.live.busiest import MOST as MOST_FLOWS
from perfcheck.report.live.busiest import Busiest
from perfcheck.report.live.course import MOST_STRETCHES as MOST_PARTS
from perfcheck.report.live.course import MOST_WHOLE, Course
from perfcheck.report.live.gathering import MOST_STRETCHES, Gathering
from perfcheck.report.live.page import document
from perfcheck.report.live.stretch import RTT, Stretch, joined, whole_of
from perfcheck.report.live.thinning import Thinning
from perfcheck.report.sound import require_sound

LABELS = Labels(name="a-chart", title="a title", quantity="tcp.rtt_us", unit="us")
HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202e"


def page(found: Gathering) -> Document:
    made = document(found)
    require_sound(made)
    return made


def texts(made: Document) -> str:
    return str(made.lead) + str(made.sections)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), max_size=300), st.integers(1, 8))
def test_thinning_keeps_sums_and_extremes_in_a_bounded_number(values: list[int], half: int) -> None:
    course: Thinning[tuple[int, int, int, int]] = Thinning(
        2 * half, lambda a, b: (a[0] + b[0], min(a[1], b[1]), max(a[2], b[2]), a[3] + b[3])
    )
    for value in values:
        course.add((value, value, value, 1))
    found = list(course)
    assert len(found) <= 2 * half
    assert sum(one[0] for one in found) == sum(values)
    assert sum(one[3] for one in found) == len(values)
    if values:
        assert (min(one[1] for one in found), max(one[2] for one in found)) == (min(values), max(values))
        assert all(one[3] == course.each for one in found[:-1])


def test_an_odd_number_of_stretches_is_refused() -> None:
    with pytest.raises(ValueError, match="even number"):
        Thinning(3, lambda a, b: a + b)


INTERVALS = st.lists(
    st.tuples(
        st.integers(0, 10**9), st.integers(0, 50), st.lists(st.integers(0, 1000), min_size=3, max_size=3),
        st.integers(0, 5), st.integers(0, 5),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(INTERVALS, st.integers(1, 3))
def test_counts_and_histograms_add_up_to_what_the_intervals_had(asked: list[Any], half: int) -> None:
    course = Thinning(2 * half, joined)
    whole: list[Interval] = []
    for number, (sent, lost, counts, opened, refused) in enumerate(asked):
        told = Accounting(opened=opened, refused=refused, cpu_pct=2.0)
        one = busy(number, sent=sent, lost=lost, histograms={RTT: a_histogram(counts)}, accounting=told)
        whole.append(one)
        course.add(Stretch.of(one, figures_of(one)))
    found = whole_of(course)
    assert found.intervals == len(asked)
    assert found.counts["bytes_acked"] == sum(each[0] for each in asked)
    assert found.counts["retransmitted"] == found.counts["again_fast"] == sum(each[1] for each in asked)
    assert found.counts["opened"] == sum(each[3] for each in asked)
    assert found.counts["refused"] == sum(each[4] for each in asked)
    assert found.seconds == pytest.approx(len(asked))
    assert found.cpu_s == pytest.approx(0.02 * len(asked))
    assert found.rtt == merge(one.histograms[RTT] for one in whole)
    assert found.gauges["send_bps"].high == 8 * max(each[0] for each in asked)
    assert found.gauges["send_bps"].low == 8 * min(each[0] for each in asked)
    assert found.gauges["send_bps"].mean == pytest.approx(8 * found.counts["bytes_acked"] / found.seconds)
    assert sum(found.limits.values()) <= len(asked)


def test_samples_in_other_buckets_are_counted_and_left_out() -> None:
    other = Histogram(unit="us", edges=(0.0, 7.0), counts=(5,), minimum=1.0, maximum=6.0, total=20.0)
    found = gathered(busy(0), busy(1, histograms={RTT: other}))
    whole = whole_of(found.stretches)
    assert whole.rtt == a_histogram()
    assert whole.rtt_left_out == 5
    assert "5 samples are of other buckets" in texts(page(found))


def test_a_long_watch_is_kept_in_few_stretches_and_few_connections() -> None:
    found = gathered()
    for number in range(300):
        flows = flow_table(3, cookie=[1, 1000 + 2 * number, 1001 + 2 * number], bytes_acked=[10, 5, 4], elapsed_us=1)
        found.add(interval(number, flows))
    assert len(found.stretches) <= MOST_STRETCHES
    assert len(found.course.parts) <= MOST_PARTS
    assert all(not len(part.flows) for part in found.course.parts)
    assert len(found.busiest) <= MOST_FLOWS
    first = found.busiest.table(1)
    assert (int(first["cookie"][0]), int(first["bytes_acked"][0])) == (1, 3_000)
    assert found.busiest.left_out
    assert whole_of(found.stretches).counts["bytes_acked"] == 300 * 19
    assert len(render_html(page(found))) < 1_000_000


def test_the_busiest_connections_are_summed_up_over_intervals() -> None:
    found = Busiest()
    found.add(flow_table(3, bytes_acked=[100, 0, 50], retrans_segs=[1, 0, 2]))
    found.add(flow_table(2, cookie=[3, 9], bytes_acked=[60, 70], bytes_received=[0, 5]))
    table = found.table(10)
    assert table["cookie"].tolist() == [3, 1, 9]
    assert table["bytes_acked"].tolist() == [110, 100, 70]
    assert table["retrans_segs"].tolist() == [2, 1, 0]
    assert not found.left_out
    assert not len(Busiest().table(5))


def test_a_short_watch_is_diagnosed_by_all_of_its_intervals_and_a_long_one_by_merged_metrics() -> None:
    short, long = Course(), Course()
    for number in range(5):
        short.add(busy(number))
    assert [len(part.flows) for part in short.parts] == [1] * 5
    for number in range(MOST_WHOLE + 5):
        long.add(busy(number, metrics={"tcp.retrans_segs": 2.0, "tcp.connections": 4.0, "cpu.busy_pct": float(number)}))
    assert sum(part.metrics["tcp.retrans_segs"] for part in long.parts) == 2.0 * (MOST_WHOLE + 5)
    assert {part.metrics["tcp.connections"] for part in long.parts} == {4.0}
    means = [part.metrics["cpu.busy_pct"] for part in long.parts]
    assert means == sorted(means)
    assert means[0] == pytest.approx(0.5 if len(long.parts) > 60 else np.mean(range(round(long.parts[0].seconds))))
    assert long.diagnosed(part=False) is not None
    assert Course().diagnosed(part=False) is None
    assert short.diagnosed(part=False, times_ns=[(0, 1)]) is None


def test_the_page_tells_the_watch_in_words_and_figures() -> None:
    found = gathered(*(busy(number, lost=40 if number >= 5 else 0) for number in range(20)))
    made = page(found)
    said = texts(made)
    assert "Watched 20.0 s in 20 intervals: at most 1 connection at a time" in said
    assert "20 MB (8 Mbit/s) were sent and acknowledged" in said
    assert "3 % of 20,000 data segments were retransmitted" in said
    assert "1 alert was raised (retransmissions 1)" in said
    names = {chart.name: chart for chart in made.charts()}
    assert {"throughput", "rtt-course", "again-course", "bottlenecks", "rtt-distribution", "rtt-heatmap",
            "alert-times", "limits"} <= names.keys()  # fmt: skip
    assert names["throughput"].columns["mean0"] == [8] * 20
    assert names["again-course"].columns["mean0"] == [0] * 5 + [4] * 15
    assert sum(names["rtt-heatmap"].columns["count"]) == 20 * a_histogram().count  # type: ignore[arg-type]
    (flows,) = (block for section in made.sections if section.anchor == "connections-section"
                for block in section.blocks if isinstance(block, Table))  # fmt: skip
    assert [cell.text for cell in flows.rows[0]][:4] == [
        "1. 10.0.0.1:40000 → 10.0.0.2:5201", "iperf3[100]", "20 MB", "0 B",
    ]  # fmt: skip


def test_what_was_left_out_or_cannot_be_measured_is_told() -> None:
    told = Accounting(opened=3, ended=2, refused=7, lost=4, cpu_pct=0.25, shed=("detail",))
    found = gathered(busy(0, accounting=told, lacks={"drops": "no tracepoint", "nic": "no tracepoint"}))
    said = texts(page(found))
    assert "7 connections had no room" in said
    assert "4 events lost" in said
    assert "left out to stay below --cpu-ceiling: detail" in said
    assert "drops, nic: no tracepoint" in said


def test_a_watch_without_connections_is_told_and_one_without_intervals_has_no_page() -> None:
    made = page(gathered(interval(0, FlowTable.empty())))
    assert "No connection was seen" in texts(made)
    assert made.badge is None
    with pytest.raises(ValueError, match="no interval"):
        document(gathered())


def test_hostile_names_stay_text() -> None:
    found = hostile_watch(lambda _: HOSTILE)
    text = render_html(page(found))
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


HISTOGRAMS = st.lists(st.integers(0, 10_000), min_size=1, max_size=12).filter(any)


@settings(deadline=None, max_examples=25)
@given(st.lists(HISTOGRAMS, min_size=1, max_size=6))
def test_each_value_of_a_heatmap_is_counted_once(asked: list[list[int]]) -> None:
    slices = [Slice(begin_s=at, end_s=at + 1, values=a_histogram(counts)) for at, counts in enumerate(asked)]
    scale = edges_of([one.values for one in slices])
    assert scale == sorted(set(scale))
    assert all(counted(one.values, scale).sum() == one.values.count for one in slices)
    chart = heatmap(LABELS, slices)
    assert sum(chart.columns["count"]) == sum(one.values.count for one in slices)  # type: ignore[arg-type]
    require_sound(Document(title="", lead=()))


@settings(deadline=None, max_examples=40)
@given(HISTOGRAMS, st.integers(0, 50), st.integers(0, 50))
def test_a_distribution_rises_from_the_smallest_to_all_values_at_the_largest(
    counts: list[int], below: int, above: int
) -> None:  # fmt: skip
    edges = tuple(10.0 * 2**step for step in range(len(counts) + 1))
    whole = Histogram(unit="us", edges=edges, counts=tuple(counts), below=below, above=above, minimum=5.0,
                      maximum=2 * edges[-1], total=1.0)  # fmt: skip
    found = steps(whole)
    values, shares = zip(*found, strict=True)
    assert list(values) == sorted(values)
    assert list(shares) == sorted(shares)
    assert shares[-1] == pytest.approx(100)
    assert values[0] == 5.0
    chart = cumulated(LABELS, whole)
    assert len({len(column) for column in chart.columns.values()}) == 1


def test_a_watch_passes_intervals_on_as_they_are_and_asks_all_else_of_their_source() -> None:
    class Source(list[Interval]):
        connections = 7

        def __enter__(self) -> Source:
            return self

        def __exit__(self, *_: object) -> None:
            self.closed = True

    source = Source([busy(0), busy(1)])
    found = gathered()
    with found.opening(lambda: source)() as intervals:
        assert getattr(intervals, "connections", None) == 7
        assert getattr(intervals, "stop", None) is None
        assert list(intervals) == list(source)
    assert source.closed
    assert whole_of(found.stretches).intervals == 2


def test_numbers_that_only_a_damaged_recording_has_make_a_page_all_the_same() -> None:
    wild = busy(0, metrics={"tcp.cwnd_segs.p50": math.inf, "nic.rx_drops": math.inf, "cpu.busy_pct": math.nan})
    wild.flows.columns["srtt_us"][:] = math.inf
    wild.flows.columns["local"][:] = np.frombuffer(packed("::1"), "V16")[0]
    render_html(page(gathered(wild, busy(1))))


def test_marks_whose_names_would_overlap_are_left_out() -> None:
    def named(counts: list[int], largest: float) -> list[object]:
        edges = tuple(10.0 * 2**step for step in range(len(counts) + 1))
        whole = Histogram(unit="us", edges=edges, counts=tuple(counts), minimum=10.0, maximum=largest, total=1.0)
        return [mark for mark in cumulated(LABELS, whole).columns["mark"] if mark is not None]

    assert named([5_000, 4_400, 550, 0, 0, 0, 50], 1280.0) == ["p50", "p90", "p99", "p99.9"]
    assert named([5_000, 5_000], 40.0) == ["p50", "p90", "p99"]


@settings(deadline=None)
@given(st.lists(HISTOGRAMS, min_size=1, max_size=3))
def test_the_ticks_of_a_heatmap_are_round_and_within_it(asked: list[list[int]]) -> None:
    chart = heatmap(LABELS, [Slice(begin_s=at, end_s=at + 1, values=a_histogram(one)) for at, one in enumerate(asked)])
    (cells,) = chart.spec["layer"]
    low, high = min(chart.columns["low"]), max(chart.columns["high"])  # type: ignore[type-var]
    ticks = cells["encoding"]["y"]["axis"]["values"]
    assert all(f"{tick:.0e}"[0] in "125" for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
