"""Groups add up to the table, and their percentiles are numpy's; the first rows, limits and triggers are right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from live_intervals import flow_table

from perfcheck.live.connections import Triggers, largest, limits_of
from perfcheck.live.grouping import SHARES, SPREAD, SUMMED, UNKNOWN, GroupBy, group, percentiles, rtt_of
from perfcheck.model.flow_table import FlowTable

VALUES = st.one_of(st.just(np.nan), st.floats(0, 1e12))
COUNTS = st.integers(0, 2**40)


@st.composite
def tables(draw: st.DrawFn) -> FlowTable:
    rows = draw(st.integers(0, 12))
    return flow_table(
        rows,
        pid=draw(arrays.arrays("u4", rows, elements=st.sampled_from((0, 1, 2)))),
        comm=draw(arrays.arrays("S16", rows, elements=st.sampled_from((b"", b"a", b"b\xff")))),
        closed=draw(arrays.arrays("?", rows)),
        **{name: draw(arrays.arrays("u8", rows, elements=COUNTS)) for name in ("bytes_acked", "retrans_segs")},
        **{
            name: draw(arrays.arrays("f8", rows, elements=VALUES))
            for name in ("srtt_us", "rtt_p50_us", "cwnd_segs", "send_bps")
        },
    )  # fmt: skip


@settings(deadline=None)
@given(tables(), st.sampled_from(GroupBy))
def test_groups_add_up_to_the_table(table: FlowTable, by: GroupBy) -> None:
    groups = group(table, by)
    assert groups.connections.sum() == len(table)
    assert groups.closed.sum() == table["closed"].sum()
    for name in SUMMED:
        column = table[name]
        if column.dtype.kind == "f":
            assert np.nansum(groups.sums[name]) == pytest.approx(np.nansum(column))
        else:
            assert sum(map(int, groups.sums[name])) == sum(map(int, column))
    for name in SPREAD:
        column = rtt_of(table) if name == "rtt_us" else table[name]
        for number in range(len(groups)):
            found = column[groups.index == number]
            found = found[~np.isnan(found)]
            if len(found):
                assert (np.diff(groups.percentiles[name][number]) >= 0).all()
                assert found.min() <= groups.percentiles[name][number][0]
                assert groups.percentiles[name][number][-1] <= found.max()
            else:
                assert np.isnan(groups.percentiles[name][number]).all()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.one_of(st.just(np.nan), st.floats(0, 1e9))), max_size=30)
)  # fmt: skip
def test_percentiles_are_those_of_numpy(pairs: list[tuple[int, float]]) -> None:
    index = np.array([number for number, _ in pairs], np.intp)
    values = np.array([value for _, value in pairs], np.float64)
    found = percentiles(values, index, 4)
    for number in range(4):
        mine = values[(index == number) & ~np.isnan(values)]
        if len(mine):
            assert found[number] == pytest.approx(np.quantile(mine, SHARES))


def test_groups_are_named_by_what_makes_them() -> None:
    table = flow_table(
        4, pid=[7, 7, 8, 0], comm=np.array([b"nginx", b"worker", b"nginx", b""], "S16"), bytes_acked=[1, 9, 3, 0]
    )
    assert sorted(group(table, GroupBy.PROCESS).labels) == ["nginx[8]", UNKNOWN, "worker[7]"]
    apps = group(table, GroupBy.APP)
    assert dict(zip(apps.labels, apps.connections.tolist(), strict=True)) == {UNKNOWN: 1, "nginx": 2, "worker": 1}
    assert group(table, GroupBy.NONE).labels == ("all connections",)
    assert len(group(table, GroupBy.CONNECTION)) == 4
    assert len(group(FlowTable.empty(), GroupBy.NONE)) == 0


@given(arrays.arrays("f8", st.integers(0, 30), elements=st.sampled_from((np.nan, 0.0, 1.0, 2.0))), st.integers(1, 8))
def test_the_largest_come_first_and_ties_in_order(values: npt.NDArray[np.float64], most: int) -> None:
    expected = sorted(range(len(values)), key=lambda row: (-np.inf if np.isnan(values[row]) else values[row], -row))
    assert largest(values, most).tolist() == expected[::-1][:most]


@given(*[st.lists(st.integers(0, 2_000_000), min_size=3, max_size=3)] * 4)
def test_limits_are_parts_of_the_time(
    elapsed: list[int], busy: list[int], rwnd: list[int], sndbuf: list[int]
) -> None:  # fmt: skip
    found = limits_of(flow_table(3, elapsed_us=elapsed, busy_us=busy, rwnd_limited_us=rwnd, sndbuf_limited_us=sndbuf))
    for row in range(3):
        parts = [each[row] for each in (found.rwnd, found.sndbuf, found.cwnd, found.app)]
        if elapsed[row] == 0:
            assert np.isnan(parts).all()
        else:
            assert min(parts) > -1e-9
            assert sum(parts) == pytest.approx(100.0)


def test_triggers_name_what_they_found() -> None:
    table = flow_table(
        4, rwnd_limited_us=[0, 90, 0, 0], busy_us=100, cwnd_segs=[10.0, 10.0, 4.0, 10.0], retrans_segs=[0, 0, 0, 3]
    )
    triggers = Triggers(rwnd_limited_above_pct=50.0, cwnd_below_segs=5)
    assert triggers.met(table).tolist() == [1, 2, 3]
    assert [triggers.reasons(table, row) for row in (1, 2, 3)] == [
        "receive window limits 90 % of its busy time (above 50 %)", "cwnd 4 segments (below 5)",
        "3 retransmitted",
    ]  # fmt: skip
    assert Triggers().met(table).tolist() == [3]
    assert Triggers().met(FlowTable.empty()).tolist() == []
