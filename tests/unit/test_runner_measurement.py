"""A run that is compared later: with the sessions as they were before it became one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from baseline_records import MACHINE

from perfcheck.errors import UsageError
from perfcheck.model.record import RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.measurement import Measurement
from perfcheck.testing import make_judged_record, make_scenario

SCENARIO = make_scenario("line", repeat=3)


def measured(runner: Runner, *rtts_us: float, run_id: str = "a") -> Measurement:
    record = make_judged_record(SCENARIO, {"tcp.rtt_us.p50": rtts_us}, run_id=run_id, environment=MACHINE)
    made = Measurement(scenario=SCENARIO, record=record, trials=(), comparing=runner)
    runner._measurements.add(made)
    return made


def verdicts(record: RunRecord) -> dict[str, str]:
    return {each.metric: each.verdict.value for each in record.comparisons}


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner.create(RunOptions(baseline_dir=tmp_path))


def test_without_a_baseline_there_is_none_even_after_the_run_was_saved_as_one(runner: Runner) -> None:
    first = measured(runner, 20e3, 20.1e3, 20.2e3)
    runner.save_baseline(first.record)
    assert set(verdicts(first.against(None)).values()) == {Verdict.NO_BASELINE.value}
    later = measured(runner, 20e3, 20.1e3, 20.2e3, run_id="b")
    assert verdicts(later.against(None)) == {"tcp.rtt_us.p50": "PASS"}


def test_a_record_is_compared_with_another(runner: Runner) -> None:
    before, after = measured(runner, 20e3, 20.1e3, 20.2e3), measured(runner, 20e3, 20.2e3, 20.1e3, run_id="b")
    compared = after.against(before.record)
    assert verdicts(compared) == {"tcp.rtt_us.p50": "PASS"}
    assert compared.reproduce == after.record.reproduce


def test_a_record_that_cannot_be_trusted_is_nothing_to_compare_with(runner: Runner) -> None:
    before = measured(runner, 20e3).record.model_copy(update={"verdict": Verdict.INVALID, "invalid_reason": "busy"})
    with pytest.raises(UsageError, match="line: the run to compare with is INVALID: busy"):
        measured(runner, 20e3).against(before)


def test_a_named_set_is_another_baseline(runner: Runner, tmp_path: Path) -> None:
    other = Runner.create(RunOptions(baseline_dir=tmp_path, baseline_name="old-kernel"))
    other.save_baseline(measured(other, 20e3, 20.1e3, 20.2e3).record)
    run = measured(runner, 20e3, 20.1e3, 20.2e3, run_id="b")
    assert verdicts(run.against("old-kernel")) == {"tcp.rtt_us.p50": "PASS"}
    assert set(verdicts(run.against(None)).values()) == {"NO_BASELINE"}


def test_the_command_that_runs_it_again_compares_with_the_same_baselines(tmp_path: Path) -> None:
    named = Runner.create(RunOptions(baseline_dir=tmp_path, baseline_name="old-kernel"))
    named.save_baseline(measured(named, 20e3, 20.1e3, 20.2e3).record)
    run = measured(named, 20e3, 20.1e3, 20.2e3, run_id="b")
    assert run.against(None).reproduce == f"{run.record.reproduce} --baseline --baseline-name old-kernel"
    assert RunOptions(baseline_ref="origin/main").comparing() == "--baseline --baseline-ref origin/main"
    assert RunOptions().comparing() == "--baseline"
