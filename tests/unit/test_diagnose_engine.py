"""How rules become causes: trials, what speaks against, `healthy`, `unknown`, and the order of it all."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.diagnose import RuleSet, diagnose, judge, load_rules, read_rules
from perfcheck.diagnose.engine import noisy_or
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.causes import CAUSES
from perfcheck.model.record import DiagnosisRecord

UNHURRIED = settings(deadline=None)
"""A busy machine is no mistake."""

SHIPPED = load_rules()
RULES = """\
schema: 1
symptoms:
  - {name: some-loss, symptom: loss, when: tcp.retrans_pct > 1%, weight: 0.8, evidence: segments are lost}
  - {name: slow, symptom: low_throughput, when: tcp.bdp_use_pct < 50%, weight: 0.6, evidence: it is slow}
rules:
  - name: loss
    cause: random_loss
    when: tcp.retrans_pct > 1%
    weight: 0.6
    severity: warning
    evidence: segments are lost
    advice: look for the hop
    explains: [loss, low_throughput]
    against:
      - {when: tcp.queue_delay_us > 10ms, weight: 0.5, evidence: a queue stands}
  - name: heavy-loss
    cause: random_loss
    when: tcp.retrans_pct > 5%
    weight: 0.5
    severity: critical
    evidence: much is lost
    advice: look for it now
    explains: [loss]
  - name: small-window
    cause: receive_window
    when: tcp.limited_rwnd_pct > 30%
    weight: 0.5
    severity: warning
    evidence: the window is full
    advice: raise it
    explains: [low_throughput]
  - name: idle
    cause: application_limited
    when: tcp.limited_app_pct > 50%
    weight: 0.9
    severity: info
    evidence: nothing to send
    advice: nothing to do
  - name: syn
    cause: syn_loss
    when: tcp.retrans_syn_segs >= 1
    judged: any_trial
    weight: 0.6
    severity: warning
    evidence: a SYN was lost
    advice: look for it
  - name: fine
    cause: healthy
    when: tcp.bdp_use_pct >= 85%
    weight: 0.8
    severity: info
    evidence: the path is full
    advice: Nothing to do.
