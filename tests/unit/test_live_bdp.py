"""What is in flight against the BDP: the verdicts, and the sums that they rest on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.live.bdp import Fill, Path, Paths, verdict
from perfcheck.live.dwell import STATES, Dwell, shares_pct
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.flow_table import AF_INET, FlowTable

KEY = FlowKey(protocol=Protocol.TCP, host="", local="10.0.0.1", local_port=1, remote="10.0.0.2", remote_port=2)
BDP = 25_000.0
"""Of 10 Mbit/s and 20 ms."""


def path(**parts: float) -> Path:
    made: dict[str, float] = {
        "bytes_acked": 1_000_000, "rate_bps": 10e6, "min_rtt_us": 20_000.0, "rtt_us": 20_000.0, "inflight_bytes": BDP,
        "cwnd_bytes": BDP, "busy_pct": 100.0, "rwnd_pct": 0.0, "sndbuf_pct": 0.0,
    }  # fmt: skip
    return Path(key=KEY, **{**made, **parts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "fill", "words"),
    [
        ({}, Fill.ABOUT, "25 kB in flight, BDP 25 kB (10 Mbit/s x min RTT 20 ms): about equal. The path is full"),
        ({"rwnd_pct": 90.0}, Fill.ABOUT, "the receive window limits (90 % of the busy time)"),
        ({"sndbuf_pct": 60.0}, Fill.ABOUT, "the send buffer limits (60 %"),
        ({"busy_pct": 45.0}, Fill.ABOUT, "the application limits (data to send for 45 % of the time)"),
        ({"busy_pct": 5.0}, Fill.UNKNOWN, "its rate says nothing of what the path carries"),
        ({"inflight_bytes": 10_000.0}, Fill.BELOW, "10 kB in flight, BDP 25 kB"),
        ({"inflight_bytes": 10_000.0}, Fill.BELOW, "A window or the application limits, not the path."),
        ({"inflight_bytes": 75_000.0, "rtt_us": 60_000.0}, Fill.ABOVE, "queue of 50 kB stands, which takes 40 ms."),
        ({"inflight_bytes": 75_000.0, "rtt_us": 60_000.0, "rwnd_pct": 50.0}, Fill.ABOVE, "receive window bounds it"),
        ({"inflight_bytes": 75_000.0, "busy_pct": 45.0}, Fill.BELOW, "sent in bursts"),
        ({"rate_bps": 10e9, "min_rtt_us": 10.0, "rtt_us": 60.0, "inflight_bytes": 75e3}, Fill.ABOUT, "in the hosts"),
        ({"rate_bps": math.nan}, Fill.UNKNOWN, "not known"),
        ({"inflight_bytes": math.nan}, Fill.UNKNOWN, "not known"),
    ],
)
def test_a_verdict_says_how_the_path_is_filled(parts: dict[str, float], fill: Fill, words: str) -> None:
    found = verdict(path(**parts))
    assert found.fill is fill
    assert words in found.text


@given(st.floats(1e3, 1e11), st.floats(1, 1e6), st.floats(1, 100))
def test_a_queue_is_what_little_says(rate_bps: float, min_rtt_us: float, longer: float) -> None:
    """With rate x RTT in flight the queue takes what RTT is longer by."""
    rtt_us = longer * min_rtt_us
    found = verdict(
        path(rate_bps=rate_bps, min_rtt_us=min_rtt_us, rtt_us=rtt_us, inflight_bytes=rate_bps * rtt_us / 8e6)
    )
    if found.fill is Fill.ABOVE:
        assert found.queue_us == pytest.approx(rtt_us - min_rtt_us)
        assert found.queue_bytes == pytest.approx(rate_bps * found.queue_us / 8e6)
    else:
        assert found.queue_us == found.queue_bytes == 0
        assert longer <= 1.26 or rtt_us - min_rtt_us <= 201


def table(rows: int, **cells: object) -> FlowTable:
    made = FlowTable.empty(rows)
    made.columns["family"][:] = AF_INET
    made.columns["cookie"][:] = np.arange(1, rows + 1)
    for name, cell in cells.items():
        made.columns[name][:] = cell
    return made


def test_sums_are_of_all_intervals_and_rates_of_the_busy_time() -> None:
    paths = Paths()
    for acked, rtt in ((1_000_000, 20_000.0), (3_000_000, 60_000.0)):
        paths.add(table(1, bytes_acked=acked, elapsed_us=1_000_000, busy_us=800_000, rwnd_limited_us=400_000,
                        min_rtt_us=20_000.0, rtt_min_us=19_000.0, rtt_mean_us=rtt, inflight_mean_segs=20.0,
                        mss_bytes=1000.0, cwnd_segs=30.0, rtt_count=100))  # fmt: skip
    (found,) = paths.largest(5)
    assert found.bytes_acked == 4_000_000
    assert found.rate_bps == pytest.approx(8 * 4e6 / 1.6)
    assert (found.min_rtt_us, found.rtt_us, found.inflight_bytes) == (19_000, 40_000, 20_000)
    assert (found.busy_pct, found.rwnd_pct) == (80, 50)


def test_without_samples_the_latest_values_serve() -> None:
    """A table of sock_diag has no samples."""
    paths = Paths()
    paths.add(table(1, bytes_acked=1000, elapsed_us=1_000_000, busy_us=500_000, min_rtt_us=100.0, srtt_us=150.0,
                    inflight_segs=10.0, mss_bytes=1000.0))  # fmt: skip
    (found,) = paths.largest(5)
    assert (found.rate_bps, found.rtt_us, found.inflight_bytes) == (16_000, 150, 10_000)


def test_receivers_and_idle_connections_have_no_verdict_and_memory_is_bounded() -> None:
    paths = Paths()
    paths.add(table(1, bytes_received=1000, elapsed_us=1000))
    paths.add(table(1))
    assert len(paths) == 0
    for first in range(0, 5000, 100):
        flows = table(100, bytes_acked=np.arange(1, 101))
        flows.columns["cookie"][:] += first
        paths.add(flows)
    assert len(paths) <= 1024
    assert [one.bytes_acked for one in paths.largest(3)] == [100, 100, 100]


@given(st.lists(st.integers(0, 1 << 50), min_size=5, max_size=5))
def test_shares_of_states_add_up_to_100(spent: list[int]) -> None:
    shares = shares_pct(dict(zip(STATES, spent, strict=True)))
    if not any(spent):
        assert shares == {}
        return
    assert round(sum(shares.values()), 6) == 100
    for name, part in zip(STATES, spent, strict=True):
        assert abs(shares[name] - 100 * part / sum(spent)) <= 0.1001


def test_dwell_is_of_senders() -> None:
    dwell = Dwell()
    dwell.add(table(1, bytes_acked=1, state_open_us=600, state_recovery_us=400))
    dwell.add(table(1, bytes_received=1, state_open_us=1_000_000))
    assert dwell.shares_pct() == {"open": 60, "disorder": 0, "cwr": 0, "recovery": 40, "loss": 0}
