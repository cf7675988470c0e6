"""Time series of real traffic, against what iperf3 and the kernel say by themselves."""

from __future__ import annotations

import statistics
from pathlib import Path

import duckdb
import pytest
from measured import measured

from perfcheck.model.record import RunRecord
from perfcheck.output.series import SeriesReader
from perfcheck.runner import Runner, RunOptions

SCENARIO = """
scenario: series-of-a-rate-change
hosts: {client: {}, server: {}}
links:
  - between: [client, server]
    delay: 5ms
    rate: 40mbit
    queue: 2bdp
    schedule: [{at: 3s, rate: 8mbit}]
traffic:
  - name: bulk
    iperf3: {from: client, to: server, duration: 6s, streams: 2, congestion: cubic}
repeat: 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Path]:
    path = tmp_path_factory.mktemp("series") / "series.parquet"
    with Runner.create(RunOptions(series=path)) as runner:
        record = measured(runner, SCENARIO)
    return record, path


def series(run: tuple[RunRecord, Path], metric: str, subject: str) -> list[tuple[float, float]]:
    """Return seconds and values of the trial that counts."""
    record, path = run
    trial = next(trial.index for trial in record.trials if trial.valid)
    rows = duckdb.execute(
        "SELECT t_ns / 1e9, value FROM read_parquet($file) WHERE run = $run AND trial = $trial AND metric = $metric "
        "AND subject = $subject ORDER BY t_ns",
        {"file": str(path), "run": record.run_id, "trial": trial, "metric": metric, "subject": subject},
    ).fetchall()
    assert rows, f"no series of {metric}@{subject}"
    return [(float(moment), float(value)) for moment, value in rows]


def within(values: list[tuple[float, float]], begin_s: float, end_s: float) -> list[float]:
    return [value for moment, value in values if begin_s < moment <= end_s]


def test_the_record_names_its_series(run: tuple[RunRecord, Path]) -> None:
    record, path = run
    assert record.series is not None
    assert (record.series.file, record.series.interval_ms) == (str(path), 100.0)
    assert {kind.run for kind in SeriesReader(path).kinds()} == {record.run_id}
    assert record.overhead["series_cpu_s"] > 0


def test_counts_of_all_intervals_are_the_trials(run: tuple[RunRecord, Path]) -> None:
    record, _ = run
    trial = next(trial for trial in record.trials if trial.valid)
    for name in ("tcp.retrans_segs", "tcp.data_segs_out", "tcp.lost_segs"):
        assert sum(value for _, value in series(run, name, "bulk")) == trial.subjects["bulk"][name]


def test_delivery_follows_what_iperf3_received(run: tuple[RunRecord, Path]) -> None:
    # iperf3's receiver counts by itself; both are bytes of the same time, the queue's delay apart.
    ours, theirs = series(run, "tcp.delivery_rate_bps", "bulk"), series(run, "app.throughput_bps", "bulk")
    for begin_s, end_s in ((1.0, 3.0), (4.0, 6.0)):
        expected = statistics.fmean(within(theirs, begin_s, end_s))
        assert statistics.fmean(within(ours, begin_s, end_s)) == pytest.approx(expected, rel=0.1)


def test_a_change_of_rate_is_seen_when_it_happens(run: tuple[RunRecord, Path]) -> None:
    rate = series(run, "tcp.delivery_rate_bps", "bulk")
    assert statistics.median(within(rate, 1.5, 2.8)) == pytest.approx(38e6, rel=0.1)
    assert statistics.median(within(rate, 4.0, 5.8)) == pytest.approx(7.7e6, rel=0.15)
    queue = series(run, "qdisc.link_queue_bytes", "client>server")
    assert max(value for _, value in queue) > 20_000
    rtt = series(run, "tcp.rtt_us.p50", "bulk")
    assert statistics.median(within(rtt, 4.0, 5.8)) > 2 * statistics.median(within(rtt, 1.5, 2.8))


def test_drops_of_the_link_are_those_that_its_report_has(run: tuple[RunRecord, Path]) -> None:
    record, _ = run
    trial = next(trial for trial in record.trials if trial.valid)
    dropped = sum(value for _, value in series(run, "qdisc.link_drops", "client>server"))
    # The page is noted ten times an interval: what comes after the last note is not in it.
    assert dropped == pytest.approx(trial.subjects["client>server"]["qdisc.link_drops"], rel=0.05, abs=3)


def test_hosts_have_their_own_time(run: tuple[RunRecord, Path]) -> None:
    for host in ("client", "server"):
        busy = within(series(run, "cpu.busy_pct", host), 0.5, 5.5)
        assert 0 < statistics.median(busy) < 100
