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

from perfcheck.diagnose import Reading, RuleSet, Sightings, diagnose, load_rules, with_chains
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


def reading_of(name: str) -> Reading:
    trials = [
        {key: value for key, value in trial.items() if key in CATALOGUE} for trial in RUNS[name]["trials"]
    ]  # fmt: skip
    names = {key for trial in trials for key in trial}
    medians = {key: median(trial[key] for trial in trials if key in trial) for key in names}
    return Reading(metrics=medians, trials=trials)


def diagnosed(rules: RuleSet, name: str) -> tuple[DiagnosisRecord, ...]:
    reading = reading_of(name)
    return diagnose(rules, reading.metrics, reading.trials)


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


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_chain_from_its_cause(rules: RuleSet, name: str) -> None:
    first = with_chains(diagnosed(rules, name), rules.causality, reading_of(name), Sightings())[0]
    if first.cause == "jitter" and not first.chain_rests_on:
        return  # Jitter that leaves throughput alone leads to nothing that these older runs have metrics of.
    assert first.chain_rests_on == Sightings().basis
    assert first.cause in first.chain[:-1]


def test_there_are_enough_runs_of_either_kind() -> None:
    assert len(HEALTHY) >= 20
    assert len({cause for name in FAULTS for cause in RUNS[name]["causes"]}) >= 12
