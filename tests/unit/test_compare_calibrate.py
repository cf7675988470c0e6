from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from perfcheck.compare.calibrate import REPEATS, calibrate
from perfcheck.compare.noise import expected_reach, session_reach
from perfcheck.model.record import RunRecord
from perfcheck.testing import make_record, make_scenario

RTT = "tcp.rtt_us.p50"
GOODPUT = "app.throughput_bps"


def sessions(run_pct: float, session_pct: float, count: int = 8, runs: int = 10) -> list[RunRecord]:
    """Records of an RTT about 50 ms with this noise, and of a goodput that hardly moves."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        centre = 50_000 * (1 + session_pct / 100 * rng.standard_normal())
        rtt: Sequence[float] = (centre * (1 + run_pct / 100 * rng.standard_normal(runs))).tolist()
        goodput: Sequence[float] = (1e8 * (1 + 1e-4 * rng.standard_normal(runs))).tolist()
        found.append(make_record({RTT: rtt, GOODPUT: goodput, "tcp.retrans_pct": [0.0] * runs}))
    return found


def test_noise_is_told_apart_by_runs_and_sessions() -> None:
    found = {noise.metric: noise for noise in calibrate(make_scenario(), sessions(4, 10)).noises}
    assert found[RTT].run_pct == pytest.approx(4, rel=0.2)
    assert found[RTT].session_pct == pytest.approx(10, rel=0.6)
    assert found[RTT].centre == pytest.approx(50_000, rel=0.1)
    assert found[GOODPUT].run_pct < 0.02
    assert "tcp.retrans_pct" not in found


def test_margins_are_proposed_only_where_the_noise_is_larger() -> None:
    quiet = calibrate(make_scenario(), sessions(0.5, 0.2))
    assert quiet.tolerance_pct == {}
    noisy = calibrate(make_scenario(), sessions(9, 1))
    assert noisy.tolerance_pct.keys() == {RTT}
    assert 9 <= noisy.tolerance_pct[RTT] <= 15
    strict = calibrate(make_scenario(tolerance_pct={RTT: 0.1}), sessions(0.5, 0.2))
    assert strict.tolerance_pct[RTT] >= 0.5


def test_quiet_metrics_need_few_runs_and_noisy_ones_more() -> None:
    assert calibrate(make_scenario(), sessions(0.3, 0.1)).repeat == REPEATS[0]
    noisy = calibrate(make_scenario(tolerance_pct={RTT: 4.0, GOODPUT: 0.001}), sessions(3.0, 0.1)).repeat
    assert noisy is None or noisy > REPEATS[0]


def test_one_session_is_not_enough() -> None:
    with pytest.raises(ValueError, match="two sessions"):
        calibrate(make_scenario(), sessions(1, 1, count=1))


def test_the_expected_reach_is_that_of_the_screen_on_average() -> None:
    rng = np.random.default_rng(2)
    centres = 2 * rng.standard_normal((4000, 7, 1))
    values = centres + 3 * rng.standard_normal((4000, 7, 10))
    found = session_reach([values[:, index] for index in range(6)], values[:, 6], 0.01)
    between = float(np.hypot(2, 3 * np.sqrt(np.pi / 2 / 10)))
    expected = expected_reach(within=3, between=between, runs=10, sessions=6, alpha=0.01)
    assert float(np.median(found)) == pytest.approx(expected, rel=0.1)
