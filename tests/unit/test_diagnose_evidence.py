"""Evidence entries, causes and fitted numbers in rule files: what they do, and how their mistakes are told."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.diagnose import RuleSet, diagnose, judge, load_rules, posterior, read_fitted, read_rules
from perfcheck.diagnose.digest import digest_of
from perfcheck.diagnose.fitted import Fitted
from perfcheck.diagnose.network import Bit
from perfcheck.errors import RuleError

UNHURRIED = settings(deadline=None)
"""A busy machine is no mistake."""

GOOD = """\
schema: 1
causes:
  - {name: policer, prior: 0.05, severity: warning, advice: ask for the rate}
  - {name: jitter, severity: critical, advice: look for a radio}
evidence:
  - name: bursts-lost
    when: tcp.retrans_pct > 1%
    says: {policer: 0.9, random_loss: 0.3}
    leak: 0.02
    sentence: bursts are lost
    layer: tcp
  - name: uneven
    when: udp.jitter_us > 2ms
    says: {jitter: 0.9}
    sentence: datagrams come unevenly
  - name: path-full
    when: tcp.bdp_use_pct >= 85%
    says: {healthy: 0.9}
    leak: 0.1
    sentence: the path is full
"""
LOSSY = {"tcp.retrans_pct": 3.0, "udp.jitter_us": 100.0, "tcp.bdp_use_pct": 40.0}
FINE = {"tcp.retrans_pct": 0.0, "udp.jitter_us": 100.0, "tcp.bdp_use_pct": 95.0}


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return read_rules("my.yaml", GOOD)


def test_evidence_names_a_cause_with_what_was_seen_and_what_was_not(rules: RuleSet) -> None:
    first = diagnose(rules, LOSSY)[0]
    assert (first.cause, first.severity, first.advice) == ("policer", "warning", "ask for the rate")
    assert first.evidence_for == (
        "bursts are lost: tcp.retrans_pct (3 %) > 1 %",
        "not so: the path is full: tcp.bdp_use_pct (40 %) not >= 85 %",  # as it is in nine of ten healthy runs
    )
    uneven = diagnose(rules, {"udp.jitter_us": 8000.0, "tcp.retrans_pct": 3.0, "tcp.bdp_use_pct": 40.0})
    jitter = next(each for each in uneven if each.cause == "jitter")
    assert (jitter.severity, jitter.advice) == ("critical", "look for a radio")
    assert jitter.evidence_for[0] == "datagrams come unevenly: udp.jitter_us (8 ms) > 2 ms"


def test_evidence_that_is_not_there_is_told_against_the_cause() -> None:
    second = GOOD + "  - {name: held, when: tcp.bdp_use_pct < 30%, says: {policer: 0.8}, sentence: the rate is low}\n"
    first = diagnose(read_rules("my.yaml", second), LOSSY)[0]
    assert first.cause == "policer"
    assert first.evidence_against == ("not so: the rate is low: tcp.bdp_use_pct (40 %) not < 30 %",)


def test_a_run_without_evidence_for_any_cause_is_healthy(rules: RuleSet) -> None:
    (only,) = diagnose(rules, FINE)
    assert only.cause == "healthy"
    assert only.confidence > 0.9


def test_evidence_on_metrics_that_were_not_measured_counts_nothing(rules: RuleSet) -> None:
    partly = posterior(judge(rules, {"tcp.retrans_pct": 3.0}))
    without = read_rules("my.yaml", GOOD.partition("  - name: uneven")[0])
    alone = posterior(judge(without, {"tcp.retrans_pct": 3.0}))
    assert partly.causes["policer"] == pytest.approx(alone.causes["policer"], abs=1e-3)
    assert partly.causes["jitter"] == pytest.approx(0.02, abs=1e-3)
    assert diagnose(rules, {"app.errors": 0.0})[0].cause == "unknown"
    assert "jitter (needs udp.jitter_us)" in diagnose(rules, {"tcp.retrans_pct": 0.0})[0].evidence_against[0]


def test_evidence_is_left_out_where_what_it_is_about_is_not_there() -> None:
    text = GOOD.replace("  - name: bursts-lost\n", "  - name: bursts-lost\n    given: tcp.retrans_segs >= 10\n")
    careful = read_rules("my.yaml", text)
    many, few = LOSSY | {"tcp.retrans_segs": 50.0}, LOSSY | {"tcp.retrans_segs": 2.0}
    assert judge(careful, many).states()["bursts-lost"] == 1.0
    for left_out in (few, LOSSY):
        assert judge(careful, left_out).states()["bursts-lost"] is None
    assert judge(careful, many, [many, few]).states()["bursts-lost"] == 1.0  # the second run has no vote
    assert careful.evidence[0].digest != read_rules("my.yaml", GOOD).evidence[0].digest
    with pytest.raises(RuleError, match=r"my.yaml:7:12: .*given: .*did you mean tcp.retrans_segs"):
        read_rules("my.yaml", text.replace("tcp.retrans_segs", "tcp.retrans_seg"))


def test_the_prior_of_a_cause_counts() -> None:
    seldom = read_rules("my.yaml", GOOD.replace("prior: 0.05", "prior: 0.0005"))
    assert diagnose(seldom, LOSSY)[0].cause != "policer"


def test_a_user_s_file_changes_the_prior_of_a_shipped_cause(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("schema: 1\ncauses:\n  - {name: policer, prior: 0.3}\n")
    rules = load_rules([tmp_path])
    assert rules.prior("policer") == 0.3
    assert rules.causes["policer"].advice == load_rules().causes["policer"].advice


def test_a_user_s_file_replaces_and_disables_evidence() -> None:
    more = GOOD.replace("  - name: uneven", "  - name: bursts-lost\n    replace: true", 1)
    (held, full) = read_rules("my.yaml", more).evidence
    assert (held.name, held.text) == ("bursts-lost", "udp.jitter_us > 2ms")
    assert full.name == "path-full"


BROKEN: dict[str, tuple[str, str, int, int, str]] = {
    # what: (old, new, line, column, message)
    "unknown cause": ("random_loss: 0.3", "randomloss: 0.3", 8, 26,
                      "'randomloss' is not a cause; did you mean random_loss?"),
    "strength of one": ("policer: 0.9", "policer: 1", 8, 21, "expected a number above 0 and below 1, got 1"),
    "strength as a word": ("policer: 0.9", "policer: often", 8, 21,
                           "expected a number above 0 and below 1, got 'often'"),
    "says nothing": ("says: {jitter: 0.9}", "says: {}", 14, 11, "expected a mapping of causes"),
    "says a list": ("says: {jitter: 0.9}", "says: [jitter]", 14, 11, "expected a mapping of causes"),
    "no sentence": ("    sentence: the path is full\n", "", 16, 5, "the key 'sentence' is missing"),
    "unknown key": ("    leak: 0.02", "    leek: 0.02", 9, 5, "unknown key 'leek'; did you mean leak?"),
    "leak of zero": ("leak: 0.02", "leak: 0", 9, 11, "expected a number above 0 and below 1, got 0"),
    "unknown metric": ("udp.jitter_us > 2ms", "udp.jiter_us > 2ms", 13, 11, "did you mean udp.jitter_us?"),
    "wrong unit": ("udp.jitter_us > 2ms", "udp.jitter_us > 2%", 13, 27, "cannot compare"),
    "name that is taken": ("name: uneven", "name: bursts-lost", 12, 11,
                           "'bursts-lost' is already defined at my.yaml:6"),
    "prior of one": ("prior: 0.05", "prior: 1.0", 3, 28, "expected a number above 0 and below 1, got 1.0"),
    "cause that is none": ("name: policer", "name: polizer", 3, 12, "'polizer' is not a cause; did you mean policer?"),
    "prior of healthy": ("name: policer", "name: healthy", 3, 12, "healthy has no prior of its own"),
    "unknown key of a cause": ("prior: 0.05", "odds: 0.05", 3, 21, "unknown key 'odds'"),
    "symptom that is none": ("prior: 0.05", "explains: [haste]", 3, 32, "'haste' is not a symptom"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_mistake_is_told_with_its_place(what: str) -> None:
    old, new, line, column, message = BROKEN[what]
    assert GOOD.count(old) == 1
    with pytest.raises(RuleError) as caught:
        read_rules("my.yaml", GOOD.replace(old, new))
    told = [str(problem) for problem in caught.value.problems]
    assert any(text.startswith(f"my.yaml:{line}:{column}: ") and message in text for text in told), told


@UNHURRIED
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(list("\0\t\n:[]{}'\"&*!%@`>|-,#?x0")))
def test_one_wrong_character_is_no_worse_than_a_located_error(at: int, character: str) -> None:
    try:
        rules = read_rules("my.yaml", GOOD[:at] + character + GOOD[at + 1 :])
    except RuleError as refused:
        lines = {problem.line for problem in refused.problems}
    else:
        assert diagnose(rules, LOSSY)
        return
    assert min(lines) >= 1


def test_the_order_of_entries_changes_nothing() -> None:
    document = yaml.safe_load(GOOD)
    chance = random.Random(4)  # noqa: S311 - a shuffle
    expected = {each.cause: each.confidence for each in diagnose(read_rules("my.yaml", GOOD), LOSSY)}
    for _ in range(5):
        chance.shuffle(document["evidence"])
        chance.shuffle(document["causes"])
        found = diagnose(read_rules("my.yaml", yaml.safe_dump(document)), LOSSY)
        assert {each.cause: each.confidence for each in found} == expected


FITTED = """\
schema: 1
runs: 10
injectors: 2
temperature: 1.25
bits:
  bursts-lost:
    of: "{digest}"
    weight: 0.5
    hand:   {{leak: 0.02, policer: 0.9, random_loss: 0.3}}
    fitted: {{leak: 0.1, policer: 0.7, random_loss: 0.8}}
