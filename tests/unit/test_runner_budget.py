"""What measuring may cost in a scenario, and what a record says and leaves open where it cost more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfcheck.diagnose import load_rules
from perfcheck.model.budget import Budget, Shedding, Spending
from perfcheck.model.observation import Observation, Overhead, ProgramCost
from perfcheck.model.record import ComparisonRecord, RunRecord, TrialRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner import RunOptions, costs
from perfcheck.runner.bench import judged
from perfcheck.runner.budget import core_budget, detail_budget_pct, shed_left_open
from perfcheck.runner.summary import expectation_records, summarise
from perfcheck.runner.trial import Trial
from perfcheck.scenario import load_text

SCENARIO = """
scenario: a
hosts: {client: {}, server: {}}
links: [{between: [client, server], delay: 1ms}]
traffic: [{iperf3: {from: client, to: server}}]
repeat: 2
measure: %s
expect: {nic.rx_softirq_delay_us.p99: "<= 1ms", tcp.rtt_us.p50: "<= 10ms"}
"""
DELAY, RTT = "nic.rx_softirq_delay_us.p99", "tcp.rtt_us.p50"
STOP = Shedding(
    collector="nic", what="nic was stopped", why="measuring used 3 % of one CPU, more than its budget of 1 %", at_s=3.0,
    stopped=True,
)  # fmt: skip


def trial(index: int, metrics: dict[str, float], spending: Spending | None = None) -> Trial:
    programs = (ProgramCost(program="nic/softirq_entry", calls=100, run_ns=5000),)
    overhead = Overhead(programs=programs, user_cpu_s=0.02, rss_bytes=1 << 20, map_bytes=4096)
    return Trial(
        record=TrialRecord(index=index, metrics=metrics, traffic_s=2.0), cross_checks=(), links=(), warnings=(),
        observations=(Observation(collector="nic", overhead=overhead),), spending=spending or Spending(),
    )  # fmt: skip


def record(measure: str, *trials: Trial) -> RunRecord:
    (scenario,) = load_text(SCENARIO % measure, "a.yaml")
    made = summarise(
        scenario=scenario, trials=trials, rules=load_rules(()), run_id="1", started_at="2026-01-01T00:00:00+00:00",
        environment={}, emulators={}, unavailable={},
    )  # fmt: skip
    return judged(made, expectations=tuple(expectation_records(scenario, made)))


@pytest.mark.parametrize(
    ("measure", "budget", "detail_pct"),
    [
        ("{}", Budget(cpu_pct=1.0), 25.0),
        ("{mode: detail}", Budget(cpu_pct=25.0), 25.0),
        ("{budget: 2%}", Budget(cpu_pct=2.0, always=True), 2.0),
        ("{mode: both, budget: 5%}", Budget(cpu_pct=5.0, always=True), 5.0),
    ],
)
def test_the_default_holds_at_rest_and_what_is_asked_for_always(
    measure: str, budget: Budget, detail_pct: float
) -> None:
    (scenario,) = load_text(SCENARIO % measure, "a.yaml")
    assert (core_budget(scenario), detail_budget_pct(scenario)) == (budget, detail_pct)
    assert core_budget(RunOptions(budget_pct=7.0).applied_to(scenario)) == Budget(cpu_pct=7.0, always=True)


def test_a_stopped_collectors_metric_is_absent_and_what_rests_on_it_inconclusive() -> None:
    found = record("{}", trial(0, {DELAY: 10.0, RTT: 2000.0}), trial(1, {RTT: 2100.0}, Spending(shed=(STOP,))))
    assert DELAY not in found.metrics, "the median of one run would pass for that of two"
    assert found.trials[0].metrics[DELAY] == 10.0
    verdicts = {line.metric: (line.verdict, line.reason) for line in found.expectations}
    assert verdicts[RTT] == (Verdict.PASS, None)
    verdict, reason = verdicts[DELAY]
    assert verdict is Verdict.INCONCLUSIVE
    assert reason is not None
    assert "nic was stopped from 3.0 s into run 2 on: measuring used 3 %" in reason
    assert "--budget" in reason
    assert found.verdict is Verdict.INCONCLUSIVE
    (warning,) = (text for text in found.warnings if "nic was stopped" in text)
    assert "run 2" in warning
    (shed,) = found.overhead["shed"]
    assert (shed["run"], shed["collector"], shed["stopped"]) == (2, "nic", True)


def test_a_comparison_with_a_stopped_collectors_metric_is_inconclusive() -> None:
    found = record("{}", trial(0, {RTT: 2000.0}, Spending(shed=(STOP,))), trial(1, {RTT: 2000.0}))
    line = ComparisonRecord(
        metric=DELAY, baseline=10.0, current=None, change_pct=None, detectable_pct=None, verdict=Verdict.INVALID
    )
    other = replace_metric(line, RTT)
    opened, untouched = shed_left_open(found, (line, other))
    assert opened.verdict is Verdict.INCONCLUSIVE
    assert "nic was stopped" in str(opened.reason)
    assert untouched == other


def replace_metric(line: ComparisonRecord, metric: str) -> ComparisonRecord:
    return line.model_copy(update={"metric": metric, "current": 20.0, "verdict": Verdict.PASS})


def test_doing_less_takes_no_figure_away_but_is_told() -> None:
    less = replace(STOP, collector="sockdiag", what="sock_diag was asked every 0.5 s", stopped=False)
    found = record("{}", trial(0, {DELAY: 10.0, RTT: 2000.0}, Spending(shed=(less,))), trial(1, {DELAY: 9, RTT: 2e3}))
    assert found.metrics[DELAY].per_trial == (10.0, 9.0)
    assert found.overhead["stopped"] == {}
    assert any("sock_diag was asked every 0.5 s from 3.0 s into run 1 on" in text for text in found.warnings)
    assert found.verdict is Verdict.PASS


def test_the_record_says_what_each_program_and_the_whole_core_cost() -> None:
    resting = Spending(rest_s=4.0, rest_cpu_s=0.02)
    overhead = record("{}", trial(0, {RTT: 2e3}, resting), trial(1, {RTT: 2e3})).overhead
    assert overhead["programs"] == {"nic/softirq_entry": {"calls": 200, "run_ns": 10_000, "ns_per_call": 50.0}}
    assert overhead["user_cpu_s"] == pytest.approx(0.04)
    assert overhead["cpu_pct"] == pytest.approx(100 * (0.04 + 1e-5) / 4)
    assert overhead["at_rest"] == {"seconds": 4.0, "cpu_pct": pytest.approx(0.5)}
    assert (overhead["budget_pct"], overhead["budget_holds"]) == (1.0, "at rest")
    assert (overhead["rss_bytes"], overhead["bpf_map_bytes"]) == (1 << 20, 4096)
    assert overhead["lost_events"] == {"nic": 0}


@pytest.mark.parametrize(("measure", "told"), [("{}", False), ("{budget: 0.5%}", True), ("{budget: 2%}", False)])
def test_what_measuring_took_beyond_a_budget_that_was_asked_for_is_said(measure: str, told: bool) -> None:
    found = record(measure, trial(0, {DELAY: 1.0, RTT: 2e3}), trial(1, {DELAY: 1.0, RTT: 2e3}))
    assert any("more than its budget of 0.5 %" in text for text in found.warnings) is told


def test_that_nothing_more_can_be_shed_is_said() -> None:
    spending = Spending(still_pct=3.25)
    (text,) = costs.remarks(
        {"budget_pct": 1.0, "budget_holds": "at rest", "cpu_pct": 0.0}, [trial(0, {}, spending), trial(1, {})]
    )
    assert "still used 3.25 %" in text


def test_what_was_shed_while_the_other_side_was_measured_counts_on_both() -> None:
    spending = Spending(earlier=(STOP,))
    found = record(
        "{}", trial(0, {DELAY: 10.0, RTT: 2e3}), trial(1, {RTT: 2e3}, spending), trial(2, {RTT: 2e3}, spending)
    )
    assert DELAY not in found.metrics
    (warning,) = (text for text in found.warnings if "nic was stopped" in text)
    assert "before run 2, while the other side was measured" in warning
    assert warning in found.overhead["stopped"]["nic"]


def test_what_was_shed_in_a_run_of_the_record_is_told_once() -> None:
    first, later = Spending(shed=(STOP,)), Spending(earlier=(STOP,))
    found = record("{}", trial(0, {RTT: 2e3}, first), trial(1, {RTT: 2e3}, later))
    (warning,) = (text for text in found.warnings if "nic was stopped" in text)
    assert "into run 1 on" in warning
