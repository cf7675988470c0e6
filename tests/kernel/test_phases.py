"""Phases on real traffic: they add up to the trial, an outage is found, and a slower recovery fails the build."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from measured import measured
from test_regressions_fail_the_build import SAVED_RUNS, build

from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.runner import Runner
from perfcheck.system.rundir import RUN_DIR_VARIABLE

pytestmark = pytest.mark.kernel

OUTAGE: Final = """
scenario: outage
hosts: {client: {congestion: cubic}, server: {congestion: cubic}}
links:
  - between: [client, server]
    delay: 10ms
    rate: 20mbit
    queue: 1bdp
    schedule: [{at: 1500ms, rate: 0bit}, {at: 2500ms, rate: 20mbit}]
traffic:
  - name: bulk
    iperf3: {from: client, to: server, duration: 4s}
repeat: 2
warmup: 500ms
phases: {before: 500ms, outage: 1500ms, after: 2500ms}
expect: {app.recovery_ms@bulk/outage: "<= 1500ms", app.throughput_bps@bulk/after: ">= 15mbit"}
"""
REQUESTS: Final = (
    OUTAGE.replace("scenario: outage", "scenario: requests")
    .replace(
        "  - name: bulk\n    iperf3: {from: client, to: server, duration: 4s}",
        "  - name: rpc\n    http: {from: client, to: server, duration: 4s, rate: 30}",
    )
    .replace('expect: {app.recovery_ms@bulk/outage: "<= 1500ms", app.throughput_bps@bulk/after: ">= 15mbit"}', "")
)
CAMPAIGN: Final = Path(__file__).parents[1] / "bench" / "campaign" / "parts" / "short-outage.yaml"
PHASES: Final = ("before", "outage", "after")
COUNTS: Final = (
    "tcp.segs_out",
    "tcp.data_segs_out",
    "tcp.retrans_segs",
    "tcp.rto_events",
    "qdisc.packets",
    "nic.rx_packets",
)


@pytest.fixture(scope="module")
def outage(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A bulk transfer over a link that is away for a second, measured once for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN_DIR_VARIABLE, str(tmp_path_factory.mktemp("run")))
        return measured(runner, OUTAGE)


def summed(trial: TrialRecord, metric: str) -> float:
    return sum(trial.phases[name].metrics[metric] for name in PHASES)


def test_counts_of_the_phases_add_up_to_the_trial(outage: RunRecord) -> None:
    for trial in outage.trials:
        # The first phase begins where the warm-up ends, so that the phases are all of the time that counts.
        for metric in COUNTS[:4]:
            assert summed(trial, metric) == trial.metrics[metric], metric
        for metric in COUNTS[4:]:
            # Layers that know no connection are read after the last phase's end once more.
            assert summed(trial, metric) == pytest.approx(trial.metrics[metric], abs=20, rel=0.01), metric


def test_each_phase_has_what_happened_in_it(outage: RunRecord) -> None:
    before, away, after = (outage.phases[name].subjects["bulk"].metrics for name in PHASES)
    assert before["app.throughput_bps"].value > 17e6
    assert after["app.throughput_bps"].value > 15e6
    # The intervals of iperf3 are not divided: one of ten may hold what came right before or after.
    assert away["app.throughput_bps"].value < 0.15 * 20e6
    assert away["tcp.delivery_rate_bps"].value < 0.05 * 20e6
    assert away["tcp.rto_events"].value >= 1
    assert before["tcp.rto_events"].value == 0
    # What was under way when the link went has waited for all of the outage; its round trips end after it.
    assert after["tcp.rtt_us.max"].value > 1_000_000 > before["tcp.rtt_us.max"].value


def test_the_recovery_is_the_outage_and_what_tcp_needs_beyond_it(outage: RunRecord) -> None:
    for trial in outage.trials:
        recovery_ms = trial.figures["app.recovery_ms@bulk/outage"]
        # Between the link's clock and iperf3's lie a few ms; what came back within an interval is estimated.
        assert 930 <= recovery_ms <= 1300
        assert trial.figures["app.recovery_ms@bulk/after"] == pytest.approx(recovery_ms - 1000, abs=110)


def test_a_request_that_waits_for_the_link_is_the_outages(runner: Runner) -> None:
    record = measured(runner, REQUESTS)
    before, away, after = (record.phases[name].subjects["rpc"].metrics for name in PHASES)
    assert before["app.latency_us.max"].value < 200_000
    assert away["app.latency_us.max"].value > 900_000
    assert after["app.latency_us.p50"].value == pytest.approx(before["app.latency_us.p50"].value, rel=0.25)
    # Request latencies vary: a trial whose first phase was unusually quick may not come back within 10 % of it.
    found = [trial.figures.get("app.recovery_ms@rpc/outage") for trial in record.trials]
    recovered = [value for value in found if value is not None]
    assert recovered
    assert all(950 <= value <= 1500 for value in recovered)


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_a_recovery_that_is_30_percent_slower_fails_the_build_and_the_time_before_does_not(tmp_path: Path) -> None:
    # `make campaign BENCH="--set parts"` counts how often this scenario fails without a change.
    path = tmp_path / "outage.yaml"
    path.write_text(changed(CAMPAIGN.read_text(), "repeat: 3", "repeat: 2"))
    saved = build(tmp_path, path.name, "--baseline-save", f"--perfcheck-repeat={SAVED_RUNS}")
    assert saved.status == 0, saved.output
    path.write_text(changed(path.read_text(), "at: 1900ms, rate", "at: 2080ms, rate"))
    slower = build(tmp_path, path.name, "--baseline")
    assert slower.status == 1, slower.output
    assert any("app.recovery_ms@bulk/outage" in name for name in slower.failed), slower.output
    assert not any("/before" in name for name in slower.failed), slower.output
    assert "links[0].schedule" in slower.output
