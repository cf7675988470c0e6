"""Several intervals as one (`perfcheck/live/whole.py`): nothing is counted twice, and nothing is lost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_intervals import flow_table, interval

from perfcheck.analyse.histogram import merge, quantile
from perfcheck.collect.base.histogram import BUCKETS, edges, of_values
from perfcheck.live.whole import added, is_summed, merged_flows, merged_metrics, together
from perfcheck.model.flow_table import COUNTS, TOTALS, FlowTable
from perfcheck.model.interval import Accounting, Interval

RTT = "tcp.rtt_us"
SPACES = (7, 8)


def drawn_table(rng: np.random.Generator) -> FlowTable:
    """Return some of a few connections, so that intervals share them; two namespaces use the same cookies."""
    places = rng.permutation(8)[: rng.integers(0, 9)]
    rows = len(places)

    def some(low: int, high: int) -> Any:
        return np.where(rng.random(rows) < 0.2, np.nan, rng.integers(low, high, rows))

    counts = {name: rng.integers(0, 1 << 40, rows) for name in (*COUNTS, *TOTALS)}
    rtt_count = rng.integers(0, 5, rows)
    return flow_table(
        rows, **counts | {"rtt_count": rtt_count, "elapsed_us": rng.integers(1, 2_000_000, rows)},
        cookie=1 + places // 2, netns=np.array(SPACES)[places % 2],
        rtt_mean_us=np.where(rtt_count > 0, rng.integers(100, 10_000, rows), np.nan),
        rtt_min_us=some(10, 100), rtt_max_us=some(10_000, 20_000), rtt_p50_us=some(100, 10_000),
        srtt_us=some(100, 10_000), cwnd_segs=some(1, 100), cwnd_min_segs=some(1, 10), cwnd_max_segs=some(100, 200),
        inflight_max_segs=some(1, 100), closed=rng.random(rows) < 0.3,
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> list[Interval]:
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    made = []
    for number in range(draw(st.integers(1, 5))):
        samples = rng.lognormal(9, 1, int(rng.integers(0, 50)))
        made.append(interval(
            number, drawn_table(rng),
            histograms={RTT: of_values("us", edges(BUCKETS), samples)} if samples.size else {},
            metrics={"qdisc.drops_full": float(rng.integers(0, 100)), "cpu.busy_pct": float(rng.integers(0, 100))},
            accounting=Accounting(
                opened=int(rng.integers(0, 9)), ended=int(rng.integers(0, 9)), lost=int(rng.integers(0, 9)),
                refused=int(rng.integers(0, 9)), cpu_pct=float(rng.random()),
            ),
        ))  # fmt: skip
    return made


def rows_of(tables: Sequence[FlowTable]) -> dict[tuple[int, int], list[tuple[FlowTable, int]]]:
    """Return each connection's rows, the earliest first."""
    found = defaultdict(list)
    for table in tables:
        for row in range(len(table)):
            found[int(table["netns"][row]), int(table["cookie"][row])].append((table, row))
    return found


def by_connection(table: FlowTable) -> dict[tuple[int, int], dict[str, Any]]:
    return {
        key: {name: one[name][row].tolist() for name in one.columns}
        for key, rows in rows_of([table]).items()
        for one, row in rows
    }


def values(rows: Sequence[tuple[FlowTable, int]], name: str) -> list[float]:
    return [float(table[name][row]) for table, row in rows if not np.isnan(table[name][row])]


@given(runs())
def test_each_connection_is_there_once_with_all_it_did(run: list[Interval]) -> None:
    tables = [one.flows for one in run]
    whole = merged_flows(tables)
    expected = rows_of(tables)
    found = by_connection(whole)
    assert len(whole) == len(found) == len(expected)
    for key, rows in expected.items():
        for name in COUNTS:
            assert found[key][name] == sum(int(table[name][row]) for table, row in rows), name
        table, row = rows[-1]
        for name in (*TOTALS, "srtt_us", "cwnd_segs", "closed"):
            assert found[key][name] == pytest.approx(table[name][row].tolist(), nan_ok=True), name


@given(runs())
def test_extremes_and_means_are_those_of_all_samples(run: list[Interval]) -> None:
    tables = [one.flows for one in run]
    found = by_connection(merged_flows(tables))
    for key, rows in rows_of(tables).items():
        one = found[key]
        for name, extreme in (
            ("rtt_min_us", min), ("cwnd_min_segs", min), ("rtt_max_us", max), ("cwnd_max_segs", max),
            ("inflight_max_segs", max),
        ):  # fmt: skip
            there = values(rows, name)
            assert one[name] == pytest.approx(extreme(there) if there else math.nan, nan_ok=True)
        counts = [int(table["rtt_count"][row]) for table, row in rows]
        sums = [int(table["rtt_count"][row]) * np.nan_to_num(table["rtt_mean_us"][row]) for table, row in rows]
        mean = sum(sums) / sum(counts) if sum(counts) else math.nan
        assert one["rtt_mean_us"] == pytest.approx(mean, nan_ok=True)
        assert one["send_bps"] == pytest.approx(8e6 * one["bytes_acked"] / max(one["elapsed_us"], 1000))
        if len(rows) > 1:
            assert math.isnan(one["rtt_p50_us"]), "percentiles of parts are none of the whole"
        else:
            assert one["rtt_p50_us"] == pytest.approx(rows[0][0]["rtt_p50_us"][rows[0][1]], nan_ok=True)


