"""What the runner makes of a record afterwards: baselines and history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfcheck.baseline import HistoryStore
from perfcheck.baseline.document import parse
from perfcheck.errors import UsageError
from perfcheck.model.record import RunRecord, TrialRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.history import HistoryOutput
from perfcheck.testing import make_record, make_scenario

RTT = "tcp.rtt_us.p50"
RATE = "app.throughput_bps"


def record(number: int, value: float = 20.0) -> RunRecord:
    fields: dict[str, Any] = {"run_id": f"{number:032x}", "started_at": f"2024-01-01T00:00:{number:02}+00:00"}
    return make_record({RTT: (value, value + 1, value + 2)}, **fields)


def test_save_adds_update_replaces_and_accept_starts_anew(tmp_path: Path) -> None:
    runner = Runner.create(RunOptions(baseline_dir=tmp_path))
    for number in (1, 2):
        path = runner.save_baseline(record(number))
    assert len(parse(path.read_text(), str(path)).sessions) == 2
    runner.save_baseline(record(3, 30.0), accept=(RTT,), reason="a longer queue")
    found = parse(path.read_text(), str(path))
    assert len(found.sessions) == 3
    assert found.sessions_of(RTT) == ((30, 31, 32),)
    assert [change.reason for change in found.accepted] == ["a longer queue"]
    runner.save_baseline(record(4, 40.0), update=True)
    found = parse(path.read_text(), str(path))
    assert [session.run_id for session in found.sessions] == [f"{4:032x}"]
    assert found.accepted == ()


def test_a_session_that_moved_is_told_before_it_is_saved(tmp_path: Path) -> None:
    runner = Runner.create(RunOptions(baseline_dir=tmp_path))
    assert runner.moved_since_saved(make_scenario(), record(1)) == ()
    for number in (1, 2, 3):
        runner.save_baseline(record(number, 20_000.0))
    assert runner.moved_since_saved(make_scenario(), record(4, 20_001.0)) == ()
    (moved,) = runner.moved_since_saved(make_scenario(), record(4, 40_000.0))
    assert (moved.metric, moved.verdict) == (RTT, Verdict.REGRESSED)
    tolerant = make_scenario(tolerance_pct={RTT: 150.0})
    assert runner.moved_since_saved(tolerant, record(4, 40_000.0)) == ()


def test_an_accepted_metric_does_not_hide_a_change_of_another(tmp_path: Path) -> None:
    def both(number: int, rtt: float, rate: float) -> RunRecord:
        fields: dict[str, Any] = {"run_id": f"{number:032x}", "started_at": f"2024-01-01T00:00:{number:02}+00:00"}
        return make_record({RTT: (rtt, rtt + 1, rtt + 2), RATE: (rate, rate + 1, rate + 2)}, **fields)

    runner = Runner.create(RunOptions(baseline_dir=tmp_path))
    for number in (1, 2, 3):
        runner.save_baseline(both(number, 20_000.0, 90e6))
    runner.save_baseline(both(4, 40_000.0, 45e6), accept=(RTT,), reason="a longer path")
    (moved,) = runner.moved_since_saved(make_scenario(), both(5, 40_000.0, 45e6))
    assert moved.metric == RATE


def test_history_keeps_valid_trials_even_of_an_invalid_run(tmp_path: Path) -> None:
    output = HistoryOutput(tmp_path / "kept")
    output.open()
    output.write(record(1))
    spoilt = TrialRecord(index=0, metrics={RTT: 1e9}, valid=False, invalid_reason="link")
    none = {"verdict": Verdict.INVALID, "invalid_reason": "link", "trials": (spoilt,)}
    output.write(record(2).model_copy(update=none))
    some = none | {"trials": (spoilt, *record(3).trials)}
    output.write(record(3, 50.0).model_copy(update=some))
    output.close()
    (series,) = HistoryStore(tmp_path / "kept").series(RTT)
    assert series.values == (21.0, 21.0)
    assert len(list((tmp_path / "kept").rglob("*.parquet"))) == 2


def test_a_history_that_cannot_be_made_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write the history: .*--history"):
        HistoryOutput(tmp_path / "file").open()
