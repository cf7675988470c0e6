"""The shipped rules on runs of the fault matrix: limits of hosts, windows and connections, and healthy runs like them.

Each line of tests/golden/faults.jsonl has the name of a combination (docs/faults.md), what was made, and the metrics
of its trials. Only combinations that may be used for fitting are here, so that a report on the others stays honest.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import DiagnosisRecord

RECORDED: Final = Path(__file__).parents[1] / "golden" / "faults.jsonl"
RUNS: Final[dict[str, dict[str, Any]]] = {
    run["name"]: run for run in map(json.loads, RECORDED.read_text().splitlines())
}  # fmt: skip
SINGLE: Final = [name for name, run in RUNS.items() if len(run["causes"]) == 1]
DOUBLE: Final = [name for name, run in RUNS.items() if len(run["causes"]) == 2]
HEALTHY: Final = [name for name, run in RUNS.items() if run["causes"] == ["healthy"]]


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def diagnosed(rules: RuleSet, name: str) -> tuple[DiagnosisRecord, ...]:
    trials = [{key: value for key, value in trial.items() if key in CATALOGUE} for trial in RUNS[name]["trials"]]
    names = {key for trial in trials for key in trial}
    medians = {key: median(trial[key] for trial in trials if key in trial) for key in names}
    return diagnose(rules, medians, trials)


@pytest.mark.parametrize("name", SINGLE)
def test_one_fault_is_named_first(rules: RuleSet, name: str) -> None:
    found = diagnosed(rules, name)
    assert [found[0].cause] == RUNS[name]["causes"], [(record.cause, record.confidence) for record in found]


@pytest.mark.parametrize("name", DOUBLE)
def test_both_of_two_faults_are_named(rules: RuleSet, name: str) -> None:
    assert {record.cause for record in diagnosed(rules, name)} >= set(RUNS[name]["causes"])


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_harmful_is_said_of_a_healthy_run(rules: RuleSet, name: str) -> None:
    harmful = [record for record in diagnosed(rules, name) if record.severity != "info" and record.confidence > 0.3]
    assert not harmful


def test_the_runs_show_what_only_hosts_can_tell() -> None:
    shown = {cause for run in RUNS.values() for cause in run["causes"]}
    assert {"cpu_contention", "softirq_contention", "accept_backlog", "conntrack_full", "connection_reset"} <= shown
    assert len(HEALTHY) >= 8
