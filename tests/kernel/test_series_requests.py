"""Requests through an outage: their latencies over time, and what `perfcheck show` marks on it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from measured import measured

from perfcheck.cli import main
from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.output.chart import MARGIN
from perfcheck.runner import Runner, RunOptions

SCENARIO = """
scenario: series-of-requests
hosts: {client: {}, server: {}}
links:
  - between: [client, server]
    delay: 10ms
    rate: 20mbit
    queue: 50kb
    schedule: [{at: 3s, rate: 0bit}, {at: 4s, rate: 20mbit}]
traffic:
  - name: rpc
    http: {from: client, to: server, duration: 6s, connections: 4, rate: 100}
  - name: short
    connections: {from: client, to: server, duration: 6s, rate: 30}
warmup: 1s
phases: {before: 1s, outage: 3s, after: 4s}
repeat: 1
"""
SLACK_S = 0.25
"""Two intervals, what was on its way when the link went, and a busy machine."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Path]:
    folder = tmp_path_factory.mktemp("requests")
    with Runner.create(RunOptions(series=folder / "s.parquet", events=folder / "e.jsonl")) as runner:
        record = measured(runner, SCENARIO)
    (folder / "runs.jsonl").write_text(record.to_json() + "\n")
    return record, folder


def trial_of(record: RunRecord) -> TrialRecord:
    return next(trial for trial in record.trials if trial.valid)


def series(run: tuple[RunRecord, Path], metric: str, subject: str) -> list[tuple[float, float]]:
    """Return seconds and values of the trial that counts."""
    record, folder = run
    rows = duckdb.execute(
        "SELECT t_ns / 1e9, value FROM read_parquet($file) WHERE run = $run AND trial = $trial AND metric = $metric "
        "AND subject = $subject ORDER BY t_ns",
        {"file": str(folder / "s.parquet"), "run": record.run_id, "trial": trial_of(record).index, "metric": metric,
         "subject": subject},
    ).fetchall()  # fmt: skip
    assert rows, f"no series of {metric}@{subject}"
    return [(float(moment), float(value)) for moment, value in rows]


def test_no_request_is_answered_while_the_link_is_away(run: tuple[RunRecord, Path]) -> None:
    trial = trial_of(run[0])
    begins_s = {name: (part.begin_ns or 0) / 1e9 for name, part in trial.phases.items()}
    assert begins_s == pytest.approx({"before": 1.0, "outage": 3.0, "after": 4.0}, abs=SLACK_S)
    for metric, subject in (("app.latency_us.p50", "rpc"), ("app.first_byte_us.p50", "short")):
        moments = [moment for moment, _ in series(run, metric, subject)]
        # An interval's value is at its end: the first of which all lies in the outage ends an interval later.
        assert not [s for s in moments if begins_s["outage"] + SLACK_S < s < begins_s["after"]], metric
        assert [s for s in moments if begins_s["outage"] - 0.5 < s < begins_s["outage"]], metric
        assert [s for s in moments if begins_s["after"] < s < begins_s["after"] + 1], metric


def test_latencies_are_those_that_the_generator_reports(run: tuple[RunRecord, Path]) -> None:
    own = trial_of(run[0]).subjects
    worst = max(value for _, value in series(run, "app.latency_us.p99", "rpc"))
    # All four connections wait for the link: of the answers that come with its return they are the slowest.
    assert 0.9 * own["rpc"]["app.latency_us.max"] <= worst <= 1.001 * own["rpc"]["app.latency_us.max"]
    assert worst > 500_000
    before = sorted(value for moment, value in series(run, "app.latency_us.p50", "rpc") if 1.5 < moment < 2.9)
    expected = trial_of(run[0]).phases["before"].subjects["rpc"]["app.latency_us.p50"]
    assert before[len(before) // 2] == pytest.approx(expected, rel=0.15)
    connects = [value for moment, value in series(run, "app.connect_us.p50", "short") if 1.5 < moment < 2.9]
    assert min(connects) >= 20_000
    opened = sum(value for _, value in series(run, "app.connections_per_s", "short")) / len(
        series(run, "app.connections_per_s", "short")
    )
    assert opened == pytest.approx(30, rel=0.15)


def test_the_drawing_has_phases_and_alerts(run: tuple[RunRecord, Path], capsys: pytest.CaptureFixture[str]) -> None:
    record, folder = run
    assert record.events is not None
    trial = trial_of(record)
    words = [str(folder / "runs.jsonl"), "app.latency_us.p99@rpc", "--trial", str(trial.index + 1)]
    assert main(["show", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    phases = next(line for line in lines if "┊outage" in line)
    places = [place for place, each in enumerate(phases) if each == "┊"]
    assert [phases[place + 1 : place + 3] for place in places] == ["be", "ou", "af"]
    rto = next(line for line in lines if line.startswith("client") and " rto " in line)
    marked = [place for place, each in enumerate(rto) if each == "▲"]
    assert all(place >= MARGIN for place in marked)
    # A sender whose packets are away asks again while the link is, and not before.
    assert [place for place in marked if places[1] <= place <= places[2] + 2]
    assert not [place for place in marked if place < places[1]]
