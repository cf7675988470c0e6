"""Each connection's bottleneck: one name a row, shares within 100 %, whatever the figures are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perfcheck.live.bottleneck import IDLE, NAMES, bdp_bytes, bottlenecks, shares_of
from perfcheck.model.causes import CAUSES
from perfcheck.model.flow_table import COUNTS, VALUES, FlowTable

MOVED = {"bytes_acked": 1_000_000, "data_segs_out": 1000, "segs_out": 1000, "elapsed_us": 1_000_000, "busy_us": 900_000}
READ = {"bytes_received": 1_000_000, "elapsed_us": 1_000_000}
FULL = {**MOVED, "inflight_segs": 10.0, "cwnd_segs": 10.0, "min_rtt_us": 20_000.0}


def table(**cells: float) -> FlowTable:
    made = FlowTable.empty(1)
    for name, cell in cells.items():
        made.columns[name][0] = cell
    return made


@pytest.mark.parametrize(
    ("cells", "name", "share_pct"),
    [
        ({}, "idle", 100),
        ({"elapsed_us": 1_000_000}, "idle", 100),
        ({**MOVED, "rwnd_limited_us": 450_000}, "receive_window", 50),
        ({**MOVED, "rwnd_limited_us": 450_000, "snd_wnd_bytes": 0}, "slow_reader", 50),
        ({**MOVED, "rwnd_limited_us": 200_000, "sndbuf_limited_us": 450_000}, "send_buffer", 50),
        ({**MOVED, "sndbuf_limited_us": 900_000}, "send_buffer", 100),
        ({**MOVED, "retrans_segs": 50}, "random_loss", 5),
        ({**MOVED, "retrans_segs": 50, "srtt_us": 90_000, "min_rtt_us": 20_000}, "queue_overflow", 5),
        ({**MOVED, "retrans_segs": 1}, "healthy", 99.9),
        ({**MOVED, "delivered_segs": 1000, "delivered_ce_segs": 200}, "ecn_marking", 20),
        ({**MOVED, "busy_us": 100_000}, "application_limited", 90),
        ({**FULL, "srtt_us": 21_000}, "congestion_window", 100),
        ({**FULL, "srtt_us": 80_000}, "bufferbloat", 75),
        ({**MOVED, "srtt_us": 21_000, "min_rtt_us": 20_000}, "healthy", 100),
        ({**READ, "recvq_bytes": 60_000, "rcvbuf_bytes": 100_000}, "slow_reader", 60),
        ({"recvq_bytes": 60_000, "rcvbuf_bytes": 100_000}, "slow_reader", 60),
        ({**READ, "receive_bps": 8e6, "min_rtt_us": 20_000, "rcv_wnd_bytes": 20_000}, "receive_window", 100),
        (READ, "healthy", 100),
    ],
)
def test_what_limits_is_named(cells: dict[str, float], name: str, share_pct: float) -> None:
    found = bottlenecks(table(**cells))
    assert found.names.tolist() == [name]
    assert found.shares_pct == pytest.approx([share_pct])


def test_names_are_those_of_causes() -> None:
    assert set(NAMES) - {IDLE} <= set(CAUSES)


def test_no_connections() -> None:
    found = bottlenecks(FlowTable.empty(0))
    assert len(found.names) == len(found.shares_pct) == 0


def test_the_bdp_is_of_the_rate_and_the_smallest_rtt_whatever_is_in_flight() -> None:
    cells = {**MOVED, "delivery_rate_bps": 80e6, "min_rtt_us": 20_000, "inflight_segs": 5000.0, "mss_bytes": 1448.0}
    assert bdp_bytes(table(**cells)) == pytest.approx([200_000])
    assert np.isnan(bdp_bytes(table(**MOVED)))


@st.composite
def tables(draw: st.DrawFn) -> FlowTable:
    rows = draw(st.integers(0, 5))
    made = FlowTable.empty(rows)
    for name in draw(st.sets(st.sampled_from((*COUNTS, *VALUES)))):
        elements: st.SearchStrategy[float] | st.SearchStrategy[int] = (
            st.sampled_from((0, 1, 5, 10**6, 2**63, 2**64 - 1)) if name in COUNTS
            else st.sampled_from((0.0, 1.0, 1e-300, 1e300, 5e3, float("inf"), -1.0, float("nan"))) | st.floats()
        )  # fmt: skip
        made.columns[name][:] = draw(hnp.arrays(made[name].dtype, rows, elements=elements))
    return made


@given(tables())
@settings(max_examples=300, deadline=None)
def test_every_row_has_one_name_and_a_share_within_bounds(flows: FlowTable) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, shares, products = bottlenecks(flows), shares_of(flows), bdp_bytes(flows)
    assert len(found.names) == len(found.shares_pct) == len(flows)
    assert set(found.names.tolist()) <= set(NAMES)
    for column in (found.shares_pct, *(getattr(shares, name) for name in shares.__slots__)):
        assert np.all((column >= 0) & (column <= 100))
    assert np.all(np.isnan(products) | (products > 0))
