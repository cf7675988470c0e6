"""The shipped rules on recorded runs: faults that were really made between namespaces, and runs without any.

Each line of tests/golden/diagnosis.jsonl is one scenario (its text stands in it) with the metrics of its trials, and
the causes that may come first; more than one where what was made has several (a narrow queue and random loss), or where
metrics of TCP alone cannot tell them apart (docs/diagnosis.md).
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

RECORDED: Final = Path(__file__).parents[1] / "golden" / "diagnosis.jsonl"
RUNS: Final[dict[str, dict[str, Any]]] = {
    run["name"]: run for run in map(json.loads, RECORDED.read_text().splitlines())
}  # fmt: skip
HEALTHY: Final = [name for name, run in RUNS.items() if run["causes"] == ["healthy"]]
FAULTS: Final = [name for name, run in RUNS.items() if "healthy" not in run["causes"]]


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def diagnosed(rules: RuleSet, name: str) -> tuple[DiagnosisRecord, ...]:
    trials = [
        {key: value for key, value in trial.items() if key in CATALOGUE} for trial in RUNS[name]["trials"]
    ]  # fmt: skip
    names = {key for trial in trials for key in trial}
    medians = {key: median(trial[key] for trial in trials if key in trial) for key in names}
    return diagnose(rules, medians, trials)


@pytest.mark.parametrize("name", RUNS)
def test_a_recorded_run_is_diagnosed(rules: RuleSet, name: str) -> None:
    found = diagnosed(rules, name)
    assert found[0].cause in RUNS[name]["causes"], [(record.cause, record.confidence) for record in found]


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_harmful_is_said_of_a_healthy_run(rules: RuleSet, name: str) -> None:
    harmful = [record for record in diagnosed(rules, name) if record.severity != "info"]
    assert all(record.confidence < 0.3 for record in harmful), harmful


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_not_called_healthy(rules: RuleSet, name: str) -> None:
    assert "healthy" not in {record.cause for record in diagnosed(rules, name) if record.confidence > 0.45}


def test_there_are_enough_runs_of_either_kind() -> None:
    assert len(HEALTHY) >= 20
    assert len({cause for name in FAULTS for cause in RUNS[name]["causes"]}) >= 12
