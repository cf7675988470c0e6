"""What several flows carry together, measured on real links: never more than the link, and all of it."""

from __future__ import annotations

import pytest
from measured import measured

from perfcheck.model.record import RunRecord
from perfcheck.runner import Runner

pytestmark = pytest.mark.kernel

RATE_BPS = 20 * 10**6
PAYLOAD = 1448 / 1514
"""Payload of a full frame, timestamps on, over the frame's bytes, which a link's rate counts."""


def two_flows(runner: Runner, name: str, seconds: int, second: str) -> RunRecord:
    text = f"""
scenario: {name}
hosts: {{client: {{congestion: cubic}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], delay: 5ms, rate: 20mbit, queue: 2bdp}}]
traffic:
  - iperf3: {{from: client, to: server, duration: {seconds}s}}
  - iperf3: {{from: client, to: server, duration: {seconds}s, {second}}}
measure: {{layers: [app, tcp]}}
repeat: 1
warmup: 1s
"""
    return measured(runner, text)


def crossing(record: RunRecord) -> dict[str, float]:
    """What crossed each direction of the link, each within its rate by the run's own check."""
    checks = [check for check in record.cross_checks if check.name.startswith("app.throughput_bps@")]
    assert all(check.agrees and check.theirs == RATE_BPS for check in checks)
    return {check.name.partition("@")[2]: check.ours for check in checks}


def test_a_flow_that_starts_later_adds_no_more_than_the_link_carries(runner: Runner) -> None:
    record = two_flows(runner, "one-later", 5, "start: 3s")
    found = {name: metric.value for name, metric in record.metrics.items()}
    # Each flow has the link to itself for 3 s of its 5: their own rates add up to far more than the link's.
    assert 0.9 * PAYLOAD * RATE_BPS < found["app.throughput_bps"] < RATE_BPS
    assert 0.9 * PAYLOAD * RATE_BPS < found["tcp.delivery_rate_bps"] < RATE_BPS
    assert found["tcp.bdp_use_pct"] < 100
    assert found["app.throughput_bps"] == pytest.approx(found["tcp.delivery_rate_bps"], rel=0.03)
    assert crossing(record) == {"client>server": pytest.approx(found["app.throughput_bps"])}


def test_flows_in_opposite_directions_add_up_to_both_and_each_stays_within_its_own(runner: Runner) -> None:
    record = two_flows(runner, "both-ways", 4, "reverse: true")
    found = {name: metric.value for name, metric in record.metrics.items()}
    each = crossing(record)
    assert each.keys() == {"client>server", "server>client"}
    # Acknowledgements share each direction with the other's data, and a loss at the start takes a second to mend.
    assert max(each.values()) < RATE_BPS, each
    assert min(each.values()) > 0.5 * PAYLOAD * RATE_BPS, each
    assert RATE_BPS < found["app.throughput_bps"] < 2 * RATE_BPS
    assert found["app.throughput_bps"] == pytest.approx(sum(each.values()), rel=0.05)
    assert found["tcp.bdp_use_pct"] < 100
