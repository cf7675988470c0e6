"""Trends: what is constant or noise is stable, ramps rise and fall, and the unit does not matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_intervals import SECOND_NS, flow_table, interval

from perfcheck.live.grouping import GroupBy
from perfcheck.live.history import POINTS, History, add_interval, connection_keys
from perfcheck.live.trends import CwndTrend, Movement, RetransTrend, cwnd_trend, movement, retrans_trend

Floats = npt.NDArray[np.float64]


def times(length: int) -> Floats:
    return np.arange(length, dtype=np.float64)


def correlated(seed: int, length: int, keeps: float) -> Floats:
    """Return noise of deviation 1 in which each value keeps a share of the one before."""
    drawn = np.random.default_rng(seed).normal(size=length)
    found = np.zeros(length)
    for place in range(1, length):
        found[place] = keeps * found[place - 1] + np.sqrt(1 - keeps**2) * drawn[place]
    return found


@given(st.integers(8, 300), st.floats(0, 1e7))
def test_a_constant_is_stable(length: int, value: float) -> None:
    assert movement(times(length), np.full(length, value)) is Movement.STABLE


@pytest.mark.parametrize("keeps", [0.0, 0.5, 0.8])
def test_noise_is_stable(keeps: float) -> None:
    found = [movement(times(120), 20_000 + 3_000 * correlated(seed, 120, keeps)) for seed in range(60)]
    assert sum(each is not Movement.STABLE for each in found) <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 300), st.floats(1_000, 1e5), st.floats(0.3, 5), st.booleans(), st.integers(0, 99))
def test_ramps_rise_and_fall(length: int, begin_us: float, growth: float, falls: bool, seed: int) -> None:
    ramp = begin_us * (1 + growth * np.linspace(0, 1, length))
    noise = np.random.default_rng(seed).normal(size=length) * begin_us * growth / 30
    values = (ramp + noise)[::-1] if falls else ramp + noise
    assert movement(times(length), values) is (Movement.FALLING if falls else Movement.RISING)


@pytest.mark.parametrize("shape", [np.sqrt, np.square, lambda share: share])
def test_a_smooth_curve_rises(shape: Callable[[Floats], Floats]) -> None:
    values = 20_000 + 78_000 * shape(np.linspace(0, 1, 40))
    assert movement(times(40), values) is Movement.RISING
    assert movement(times(40), values[::-1]) is Movement.FALLING


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1, 1e5), min_size=8, max_size=60), st.sampled_from((0.25, 4.0, 1024.0)))
def test_the_unit_does_not_matter(values: list[float], factor: float) -> None:
    plain = np.array(values)
    at = times(len(plain))
    assert movement(at, plain, floor=200.0) is movement(at * 16, plain * factor, floor=200.0 * factor)
    assert cwnd_trend(at, plain) is cwnd_trend(at * 16, plain * factor)


def test_short_series_say_nothing() -> None:
    assert movement(times(7), times(7) * 1e6) is Movement.UNKNOWN
    assert cwnd_trend(times(7), times(7)) is CwndTrend.UNKNOWN
    assert retrans_trend(times(7), times(7)) is RetransTrend.UNKNOWN
    assert movement(times(20), np.full(20, np.nan)) is Movement.UNKNOWN


@pytest.mark.parametrize(("values", "expected"), [
    (np.full(60, 10.0), CwndTrend.LIMITED),
    (np.linspace(10, 200, 60), CwndTrend.GROWING),
    (np.linspace(200, 10, 60), CwndTrend.SHRINKING),
    (70 + 30 * (times(60) % 12) / 12, CwndTrend.OSCILLATING),
    (50 + 50 * (times(60) % 10) / 10, CwndTrend.OSCILLATING),
    (100 + 8 * np.sin(times(60)), CwndTrend.VARYING),
])  # fmt: skip
def test_what_a_window_does(values: Floats, expected: CwndTrend) -> None:
    assert cwnd_trend(times(len(values)), values) is expected


def bursts(*places: int, length: int = 60, size: int = 20) -> Floats:
    found = np.zeros(length)
    found[list(places)] = size
    return found


@pytest.mark.parametrize(("retrans", "expected"), [
    (np.zeros(60), RetransTrend.NONE),
    (np.full(60, 2.0), RetransTrend.LASTING),
    (bursts(7, 30, 52), RetransTrend.BURSTS),
    (bursts(3), RetransTrend.BURSTS),
    (np.concatenate((np.full(30, 5.0), np.full(30, 0.5))), RetransTrend.IMPROVING),
    (np.concatenate((np.full(30, 5.0), np.zeros(30))), RetransTrend.IMPROVING),
    (np.concatenate((np.zeros(30), np.full(30, 5.0))), RetransTrend.LASTING),
    (bursts(1, 40, size=1), RetransTrend.SCATTERED),
])  # fmt: skip
def test_how_retransmissions_come(retrans: Floats, expected: RetransTrend) -> None:
    assert retrans_trend(retrans, np.full(len(retrans), 1000.0)) is expected


def filled(count: int, duration_s: int = 3600, step: int = 1) -> History:
    history = History(duration_ns=duration_s * SECOND_NS)
    for number in range(0, count * step, step):
        add_interval(
            history,
            interval(number, flow_table(2, srtt_us=[number, 7.0], retrans_segs=[1, 0], bytes_acked=1)),
            GroupBy.CONNECTION,
        )
    return history


KEY, *_ = connection_keys(flow_table(2))


@pytest.mark.parametrize("count", [1, POINTS, POINTS + 1, 5 * POINTS + 3])
def test_a_series_keeps_means_and_sums(count: int) -> None:
    history = filled(count)
    series = history.series(KEY)
    assert series is not None
    assert np.nansum(series.values["retrans_segs"]) == count
    assert len(series.times_s) <= POINTS
    assert np.diff(series.times_s).min(initial=1) > 0
    rtt = series.values["rtt_us"]
    assert rtt[0] <= count / 50 + 1
    assert np.all(np.diff(rtt) > 0)
    other = history.series(connection_keys(flow_table(2))[1])
    assert other is not None
    assert np.unique(other.values["rtt_us"]).tolist() == [7.0]


def test_a_series_is_no_longer_than_the_duration() -> None:
    series = filled(500, duration_s=100).series(KEY)
    assert series is not None
    assert 95 <= np.ptp(series.times_s) <= 101


def test_what_ended_or_is_not_seen_gives_its_room_back() -> None:
    history = History(duration_ns=10 * SECOND_NS, most_series=100)
    for number in range(300):
        cookies = number * 50 + np.arange(50)
        add_interval(history, interval(number, flow_table(50, cookie=cookies, closed=True)), GroupBy.CONNECTION)
        assert len(history) == 50
    assert history.left_out == 0
    add_interval(
        history, interval(301, flow_table(120, cookie=10**6 + np.arange(120), bytes_acked=1)), GroupBy.CONNECTION
    )
    assert (len(history), history.left_out) == (100, 20)
    add_interval(history, interval(350, flow_table(1, bytes_acked=1)), GroupBy.CONNECTION)
    assert len(history) == 1


def test_series_of_groups_and_what_they_say() -> None:
    history = History(duration_ns=3600 * SECOND_NS)
    for number in range(40):
        flows = flow_table(
            4, comm=b"web", srtt_us=1000.0 * (20 + number), cwnd_segs=10.0, retrans_segs=1, data_segs_out=100
        )
        add_interval(history, interval(number, flows), GroupBy.APP)
    series = history.series("web")
    assert series is not None
    assert series.values["retrans_segs"].tolist() == [4.0] * 40
    assert series.text() == "RTT rising, cwnd limited, retransmissions lasting"
