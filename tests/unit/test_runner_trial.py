"""Which trials the runner does not count, and what it says of them."""

from __future__ import annotations

import pytest

from perfcheck.model.observation import LinkReport, TrafficReport
from perfcheck.runner.trial import generator_bound, why_invalid
from perfcheck.testing import make_scenario


def link(invalid_reason: str | None = None) -> LinkReport:
    return LinkReport(link=0, way="forward", emulator="relay", received=1, delivered=1, invalid_reason=invalid_reason)


def test_a_quiet_machine_and_a_sound_link_count() -> None:
    assert why_invalid([link()], (), {"cpu.steal_pct": 0.1, "cpu.pressure_pct": 90.0}) is None


@pytest.mark.parametrize("metric", ["cpu.steal_pct", "cpu.throttled_pct", "cpu.pressure_memory_pct"])
def test_what_takes_the_machine_away_is_a_reason(metric: str) -> None:
    reason = why_invalid([], (), {metric: 60.0})
    assert reason is not None
    assert f"{metric} was 60 %" in reason


def test_all_reasons_are_told() -> None:
    late = link("late")
    reason = why_invalid([late], ("client 10.0.0.1:5 -> 10.0.0.2:5201",), {"cpu.steal_pct": 20.0})
    assert reason is not None
    assert [part.split()[0] for part in reason.split("; ")][:2] == ["link", "the"]
    assert "cpu.steal_pct was 20 %" in reason


@pytest.mark.parametrize(
    ("rate", "cpu_pct", "background", "bound"),
    [
        ("100mbit", 99.0, False, True), ("100mbit", 40.0, False, False), ("100mbit", None, False, False),
        ("100mbit", 99.0, True, False), (None, 99.0, False, False),
    ],
)  # fmt: skip
def test_a_generator_without_a_cpu_to_spare_does_not_measure_a_path_with_a_rate(
    rate: str | None, cpu_pct: float | None, background: bool, bound: bool
) -> None:
    link = {"between": ["client", "server"], "delay": "1ms"} | ({"rate": rate} if rate else {})
    report = TrafficReport(
        generator="iperf3", flows=(), metrics={}, start_ns=0, end_ns=1, background=background, cpu_pct=cpu_pct
    )
    found = generator_bound(make_scenario(links=[link]), [report])
    assert bool(found) is bound
    assert (why_invalid([], (), {}, found) is not None) is bound
