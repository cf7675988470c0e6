"""Changes of series: steps are found when they happen, white noise and steady saw-teeth have none."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.analyse.anomalies import (
    MOST_ANOMALIES,
    MOST_SPIKES,
    MOST_STEPS,
    anomalies,
    anomaly_events,
    spike_places,
    step_places,
)
from perfcheck.model.event import EventType
from perfcheck.model.series import Curve
from perfcheck.model.subject import SubjectKind

Values = npt.NDArray[np.float64]

NOISE_SERIES: Final = 600
STEP_NS: Final = 100_000_000


def curve(values: Values, metric: str = "tcp.rtt_us.p50", subject: str | None = "bulk") -> Curve:
    t_ns = (np.arange(len(values)) + 1) * STEP_NS
    return Curve(subject=subject, metric=metric, t_ns=t_ns, values=np.asarray(values, float))


def saw_teeth(size: int, teeth: int, phase: float, low: float, random: np.random.Generator) -> Values:
    return low + low * ((np.arange(size) * teeth / size + phase) % 1) + random.normal(0, 0.04 * low, size)


@pytest.mark.parametrize("size", [40, 60, 300])
def test_white_noise_seldom_has_a_change(size: int) -> None:
    """A thousandth of the series each for steps and spikes; three times that would be chance once in 10,000 tests."""
    random = np.random.default_rng(size)
    alarmed = sum(bool(anomalies([curve(random.normal(50, 5, size))])) for _ in range(NOISE_SERIES))
    expected = 0.002 * NOISE_SERIES
    assert alarmed <= expected + 4 * math.sqrt(expected)


@settings(max_examples=60)
@given(
    size=st.integers(60, 900), teeth=st.integers(4, 40), phase=st.floats(0, 1), low=st.floats(10, 1e5),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_steady_saw_teeth_have_no_change(size: int, teeth: int, phase: float, low: float, seed: int) -> None:
    assert anomalies([curve(saw_teeth(size, teeth, phase, low, np.random.default_rng(seed)))]) == ()


@settings(max_examples=60)
@given(
    size=st.integers(50, 600), share=st.floats(0.25, 0.75), sigmas=st.floats(5, 100), seed=st.integers(0, 2**32 - 1),
    down=st.booleans(),
)  # fmt: skip
def test_a_step_is_found_when_it_happens(size: int, share: float, sigmas: float, seed: int, down: bool) -> None:
    place = round(size * share)
    values = np.random.default_rng(seed).normal(1000, 1, size)
    values[place:] += -sigmas if down else sigmas
    found = [one for one in anomalies([curve(values)]) if one.method == "cusum"]
    nearest = min(found, key=lambda one: abs(one.t_ns - (place + 1) * STEP_NS))
    assert abs(nearest.t_ns - (place + 1) * STEP_NS) <= 5 * STEP_NS
    assert nearest.change == ("down" if down else "up")


def test_an_outage_is_two_steps() -> None:
    random = np.random.default_rng(5)
    values = random.normal(100, 2, 200)
    values[80:120] -= 90
    found = anomalies([curve(values)])
    steps = [(one.t_ns // STEP_NS - 1, one.change) for one in found if one.method == "cusum"]
    assert steps == [(80, "down"), (120, "up")]


def test_a_burst_is_a_spike_at_its_time_and_one_however_long_it_lasts() -> None:
    values = np.zeros(100)
    values[[20, 60]] = 1
    values[40:42] = 30
    found = spike_places(values)
    assert [place for place, *_ in found] == [40], "single retransmissions are no burst"
    assert found[0][1:3] == (values[20:40].mean(), 30)


@pytest.mark.parametrize("values", [np.zeros(0), np.ones(3), np.full(400, 7.0), np.array([math.nan] * 50)])
def test_what_does_not_vary_or_is_too_short_has_no_change(values: Values) -> None:
    assert anomalies([curve(values)]) == ()
    assert step_places(values[np.isfinite(values)]) == ()


def test_changes_are_bounded_in_number_and_the_largest_are_kept() -> None:
    random = np.random.default_rng(7)
    restless = np.concatenate([random.normal(level, 1, 25) for level in range(0, 4000, 100)])
    assert len(step_places(restless)) <= MOST_STEPS
    assert len(spike_places(restless)) <= MOST_SPIKES
    many = [curve(np.concatenate([random.normal(0, 1, 30), random.normal(40, 1, 30)]), subject=f"s{number}")
            for number in range(MOST_ANOMALIES + 50)]  # fmt: skip
    assert len(anomalies(many)) == MOST_ANOMALIES


def test_parts_of_a_curve_are_one_series() -> None:
    values = np.concatenate((np.random.default_rng(3).normal(10, 1, 50), np.random.default_rng(4).normal(40, 1, 50)))
    whole = curve(values)
    parts = [Curve(subject="bulk", metric=whole.metric, t_ns=whole.t_ns[one], values=whole.values[one])
             for one in (slice(60, 100), slice(0, 60))]  # fmt: skip
    assert anomalies(parts) == anomalies([whole]) != ()


def test_a_change_is_an_event_of_the_one_schema() -> None:
    values = np.concatenate((np.random.default_rng(3).normal(10, 1, 50), np.random.default_rng(4).normal(40, 1, 50)))
    found = anomalies([curve(values, "cpu.runq_delay_us.p99", "server")])
    event, *_ = anomaly_events(found, 7_000, 12, {"server": SubjectKind.HOST})
    said = event.as_dict()
    assert (event.type, event.number, event.flow) == (EventType.ALERT, 12, None)
    assert event.timestamp_ns == 7_000 + 51 * STEP_NS
    assert said["context"]["kind"] == "anomaly"
    assert (said["context"]["change"], said["context"]["method"]) == ("up", "cusum")
    assert (said["context"]["subject"], said["context"]["host"]) == ("server", "server")
    assert said["value"] == pytest.approx(40, abs=1)
    assert said["context"]["before"] == pytest.approx(10, abs=1)