"""
FINE: Mapping[str, float] = {
    "tcp.retrans_pct": 0.0, "tcp.bdp_use_pct": 95.0, "tcp.limited_rwnd_pct": 0.0, "tcp.limited_app_pct": 0.0,
    "tcp.queue_delay_us": 0.0, "tcp.retrans_syn_segs": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return read_rules("test.yaml", RULES)


def causes(records: tuple[DiagnosisRecord, ...]) -> dict[str, float]:
    return {record.cause: record.confidence for record in records}


def test_a_run_without_symptoms_is_healthy(rules: RuleSet) -> None:
    (only,) = diagnose(rules, FINE, [FINE, FINE])
    assert only.cause == "healthy"
    assert only.confidence >= 1 - 0.2 * 0.5
    assert only.evidence_for == (
        "the path is full: tcp.bdp_use_pct (95 %) >= 85 %",
        "none of 2 symptoms that could be judged was found",
    )
    assert only.evidence_against == ()
    assert only.severity == "info"


def test_evidence_and_advice_of_a_cause(rules: RuleSet) -> None:
    run = {**FINE, "tcp.retrans_pct": 8.0, "tcp.bdp_use_pct": 20.0, "tcp.queue_delay_us": 12_000.0}
    first = diagnose(rules, run)[0]
    assert first.cause == "random_loss"
    # Two rules, of which one counts half; that nothing else explains the symptoms makes it more probable still.
    assert first.confidence >= 1 - (1 - 0.6 * 0.5) * (1 - 0.5)
    assert first.evidence_for == (
        "segments are lost: tcp.retrans_pct (8 %) > 1 %",
        "much is lost: tcp.retrans_pct (8 %) > 5 %",
    )
    assert first.evidence_against == ("a queue stands: tcp.queue_delay_us (12 ms) > 10 ms",)
    assert first.chain == ("random_loss", "loss", "low_throughput")
    assert first.severity == "critical"
    assert first.advice == "look for it now"  # that of the strongest rule after what speaks against it


def test_a_weight_counts_whole_only_if_the_rule_held_in_every_trial(rules: RuleSet) -> None:
    full = {**FINE, "tcp.limited_rwnd_pct": 90.0}
    assert causes(diagnose(rules, full, [full] * 4))["receive_window"] == pytest.approx(0.5, abs=0.001)
    half = {record.cause: record for record in diagnose(rules, full, [full, full, FINE, FINE])}["receive_window"]
    assert half.confidence == pytest.approx(0.5 * 0.75, abs=0.001)
    assert half.evidence_for[0].endswith("(in 2 of 4 runs)")
    assert causes(diagnose(rules, full, [FINE] * 4))["receive_window"] == pytest.approx(0.5 * 0.5, abs=0.001)
    assert causes(diagnose(rules, full))["receive_window"] == pytest.approx(0.5, abs=0.001)


def test_a_symptom_makes_the_causes_that_explain_it_more_probable(rules: RuleSet) -> None:
    """The same rule of weight 0.5, without and with the symptom that only its cause explains."""
    full = {**FINE, "tcp.limited_rwnd_pct": 90.0}
    slow = full | {"tcp.bdp_use_pct": 30.0}
    alone, explaining = causes(diagnose(rules, full)), causes(diagnose(rules, slow))
    assert explaining["receive_window"] > alone["receive_window"] + 0.1
    assert "healthy" in alone
    assert "healthy" not in explaining


def test_a_rare_event_counts_from_a_single_trial(rules: RuleSet) -> None:
    trials = [FINE, {**FINE, "tcp.retrans_syn_segs": 2.0}, FINE, FINE]
    found = diagnose(rules, FINE, trials)
    syn = next(record for record in found if record.cause == "syn_loss")
    assert syn.confidence == pytest.approx(0.6 * (1 + 0.25) / 2, abs=0.001)
    assert syn.evidence_for == ("a SYN was lost: tcp.retrans_syn_segs (2) >= 1 (in 1 of 4 runs)",)


def test_a_harmless_cause_does_not_speak_against_healthy(rules: RuleSet) -> None:
    idle = {**FINE, "tcp.limited_app_pct": 90.0}
    found = causes(diagnose(rules, idle))
    assert found["healthy"] == pytest.approx(causes(diagnose(rules, FINE))["healthy"], abs=0.01)
    assert found["application_limited"] == pytest.approx(0.9, abs=0.001)


def test_a_symptom_that_no_cause_explains_is_unknown(rules: RuleSet) -> None:
    slow = {**FINE, "tcp.bdp_use_pct": 30.0}
    first = diagnose(rules, slow)[0]
    assert first.cause == "unknown"
    assert first.confidence == pytest.approx(0.6, abs=0.05)
    assert first.evidence_for == ("it is slow: tcp.bdp_use_pct (30 %) < 50 %",)
    explained = causes(diagnose(rules, slow | {"tcp.limited_rwnd_pct": 90.0}))
    assert explained["receive_window"] >= 0.5
    assert explained.get("unknown", 0.0) < first.confidence / 2


def test_a_cause_explains_only_the_symptoms_that_it_says(rules: RuleSet) -> None:
    run = {**FINE, "tcp.retrans_pct": 2.0, "tcp.limited_rwnd_pct": 90.0, "tcp.bdp_use_pct": 95.0}
    found = {record.cause: record for record in diagnose(rules, run)}
    assert found["receive_window"].chain == ()
    assert found["random_loss"].chain == ("random_loss", "loss")
    idle = {**FINE, "tcp.bdp_use_pct": 30.0, "tcp.limited_app_pct": 90.0}
    told = causes(diagnose(rules, idle))
    assert told["unknown"] > told["application_limited"]  # it holds, but does not explain why it is slow
    assert told["application_limited"] == pytest.approx(told["healthy"], abs=0.001)  # what is harmless is no more sure


def test_what_was_not_measured_is_said(rules: RuleSet) -> None:
    (only,) = diagnose(rules, {"tcp.bdp_use_pct": 95.0})
    assert only.cause == "healthy"
    (text,) = only.evidence_against
    assert text == (
        "not judged, because metrics are missing: random_loss (needs tcp.retrans_pct), receive_window (needs "
        "tcp.limited_rwnd_pct), application_limited (needs tcp.limited_app_pct), syn_loss (needs tcp.retrans_syn_segs)"
    )


def test_nothing_measured_is_unknown_and_not_healthy(rules: RuleSet) -> None:
    for every in (rules, SHIPPED):
        (only,) = diagnose(every, {}, [])
        assert only.cause == "unknown"
        assert only.evidence_for == ("no metric was measured",)


def test_no_rules_at_all_know_nothing() -> None:
    (only,) = diagnose(RuleSet(rules=(), symptoms=()), FINE)
    assert only.cause == "unknown"


def test_a_judgement_tells_the_rules_that_could_not_be_judged(rules: RuleSet) -> None:
    states = {each.rule.name: each.outcome for each in judge(rules, {"tcp.retrans_pct": 2.0}).rules}
    assert states["loss"].state == "holds"
    assert states["heavy-loss"].state == "fails"
    assert states["fine"].state == "not applicable"
    assert states["fine"].lacks == ("tcp.bdp_use_pct",)


def test_trials_that_lack_a_metric_have_no_vote(rules: RuleSet) -> None:
    lossy = {**FINE, "tcp.retrans_pct": 2.0}
    assert diagnose(rules, lossy, [lossy, {}, {}]) == diagnose(rules, lossy, [lossy])


METRICS = st.dictionaries(
    st.sampled_from(sorted(CATALOGUE)),
    st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.0, 50.0, 100.0, 2e4, 1e6]),
)


@UNHURRIED
@given(METRICS, st.lists(METRICS, max_size=4), st.none() | METRICS)
def test_any_metrics_give_an_ordered_diagnosis(
    metrics: dict[str, float], trials: list[dict[str, float]], baseline: dict[str, float] | None
) -> None:
    found = diagnose(SHIPPED, metrics, trials, baseline)
    assert found
    assert [record.confidence for record in found] == sorted((record.confidence for record in found), reverse=True)
    assert {record.cause for record in found} <= set(CAUSES)
    assert len({record.cause for record in found}) == len(found)
    assert all(record.evidence_for and record.advice for record in found)
    assert diagnose(SHIPPED, metrics, trials, baseline) == found


@UNHURRIED
@given(st.lists(st.floats(0, 0.99), max_size=6))
def test_noisy_or_is_no_less_than_its_strongest_part(strengths: list[float]) -> None:
    combined = noisy_or(strengths)
    assert max(strengths, default=0.0) - 1e-12 <= combined < 1
    assert combined <= sum(strengths) + 1e-12
    assert combined == pytest.approx(noisy_or(reversed(strengths)))


def test_equal_confidence_is_ordered_by_the_list_of_causes() -> None:
    both = RULES.replace(
        "weight: 0.5\n    severity: warning\n    evidence: the window",
        "weight: 0.6\n    severity: warning\n    evidence: the window",
    )
    run = {**FINE, "tcp.retrans_pct": 2.0, "tcp.limited_rwnd_pct": 90.0}
    found = [record.cause for record in diagnose(read_rules("test.yaml", both), run)]
    assert found[:2] == ["random_loss", "receive_window"]
