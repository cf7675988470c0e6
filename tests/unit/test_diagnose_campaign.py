"""The shipped rules on runs of the fault campaign: one file of faults by other means than tests/golden/diagnosis.jsonl.

Each line has the label of what was injected and, of each trial, the metrics that conditions speak of.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from perfcheck.diagnose import RuleSet, diagnose, load_rules

CAMPAIGN: Final = Path(__file__).parents[1] / "golden" / "campaign.jsonl"
RUNS: Final[dict[str, dict[str, Any]]] = {
    run["name"]: run for run in map(json.loads, CAMPAIGN.read_text().splitlines())
}  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_the_campaign_is_diagnosed(rules: RuleSet, name: str) -> None:
    trials = RUNS[name]["trials"]
    names = {key for trial in trials for key in trial}
    medians = {key: median(trial[key] for trial in trials if key in trial) for key in names}
    found = diagnose(rules, medians, trials)
    assert found[0].cause in RUNS[name]["causes"], [(record.cause, record.confidence) for record in found]
    if RUNS[name]["causes"] == ["healthy"]:
        assert all(record.confidence < 0.3 for record in found if record.severity != "info")


def test_there_are_runs_of_each_kind() -> None:
    causes = [cause for run in RUNS.values() for cause in run["causes"]]
    assert len(RUNS) >= 20
    assert {
        "healthy",
        "random_loss",
        "queue_overflow",
        "policer",
        "shaper",
        "bufferbloat",
        "jitter",
        "cross_traffic",
    } <= set(causes)
