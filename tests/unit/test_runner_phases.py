"""Phases in records: figures under their keys, judged, compared, kept as baselines, and what does not recover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from perfcheck.analyse import aggregate, aggregate_subjects, phase_trials
from perfcheck.baseline.sessions import with_accepted, with_session
from perfcheck.compare import judge
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.record import PhaseRecord, RunRecord, ScenarioRef, SubjectRecord, TrialPhase, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import SubjectKind
from perfcheck.model.verdict import Verdict
from perfcheck.runner.summary import asked, expectation_records
from perfcheck.testing import make_record, make_scenario

KEY: Final = "app.recovery_ms@bulk/after"
EXPECT: Final = {KEY: "<= 500ms", "app.throughput_bps/after": ">= 10mbit"}
SCENARIO: Final = make_scenario(
    traffic=[{"name": "bulk", "iperf3": {"from": "client", "to": "server", "duration": "5s"}}],
    phases_ns={"before": 10**9, "after": 3 * 10**9}, expect=EXPECT,
)  # fmt: skip


def trial(index: int, recovery_ms: float | None, rate_bps: float = 20e6) -> TrialRecord:
    recovered = {} if recovery_ms is None else {"app.recovery_ms": recovery_ms}
    after = TrialPhase(
        metrics={"app.throughput_bps": rate_bps, **recovered},
        subjects={"bulk": {"app.throughput_bps": rate_bps, **recovered}},
        unrecovered=() if recovered else ("bulk",),
    )
    return TrialRecord(
        index=index, metrics={"app.throughput_bps": 15e6}, phases={"before": TrialPhase(), "after": after}
    )  # fmt: skip


def record(recoveries_ms: Sequence[float | None], scenario: Scenario = SCENARIO, **changes: Any) -> RunRecord:
    trials = tuple(trial(index, each) for index, each in enumerate(recoveries_ms))
    parts = phase_trials(trials, "after")
    after = PhaseRecord(
        begin_ns=3 * 10**9, metrics=aggregate(parts),
        subjects={
            name: SubjectRecord(kind=SubjectKind.TRAFFIC, metrics=metrics)
            for name, metrics in aggregate_subjects(parts).items()
        },
    )  # fmt: skip
    fields: dict[str, Any] = {
        "trials": trials, "phases": {"after": after},
        "scenario": ScenarioRef(
            name=scenario.name, digest=scenario.digest, file=scenario.file, workload=scenario.workload_digest,
            asked=asked(scenario),
        ),
    }  # fmt: skip
    return make_record({"app.throughput_bps": [15e6] * len(trials)}, **(fields | changes))


def test_figures_of_a_phase_have_the_phase_in_their_keys() -> None:
    made = record([300, 310, 320])
    assert made.figures[KEY].value == 310
    assert made.figures[KEY].unit == "ms"
    assert list(made.figures["app.recovery_ms/after"].per_trial) == [300, 310, 320]
    assert made.trials[0].figures[KEY] == 300
    assert made.figures["app.throughput_bps"].value == 15e6
    assert "app.recovery_ms" not in made.figures


def test_a_record_with_phases_is_read_as_it_was_written() -> None:
    made = record([300, None, 320])
    assert RunRecord.model_validate_json(made.to_json()) == made


def test_expectations_are_judged_by_phase() -> None:
    lines = {line.metric: line for line in expectation_records(SCENARIO, record([300, 310, 700]))}
    assert (lines[KEY].verdict, lines[KEY].actual) == (Verdict.PASS, 310)
    assert lines["app.throughput_bps/after"].verdict is Verdict.PASS
    lines = {line.metric: line for line in expectation_records(SCENARIO, record([600, 610, 700]))}
    assert (lines[KEY].verdict, lines[KEY].actual) == (Verdict.FAIL, 610)


def test_traffic_that_does_not_recover_fails_and_has_no_median_of_the_runs_that_did() -> None:
    made = record([300, None, 320])
    assert KEY not in made.figures
    assert "app.recovery_ms/after" not in made.figures
    lines = {line.metric: line for line in expectation_records(SCENARIO, made)}
    assert (lines[KEY].verdict, lines[KEY].actual) == (Verdict.FAIL, None)
    assert lines[KEY].reason == "bulk did not recover before the traffic ended in 1 of 3 runs"
    assert lines["app.throughput_bps/after"].verdict is Verdict.PASS


def test_a_recovery_of_which_nothing_is_known_is_not_judged() -> None:
    made = record([300, 310, 320], phases={})
    (line,) = (line for line in expectation_records(SCENARIO, made) if line.metric == KEY)
    assert line.verdict is Verdict.INVALID


def compared(recoveries_ms: Sequence[float | None], *, screened: int | None = None) -> dict[str, Verdict]:
    baseline = None
    for run in range(6):
        baseline = with_session(record([300 + run, 302, 304, 306], run_id=f"run-{run}"), baseline)
    assert baseline is not None
    found = judge(SCENARIO, record(recoveries_ms), BaselineLookup(like=baseline), screened_runs=screened)
    return {each.metric: each.verdict for each in found}


def test_a_recovery_that_is_30_percent_slower_regresses_and_nothing_else_does() -> None:
    slower = compared([396, 398, 400, 402])
    assert slower[KEY] is Verdict.REGRESSED
    assert slower["app.throughput_bps/after"] is Verdict.PASS
    assert compared([301, 302, 303, 305])[KEY] is Verdict.PASS


@pytest.mark.parametrize(
    ("recoveries_ms", "screened", "verdict"),
    [
        ([300, None, 302, 303], None, Verdict.REGRESSED),
        ([300, None, 302, None, None, 303], 3, Verdict.REGRESSED),
        ([300, None, 302, 303, 303, 303, 302], 3, Verdict.PASS),
    ],
)
def test_traffic_that_does_not_recover_has_regressed_unless_fresh_runs_do(
    recoveries_ms: list[float | None], screened: int | None, verdict: Verdict
) -> None:
    assert compared(recoveries_ms, screened=screened)[KEY] is verdict


def test_a_baseline_keeps_of_phases_what_the_scenario_asks_for() -> None:
    kept = with_session(record([300, 310, 320]), None)
    assert set(kept.sessions[0].runs) == {"app.throughput_bps", "app.throughput_bps/after", KEY}


def test_a_single_figure_of_a_phase_can_be_accepted() -> None:
    old = with_session(record([300, 310, 320], run_id="old"), None)
    new = with_accepted(
        record([600, 610, 620], run_id="new", started_at="2025-01-01T00:00:00Z"), [KEY], "the path is longer", old
    )
    assert new.sessions[-1].runs == {KEY: (600.0, 610.0, 620.0)}
    assert [change.metric for change in new.accepted] == [KEY]
