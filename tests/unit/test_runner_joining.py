"""Two records of one scenario as one: all trials, the metrics of all, and one judgement."""

from __future__ import annotations

from typing import Any

import pytest

from perfcheck.diagnose import RuleSet, load_rules
from perfcheck.model.record import CrossCheck, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.runner.joining import joined
from perfcheck.testing import make_record, make_scenario

SCENARIO = make_scenario(expect={"tcp.rtt_us.p50": "<= 21ms"}, repeat=2)


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules(())


def record(*rtts_us: float, **changes: Any) -> RunRecord:
    return make_record({"tcp.rtt_us.p50": rtts_us}, **changes)


def check(trial: int) -> CrossCheck:
    return CrossCheck(name="c", trial=trial, ours=1.0, theirs=1.0, source="ss", tolerance_pct=1.0, agrees=True)


def test_trials_are_numbered_on_and_metrics_are_of_all(rules: RuleSet) -> None:
    first = record(20e3, 20.2e3, run_id="one", cross_checks=(check(1),), lost_events=1, warnings=("b",))
    second = record(23e3, 23.2e3, 23.4e3, run_id="two", cross_checks=(check(0),), lost_events=2, warnings=("a", "b"))
    found = joined(SCENARIO, first, second, rules)
    assert found.run_id == "one"
    assert [trial.index for trial in found.trials] == [0, 1, 2, 3, 4]
    assert found.metrics["tcp.rtt_us.p50"].per_trial == (20e3, 20.2e3, 23e3, 23.2e3, 23.4e3)
    assert found.metrics["tcp.rtt_us.p50"].value == 23e3
    assert [each.trial for each in found.cross_checks] == [1, 2]
    assert found.lost_events == 3
    assert found.warnings == ("a", "b")


def test_expectations_are_judged_on_all_trials(rules: RuleSet) -> None:
    first, second = record(20e3, 20.2e3), record(23e3, 23.2e3, 23.4e3)
    assert joined(SCENARIO, first, second, rules).verdict is Verdict.FAIL
    assert joined(SCENARIO, first, record(20e3), rules).verdict is Verdict.PASS


def test_trials_that_do_not_count_stay_out(rules: RuleSet) -> None:
    bad = record(50e3)
    trial = bad.trials[0].model_copy(update={"valid": False, "invalid_reason": "busy"})
    second = bad.model_copy(update={"trials": (trial,), "verdict": Verdict.INVALID, "invalid_reason": "busy"})
    found = joined(SCENARIO, record(20e3, 20.2e3), second, rules)
    assert found.metrics["tcp.rtt_us.p50"].per_trial == (20e3, 20.2e3)
    assert found.verdict is Verdict.PASS
    assert len(found.trials) == 3


def test_costs_are_summed(rules: RuleSet) -> None:
    def overhead(calls: int) -> dict[str, Any]:
        return {
            "programs": {"tcp_probe": {"calls": calls, "run_ns": 10 * calls, "ns_per_call": 10.0}}, "bpf_cpu_s": 1.0,
            "user_cpu_s": 2.0, "bpf_map_bytes": calls, "rss_bytes": 5, "shed": [], "stopped": {},
            "lost_events": {"tcp": 1}, "cpu_pct": 99.0,
        }  # fmt: skip

    found = joined(SCENARIO, record(20e3, overhead=overhead(3)), record(20e3, overhead=overhead(7)), rules).overhead
    assert found["programs"]["tcp_probe"] == {"calls": 10, "run_ns": 100, "ns_per_call": 10.0}
    assert (found["bpf_cpu_s"], found["user_cpu_s"], found["bpf_map_bytes"]) == (2.0, 4.0, 7)
    assert found["lost_events"] == {"tcp": 2}
    # The trials of these records took no time.
    assert found["cpu_pct"] == 0.0
