"""Whole runs in detail mode, against what is known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text

pytestmark = pytest.mark.kernel


def run(text: str, events: Path | None = None) -> RunRecord:
    (scenario,) = load_text(text, "detail.yaml")
    with Runner.create(RunOptions(events=events)) as runner:
        record = runner.run(scenario)
        if record.verdict is Verdict.INVALID:
            record = runner.run(scenario)
    assert record.verdict is not Verdict.INVALID, record.invalid_reason
    return record


def scenario_text(link: str, traffic: str, measure: str = "mode: detail") -> str:
    return f"""
scenario: detail
hosts: {{client: {{congestion: cubic}}, server: {{congestion: cubic}}}}
links: [{{between: [client, server], {link}}}]
traffic: [{{iperf3: {{from: client, to: server, {traffic}}}}}]
repeat: 1
warmup: 500ms
measure: {{{measure}}}
expect: {{nic.wire_us.p50: ">= 1ms"}}
"""


def test_the_wire_is_as_long_as_the_link(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    record = run(scenario_text("delay: 10ms", "duration: 1s, rate: 4mbit"), path)
    assert record.metrics["nic.wire_us.p50"].value == pytest.approx(10_000, rel=0.05)
    assert record.metrics["app.oneway_us.p50"].value > record.metrics["nic.wire_us.p50"].value
    assert "tcp.rtt_us.p50" in record.metrics, "the TCP core measures beside detail mode"
    assert "qdisc.sojourn_us.p50" not in record.metrics, "the other layers' programs do not"
    (trial,) = record.trials
    assert trial.detail is not None
    assert (trial.detail.share, trial.detail.records_lost) == (1.0, 0)
    assert trial.detail.packets_whole / trial.detail.packets > 0.95
    assert record.metrics["nic.wire_loss_pct"].value == 0
    assert record.overhead["bpf_map_bytes"] > 16 << 20
    assert record.overhead["lost_events"]["detail"] == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    wires = [line["value"] for line in lines if line["metric"] == "nic.wire_us"]
    assert len(wires) == pytest.approx(trial.detail.packets, abs=20)
    assert record.verdict is Verdict.PASS


def test_the_links_loss_is_what_never_arrives() -> None:
    record = run(scenario_text("delay: 2ms, forward: {loss: 3%}", "duration: 2s, rate: 20mbit", "mode: both"))
    retransmitted = record.metrics["tcp.retrans_segs"].value
    assert retransmitted > 20
    assert record.metrics["nic.wire_loss_pct"].value == pytest.approx(3, rel=0.4)
    assert "qdisc.sojourn_us.p50" in record.metrics or "nic.napi_polls" in record.metrics
