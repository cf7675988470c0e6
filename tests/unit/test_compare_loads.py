"""What is compared of a scenario with a load: what a load of that kind has, and in mode cost the cost alone."""

from __future__ import annotations

from typing import Any

import pytest

from perfcheck.compare import planned_metrics
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.scenario import Scenario
from perfcheck.testing import make_scenario


def scenario(*kinds: str, mode: str = "summary", **fields: Any) -> Scenario:
    traffic = [{"load": {"from": "client", "to": "server", "kind": kind, "count": 64, "size": "1kb"}} for kind in kinds]
    return make_scenario(traffic=traffic, links=[{"between": ["client", "server"]}], measure={"mode": mode}, **fields)


@pytest.mark.parametrize(
    ("kinds", "planned"),
    [
        (("stream",), ("cpu.insns_per_byte",)),
        (("requests",), ("cpu.insns_per_request",)),
        (("connections", "requests"), ("cpu.insns_per_request", "cpu.insns_per_connection")),
        (("datagrams",), ("cpu.insns_per_segment",)),
    ],
)
def test_in_mode_cost_it_is_the_cost_alone(kinds: tuple[str, ...], planned: tuple[str, ...]) -> None:
    # Segments are compared where they are asked for.
    asked = {"cpu.insns_per_segment": 0.2} if kinds == ("datagrams",) else {}
    assert planned_metrics(scenario(*kinds, mode="cost", tolerance_pct=asked), BaselineLookup()) == planned


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("stream", {"app.throughput_bps"}),
        ("requests", {"app.requests_per_s", "app.latency_us.p50", "app.latency_us.p99"}),
        ("connections", {
            "app.connections_per_s", "app.connect_us.p50", "app.connect_us.p99", "app.first_byte_us.p50",
            "app.first_byte_us.p99",
        }),
        ("datagrams", {"app.throughput_bps"}),
    ],
)  # fmt: skip
def test_on_a_host_it_is_what_that_kind_reports(kind: str, own: set[str]) -> None:
    planned = planned_metrics(scenario(kind), BaselineLookup())
    assert {name for name in planned if name.startswith("app.")} == own
    assert not any(name.startswith("cpu.insns_") for name in planned)
    assert any(name.startswith("tcp.") for name in planned) is (kind != "datagrams")
