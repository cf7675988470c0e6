"""Softirqs that do the work of the traffic itself, and those that take the CPU from it.

Each line of tests/golden/softirqs.jsonl has what ran (by `load`, each packet as fast as the one before allows), its
label, and the metrics of its trials. `one-cpu` are hosts that share a CPU of a machine with two, `guest` a guest of the
kernel lab, which has one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.model.record import DiagnosisRecord

RECORDED: Final = Path(__file__).parents[1] / "golden" / "softirqs.jsonl"
RUNS: Final[dict[str, dict[str, Any]]] = {
    run["name"]: run for run in map(json.loads, RECORDED.read_text().splitlines())
}  # fmt: skip
REQUESTS: Final = "one-cpu/requests"
SOFTIRQS: Final = "softirq_contention"


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def diagnosed(rules: RuleSet, name: str, changed: Mapping[str, float]) -> tuple[DiagnosisRecord, ...]:
    """Diagnose a run of which some metrics have other values."""
    trials: list[dict[str, float]] = [{**trial, **changed} for trial in RUNS[name]["trials"]]
    names = {key for trial in trials for key in trial}
    metrics = {key: float(median(trial[key] for trial in trials if key in trial)) for key in names}
    return diagnose(rules, metrics, trials)


@pytest.mark.parametrize("name", RUNS)
def test_a_load_that_fills_one_cpu_is_diagnosed(rules: RuleSet, name: str) -> None:
    found = diagnosed(rules, name, {})
    assert [found[0].cause] == RUNS[name]["causes"], [(record.cause, record.confidence) for record in found]
    if RUNS[name]["causes"] == ["healthy"]:
        assert all(record.confidence < 0.3 for record in found if record.severity != "info")


def test_softirqs_of_the_load_itself_took_much_of_the_cpu() -> None:
    trial = RUNS[REQUESTS]["trials"][0]
    assert trial["nic.rx_softirq_pct"] > 20
    assert trial["cpu.busy_pct"] > 80


@pytest.mark.parametrize(
    "changed",
    [
        {"nic.rx_packets": 1_200_000.0},
        {"nic.rx_softirq_delay_us.p99": 3_000.0},
        {"nic.softnet_dropped": 40.0},
        {"nic.drops_backlog": 40.0},
        {"app.achieved_pct": 60.0},
        {"nic.rx_softirq_pct": 70.0},
    ],
    ids=["packets of others", "packets are late", "packets are lost", "the backlog is full", "less than was asked",
         "softirqs take more than processes run"],
)  # fmt: skip
def test_the_same_share_is_contention_where_somebody_pays_for_it(rules: RuleSet, changed: dict[str, float]) -> None:
    found = diagnosed(rules, REQUESTS, changed)
    assert found[0].cause == SOFTIRQS, [(record.cause, record.confidence) for record in found]
    assert diagnosed(rules, REQUESTS, {})[0].cause != SOFTIRQS


@pytest.mark.parametrize(
    "hidden",
    [
        "nic.rx_packet_bytes.mean",
        "cpu.busy_pct",
        "nic.rx_softirq_delay_us.p99",
        "nic.softnet_dropped",
        "nic.drops_backlog",
    ],
)
def test_what_was_not_measured_is_not_taken_for_in_time(rules: RuleSet, hidden: str) -> None:
    trial = {key: value for key, value in RUNS[REQUESTS]["trials"][0].items() if key != hidden}
    assert hidden in RUNS[REQUESTS]["trials"][0]
    assert diagnose(rules, trial, [trial])[0].cause == SOFTIRQS
