from __future__ import annotations

import pytest

from perfcheck.analyse import why_not_counted
from perfcheck.analyse.validity import LIMITS


@pytest.mark.parametrize(("metric", "most"), [(name, most) for name, most, _ in LIMITS])
def test_a_trial_beyond_a_limit_does_not_count_and_one_at_it_does(metric: str, most: float) -> None:
    assert why_not_counted({metric: most, "tcp.rtt_us.p50": 1e9}) is None
    reason = why_not_counted({metric: most + 0.5})
    assert reason is not None
    assert f"{metric} was {most + 0.5:.3g} %, above the limit of {most:g} %" in reason


def test_no_limit_is_on_what_the_traffic_itself_decides() -> None:
    assert all(name.startswith("cpu.") for name, _, _ in LIMITS)
    assert why_not_counted({}) is None
