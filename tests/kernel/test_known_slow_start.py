"""Round trips of slow start: of a flow that fills its own queue, and of one that meets a full queue."""

from __future__ import annotations

import pytest

from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text

pytestmark = pytest.mark.kernel

PATH_US = 20_000
BULK = "iperf3: {from: client, to: server, duration: 2s, congestion: %s}"
BESIDE = "iperf3: {from: client, to: server, duration: 3s, congestion: reno, background: true}"
LATE = "iperf3: {from: client, to: server, duration: 2s, start: 1500ms, congestion: reno}"


def run(*traffic: str) -> RunRecord:
    """Run over 20 ms and 20 Mbit/s with a queue of two more round trips, which fills up within the warm-up."""
    entries = "\n".join(f"  - {entry}" for entry in traffic)
    text = f"""
scenario: slow-start
hosts: {{client: {{}}, server: {{}}}}
links: [{{between: [client, server], delay: 10ms, rate: 20mbit, queue: 2bdp}}]
traffic:
{entries}
repeat: 1
warmup: 1s
measure: {{layers: [app, tcp]}}
"""
    (scenario,) = load_text(text, "slow.yaml")
    with Runner.create(RunOptions()) as runner:
        record = runner.run(scenario)
        if record.verdict is Verdict.INVALID:
            record = runner.run(scenario)
    assert record.verdict is not Verdict.INVALID, record.invalid_reason
    return record


def test_a_flow_that_fills_its_own_queue_begins_at_the_paths_round_trip() -> None:
    found = {name: metric.value for name, metric in run(BULK % "reno").metrics.items()}
    assert found["tcp.slow_start_rtt_us.min"] == pytest.approx(PATH_US, rel=0.15)
    assert found["tcp.slow_start_rtt_us.max"] > 2 * PATH_US
    assert found["tcp.slow_start_rtt_us.min"] < found["tcp.rtt_us.p50"]


def test_a_flow_that_meets_a_full_queue_begins_above_it() -> None:
    record = run(BESIDE, LATE)
    found = record.metrics
    assert found["tcp.slow_start_rtt_us.min"].value > 1.3 * PATH_US
    spread = found["tcp.slow_start_rtt_us.p90"].value / found["tcp.slow_start_rtt_us.min"].value
    assert spread < 2.5


def test_an_algorithm_without_a_threshold_has_no_slow_start() -> None:
    assert "tcp.slow_start_rtt_us.p50" not in run(BULK % "bbr").metrics