"""


def fitted_text(rules: RuleSet) -> str:
    return FITTED.format(digest={each.name: each.digest for each in rules.evidence}["bursts-lost"])


def bits_with(rules: RuleSet, text: str) -> tuple[Bit, ...]:
    fitted = read_fitted("fitted.yaml", text)
    return RuleSet(rules=(), symptoms=(), evidence=rules.evidence, fitted=fitted).network.bits


def test_fitted_numbers_take_the_place_of_hand_written_ones(rules: RuleSet) -> None:
    fitted, other, *_ = bits_with(rules, fitted_text(rules))
    assert fitted == Bit(name="bursts-lost", says={"policer": 0.7, "random_loss": 0.8}, leak=0.1, weight=0.4)
    assert (other.says, other.weight) == ({"jitter": 0.9}, 1.0)  # the fit has never seen it


@pytest.mark.parametrize(
    ("old", "new"), [("> 1%", "> 2%"), ("random_loss: 0.3", "random_loss: 0.4"), ("policer: 0.9", "shaper: 0.9")]
)
def test_fitted_numbers_of_another_condition_or_of_other_hand_written_numbers_are_not_used(
    rules: RuleSet, old: str, new: str
) -> None:
    assert GOOD.count(old) == 1
    changed = read_rules("my.yaml", GOOD.replace(old, new))
    bit = bits_with(changed, fitted_text(rules))[0]
    (own,) = [each for each in changed.evidence if each.name == "bursts-lost"]
    assert bit == Bit(name="bursts-lost", says=own.says, leak=own.leak)


def test_own_rule_files_override_evidence_with_fitted_numbers(tmp_path: Path) -> None:
    """By other numbers, by another condition, or by none: what the user's file says goes before the fit."""
    shipped = load_rules(fitted=Fitted())
    entry = shipped.evidence[0]
    text = FITTED.format(digest=entry.digest).replace("bursts-lost", entry.name)
    text = text.replace("policer: 0.9, random_loss: 0.3", ", ".join(f"{c}: {s}" for c, s in entry.says.items()))
    fitted = read_fitted("fitted.yaml", text.replace("leak: 0.02", f"leak: {entry.leak}"))
    assert load_rules(fitted=fitted).network.bits[0].leak == 0.1
    says = "{jitter: 0.4}"
    own = f"{{name: {entry.name}, when: {json.dumps(entry.text)}, says: {says}, sentence: mine, replace: true}}"
    (tmp_path / "own.yaml").write_text(f"schema: 1\nevidence: [{own}]\n")
    (bit,) = [each for each in load_rules([tmp_path], fitted=fitted).network.bits if each.name == entry.name]
    assert (bit.says, bit.weight) == ({"jitter": 0.4}, 1.0)
    (tmp_path / "own.yaml").write_text(f"schema: 1\ndisable: [{entry.name}]\n")
    assert entry.name not in {each.name for each in load_rules([tmp_path], fitted=fitted).network.bits}
    (tmp_path / "own.yaml").write_text("schema: 1\ncauses: [{name: jitter, prior: 0.3}]\n")
    assert load_rules([tmp_path], fitted=fitted).prior("jitter") == 0.3


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        ("temperature: 1.25", "temperature: 0.5", 4, 14, "greater than or equal to 1"),
        ("weight: 0.5", "weight: 2", 8, 13, "got 2"),
        ("policer: 0.7", "police: 0.7", 10, 13, "'police' is not a cause"),
        ("{leak: 0.1, policer: 0.7,", "{policer: 0.7,", 10, 13, "the leak is missing"),
        ("runs: 10\n", "", 1, 1, "the key 'runs' is missing"),
        ("weight: 0.5", "wait: 0.5", 8, 5, "unknown key 'wait'"),
        ("bits:", "bits: [", 0, 0, "invalid YAML"),
    ],
)
def test_a_mistake_in_fitted_numbers_is_told_with_its_place(
    rules: RuleSet, old: str, new: str, line: int, column: int, message: str
) -> None:
    text = fitted_text(rules)
    assert text.count(old) == 1
    with pytest.raises(RuleError) as caught:
        read_fitted("fitted.yaml", text.replace(old, new))
    told = [str(problem) for problem in caught.value.problems]
    place = f"fitted.yaml:{line}:{column}: " if line else "fitted.yaml:"
    assert any(text.startswith(place) and message in text for text in told), told


def test_a_digest_covers_the_terms_that_a_condition_uses() -> None:
    terms = {"slow": "rate < half", "half": "tcp.bdp_bytes / 2", "other": "1ms"}
    digest = digest_of(["slow and tcp.resets >= 1"], terms)
    assert digest == digest_of(["slow  and\n tcp.resets >= 1"], terms | {"other": "2ms"})
    assert digest != digest_of(["slow and tcp.resets >= 1"], terms | {"half": "tcp.bdp_bytes / 3"})
    assert digest != digest_of(["slow and tcp.resets >= 2"], terms)
