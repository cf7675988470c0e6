"""Each shipped cause is named on the run of its fault and on no other: a confusion matrix over synthetic runs."""

from __future__ import annotations

import pytest
from textbook_runs import FAULTS, HEALTHY, WAN, five_trials, noisy_trials, tcp_run

from perfcheck.diagnose import RuleSet, diagnose, load_rules
from perfcheck.model.catalogue import CATALOGUE


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules()


def test_the_runs_speak_of_catalogue_metrics_only() -> None:
    for run in (*HEALTHY.values(), *(run for _, run in FAULTS.values())):
        assert run.keys() <= CATALOGUE.keys()


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_called_healthy(rules: RuleSet, name: str) -> None:
    found = diagnose(rules, HEALTHY[name], five_trials(HEALTHY[name]))
    assert found[0].cause == "healthy"
    assert found[0].confidence >= 0.5
    harmful = [record for record in found[1:] if record.severity != "info" and record.confidence > 0.3]
    assert not harmful


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_called_by_its_name(rules: RuleSet, name: str) -> None:
    cause, run = FAULTS[name]
    found = diagnose(rules, run, five_trials(run))
    assert found[0].cause == cause, [(record.cause, record.confidence) for record in found]
    assert found[0].confidence >= 0.5
    assert found[0].evidence_for
    assert found[0].advice
    assert all(record.confidence < 0.3 for record in found if record.cause == "healthy")


def test_no_shipped_cause_is_without_a_fault_that_shows_it(rules: RuleSet) -> None:
    shown = {cause for cause, _ in FAULTS.values()}
    needs_a_baseline_or_is_no_fault = {"path_latency", "application_limited", "healthy"}
    told = {rule.cause for rule in rules.rules}.union(*(each.says for each in rules.evidence))
    assert told == shown | needs_a_baseline_or_is_no_fault


def test_a_longer_path_is_told_against_the_baseline(rules: RuleSet) -> None:
    longer = tcp_run(base_ms=26.1, rtt_ms=(44, 51, 52), cwnd=(400, 448), goodput_mbit=94.6)
    found = diagnose(rules, longer, five_trials(longer), WAN)
    assert found[0].cause == "path_latency"
    assert "baseline(tcp.min_rtt_us)" in found[0].evidence_for[0]
    assert diagnose(rules, longer, five_trials(longer))[0].cause == "healthy"
    assert diagnose(rules, WAN, five_trials(WAN), WAN)[0].cause == "healthy"


def test_a_long_way_is_mentioned_but_no_fault(rules: RuleSet) -> None:
    satellite = tcp_run(base_ms=600, rtt_ms=(605, 640, 700), cwnd=(80, 90), goodput_mbit=1.5, link_mbit=None)
    found = diagnose(rules, satellite, five_trials(satellite))
    assert {record.cause: record.severity for record in found} == {"healthy": "info", "path_latency": "info"}


def test_an_application_that_sends_little_is_named_as_what_limits(rules: RuleSet) -> None:
    run = HEALTHY["throttled-sender"]
    found = diagnose(rules, run, five_trials(run))
    assert [record.cause for record in found] == ["healthy", "application_limited"]
    assert found[1].severity == "info"


@pytest.mark.parametrize("name", [*HEALTHY, *FAULTS])
def test_one_trial_gives_the_same_cause_as_five(rules: RuleSet, name: str) -> None:
    run = HEALTHY[name] if name in HEALTHY else FAULTS[name][1]
    expected = "healthy" if name in HEALTHY else FAULTS[name][0]
    assert diagnose(rules, run, [run])[0].cause == expected
    assert diagnose(rules, run)[0].cause == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", HEALTHY)
def test_noise_makes_no_fault_of_a_healthy_run(rules: RuleSet, name: str, seed: int) -> None:
    trials = noisy_trials(HEALTHY[name], 0.06, seed)
    medians = {key: sorted(trial[key] for trial in trials)[2] for key in HEALTHY[name]}
    assert diagnose(rules, medians, trials)[0].cause == "healthy"