@given(runs(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(run: list[Interval], chance: Any) -> None:
    shuffled = []
    for one in run:
        places = list(range(len(one.flows)))
        chance.shuffle(places)
        shuffled.append(one.flows.where(np.array(places, np.intp)))
    straight, other = (by_connection(merged_flows(tables)) for tables in ([each.flows for each in run], shuffled))
    assert straight.keys() == other.keys()
    for key, columns in straight.items():
        for name, value in columns.items():
            assert value == pytest.approx(other[key][name], nan_ok=True) if isinstance(value, float) else (
                value == other[key][name]
            )  # fmt: skip


@given(runs())
def test_parts_put_together_first_give_the_same(run: list[Interval]) -> None:
    half = len(run) // 2
    whole = together(run)
    parts = [together(part) for part in (run[:half], run[half:]) if part]
    again = together(parts)
    assert (again.begin_ns, again.end_ns) == (whole.begin_ns, whole.end_ns)
    one, other = by_connection(whole.flows), by_connection(again.flows)
    assert one.keys() == other.keys()
    for key, columns in one.items():
        for name in (*COUNTS, *TOTALS, "rtt_mean_us", "rtt_min_us", "cwnd_max_segs", "send_bps"):
            assert columns[name] == pytest.approx(other[key][name], nan_ok=True), name
    assert again.accounting.opened == whole.accounting.opened == sum(one.accounting.opened for one in run)


@given(runs())
def test_percentiles_are_those_of_the_merged_histogram(run: list[Interval]) -> None:
    whole = together(run)
    merged = merge(one.histograms[RTT] for one in run if RTT in one.histograms)
    if merged is None:
        assert RTT not in whole.histograms
        return
    assert whole.histograms[RTT].count == sum(one.histograms[RTT].count for one in run if RTT in one.histograms)
    for stat, share in (("p50", 0.5), ("p99", 0.99)):
        found = quantile(whole.histograms[RTT], share)
        assert found == pytest.approx(quantile(merged, share))
        if len(whole.flows):
            assert whole.metrics[f"{RTT}.{stat}"] == pytest.approx(found)


@given(runs())
def test_counts_of_the_machine_are_added_and_shares_are_means_by_time(run: list[Interval]) -> None:
    whole = together(run)
    assert whole.metrics["qdisc.drops_full"] == sum(one.metrics["qdisc.drops_full"] for one in run)
    mean = sum(one.metrics["cpu.busy_pct"] * one.seconds for one in run) / whole.seconds
    assert whole.metrics["cpu.busy_pct"] == pytest.approx(mean)
    assert whole.accounting.cpu_pct == pytest.approx(sum(one.accounting.cpu_pct for one in run) / len(run))
    for name in ("ended", "lost", "refused"):
        assert getattr(whole.accounting, name) == sum(getattr(one.accounting, name) for one in run)


def test_one_connection_of_three_intervals() -> None:
    run = [
        interval(number, flow_table(
            1, bytes_acked=1000, elapsed_us=1_000_000, rtt_count=number, rtt_mean_us=10.0 * number, cwnd_segs=number,
            total_bytes_acked=1000 * (number + 1),
        ))
        for number in range(3)
    ]  # fmt: skip
    flows = together(run).flows
    assert len(flows) == 1
    assert flows["bytes_acked"][0] == flows["total_bytes_acked"][0] == 3000
    assert flows["send_bps"][0] == 8000
    assert flows["rtt_mean_us"][0] == pytest.approx((1 * 10 + 2 * 20) / 3)
    assert flows["cwnd_segs"][0] == 2


def test_intervals_without_connections_are_an_interval_without_connections() -> None:
    whole = together([interval(number, FlowTable.empty()) for number in range(3)])
    assert len(whole.flows) == 0
    assert (whole.seconds, whole.number) == (3.0, 2)
    assert not [name for name in whole.metrics if name.startswith("tcp.")]


def test_no_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="no interval"):
        together([])


def test_numbers_of_what_there_is_are_the_latest() -> None:
    parts = [(1.0, {"ip.neighbours": 3.0, "cpu.off_forced_us": 2.0}), (3.0, {"ip.neighbours": 5.0})]
    assert merged_metrics(parts, {}) == {"ip.neighbours": 5.0, "cpu.off_forced_us": 2.0}
    assert not is_summed("ip.neighbours")
    assert is_summed("tcp.retrans_segs")
    assert not is_summed("no.such_metric")


def test_the_cost_of_parts_of_no_length_is_no_error() -> None:
    assert added([Accounting(cpu_pct=5.0, shed=("a",))], [0.0]).shed == ("a",)
