"""Rule files: mistakes are told with their place; users' files add to, replace and disable the shipped rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.diagnose import diagnose, judge, load_rules, read_rules
from perfcheck.errors import RuleError
from perfcheck.system.located_yaml import read_located
from perfcheck.system.place import Place
from perfcheck.system.yaml_bounds import YamlBounds

UNHURRIED = settings(deadline=None)
"""A busy machine is no mistake."""

HEAD = """\
schema: 1
symptoms:
  - name: lost
    symptom: loss
    when: tcp.lost_pct > 2%
    weight: 0.4
    evidence: something is lost
rules:
"""
RULE = """\
  - name: mine
    cause: random_loss
    when: tcp.retrans_pct > 1%
    weight: 0.5
    severity: warning
    evidence: segments are lost
    advice: look for it
    explains: [loss]
"""
GOOD = HEAD + RULE
WHEN = "when: tcp.retrans_pct > 1%"

BROKEN: dict[str, tuple[str, str, int, int, str]] = {
    # what: (old, new, line, column, message)
    "no schema": ("schema: 1\n", "", 1, 1, "the key 'schema' is missing"),
    "schema of the future": ("schema: 1", "schema: 2", 1, 9, "schema: expected 1, got 2"),
    "unknown key of the file": ("rules:", "ruels:", 8, 1, "unknown key 'ruels'; did you mean rules?"),
    "unknown key of a rule": ("    weight: 0.5", "    wieght: 0.5", 12, 5, "did you mean weight?"),
    "unknown key of a symptom": ("    symptom: loss", "    sympton: loss", 4, 5, "did you mean symptom?"),
    "unknown cause": ("random_loss", "randomloss", 10, 12, "'randomloss' is not a cause; did you mean random_loss?"),
    "the cause unknown": ("random_loss", "unknown", 10, 12, "a rule cannot name the cause unknown"),
    "no advice": ("    advice: look for it\n", "", 9, 5, "rules[0]: the key 'advice' is missing"),
    "empty evidence": ("evidence: segments are lost", "evidence: ''", 14, 15, "must not be empty"),
    "weight of one": ("weight: 0.5", "weight: 1", 12, 13, "expected a number above 0 and below 1, got 1"),
    "weight as a word": ("weight: 0.5", "weight: heavy", 12, 13, "expected a number above 0 and below 1, got 'heavy'"),
    "negative weight": ("weight: 0.5", "weight: -0.5", 12, 13, "expected a number above 0 and below 1, got -0.5"),
    "unknown severity": ("severity: warning", "severity: bad", 13, 15, "expected 'info', 'warning' or 'critical', got"),
    "name with spaces": ("name: mine", "name: my rule", 9, 11, "expected a name of lower-case letters"),
    "name that is a list": ("name: mine", "name: [mine]", 9, 11, "expected a text, got ['mine']"),
    "unknown symptom": ("[loss]", "[loss, sadness]", 16, 22, "'sadness' is not a symptom: expected loss"),
    "unknown metric": ("> 1%", "> 1% and tcp.rtt > 1ms", 11, 36,
                       "'tcp.rtt' is not a metric"),
    "metric without statistic": (WHEN,
                                 "when: tcp.rtt_us > 1ms", 11, 11, "needs a statistic"),
    "unit missing": ("> 1%", "> 1", 11, 29, "write it as 5%"),
    "wrong unit": ("> 1%", "> 1ms", 11, 29,
                   "cannot compare a percentage and a time"),
    "condition is a number": (WHEN, "when: 5",
                              11, 11, "expected a text, got 5"),
    "folded condition": (WHEN,
                         "when: >-\n      tcp.retrans_pct > 1%\n      and tcp.retrans_segs > 5ms",
                         13, 30, "cannot compare a number and a time"),
    "literal condition": (WHEN,
                          "when: |\n      tcp.retrans_pct > 1% and\n      nonsense > 2",
                          13, 7, "'nonsense' is not a metric"),
    "quoted condition": (WHEN,
                         "when: ' tcp.retrans_pct > 1s'", 11, 31, "a percentage and a time"),
    "condition that ends early": ("> 1%", ">", 11, 28,
                                  "cannot be read as a condition"),
    "counter without weight": ("    explains: [loss]\n", "    against:\n      - {when: tcp.resets > 0, evidence: x}\n",
                               17, 9, "rules[0].against[0]: the key 'weight' is missing"),
    "counter with unknown key": ("    explains: [loss]\n",
                                 "    against:\n      - {when: tcp.resets > 0, evidence: x, wait: 1, weight: 0.5}\n",
                                 17, 45, "unknown key 'wait'; did you mean weight?"),
    "counter with unknown metric": ("    explains: [loss]\n",
                                    "    against:\n      - {when: tcp.reset > 0, evidence: x, weight: 0.5}\n",
                                    17, 16, "did you mean tcp.resets?"),
    "the same name twice": ("  - name: mine", RULE + "  - name: mine", 17, 11,
                            "'mine' is already defined at my.yaml:9"),
    "the name of a symptom": ("  - name: mine", "  - name: lost", 9, 11, "'lost' is already defined at my.yaml:3"),
    "nothing to replace": ("    explains: [loss]\n", "    replace: true\n", 9, 11, "there is no 'mine' to replace"),
    "nothing to disable": ("schema: 1\n", "schema: 1\ndisable: [gone]\n", 2, 11, "there is no 'gone'"),
    "judged otherwise": ("    explains: [loss]\n", "    judged: sometimes\n", 16, 13, "'medians' or 'any_trial', got"),
    "key twice": ("cause: random_loss\n", "cause: random_loss\n    cause: policer\n", 11, 5, "duplicate key 'cause'"),
    "rules is a mapping": ("rules:\n" + RULE, "rules: {mine: 1}\n", 8, 8, "expected a list, got"),
    "not YAML": ("rules:\n", "rules: [\n", 9, 3, "invalid YAML"),
    "tab": ("    symptom: loss", "\tsymptom: loss", 4, 1, "invalid YAML"),
    "alias": (GOOD, "schema: 1\nrules: &all\n  - *all\n", 2, 8, "anchors and aliases"),
    "used anchor": (GOOD, "schema: &one 1\nrules: *one\n", 1, 9, "anchors and aliases"),
    "object": (GOOD, "schema: !!python/object/apply:os.getcwd []\n", 1, 9, "tags (!name) are not allowed here"),
    "key that is a list": (GOOD, "? [a, b]\n: 1\n", 1, 3, "expected plain text as a key"),
    "empty": (GOOD, "", 1, 1, "the file is empty"),
    "a list": (GOOD, "- 1\n", 1, 1, "expected a mapping, got"),
    "a word": (GOOD, "rules\n", 1, 1, "expected a mapping, got"),
    "two documents": (GOOD, "schema: 1\n---\nschema: 1\n", 2, 1, "invalid YAML"),
    "control character": (GOOD, "schema: \x01\n", 1, 9, "invalid YAML"),
}  # fmt: skip


def test_the_file_that_the_cases_break_is_good() -> None:
    rules = read_rules("my.yaml", GOOD)
    assert [rule.name for rule in rules.rules] == ["mine"]
    assert rules.rules[0].origin == "my.yaml:9"
    assert rules.symptoms[0].symptom == "loss"


@pytest.mark.parametrize("what", BROKEN)
def test_a_mistake_is_told_with_its_place(what: str) -> None:
    old, new, line, column, message = BROKEN[what]
    assert GOOD.count(old) == 1
    with pytest.raises(RuleError) as caught:
        read_rules("my.yaml", GOOD.replace(old, new))
    told = [str(problem) for problem in caught.value.problems]
    expected = f"my.yaml:{line}:{column}: "
    assert any(text.startswith(expected) and message in text for text in told), told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace("> 1%", "> 1ms"))
    (tmp_path / "b.yml").write_text("rules: [")
    (tmp_path / "notes.txt").write_text("not a rule file")
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path])
    assert sorted(Path(problem.file).name for problem in caught.value.problems) == ["a.yaml", "b.yml"]
    assert caught.value.exit_status == 2


def test_a_folder_without_rules_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a rule file")
    with pytest.raises(RuleError, match="no rule file"):
        load_rules([tmp_path])


@UNHURRIED
@given(st.text(max_size=200))
def test_no_text_makes_the_loader_fail_otherwise(text: str) -> None:
    try:
        read_rules("any.yaml", text)
    except RuleError as refused:
        problems = refused.problems
    else:
        return
    assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in problems)


@UNHURRIED
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(list("\0\t\n:[]{}'\"&*!%@`>|-,#?x0")))
def test_one_wrong_character_is_no_worse_than_a_located_error(at: int, character: str) -> None:
    text = GOOD[:at] + character + GOOD[at + 1 :]
    try:
        rules = read_rules("my.yaml", text)
    except RuleError as refused:
        lines = {problem.line for problem in refused.problems}
    else:
        assert len(rules.rules) <= 1
        return
    assert lines <= set(range(1, text.count("\n") + 3))


TERMS = """\
schema: 1
terms:
  - {name: path_rate, is: tcp.bdp_bytes / tcp.min_rtt_us, meaning: the rate of the path}
  - {name: half, is: path_rate / 2, meaning: half of it}
  - {name: slow, is: tcp.delivery_rate_bps < half, meaning: less than half}
rules:
  - name: mine
    cause: policer
    when: slow and tcp.retrans_pct > 1% and not (half > 1gbit)
    weight: 0.5
    severity: warning
    evidence: it is slow
    advice: look for it
"""


def test_terms_stand_for_quantities_and_conditions() -> None:
    rules = read_rules("my.yaml", TERMS)
    run = {"tcp.bdp_bytes": 250e3, "tcp.min_rtt_us": 20e3, "tcp.delivery_rate_bps": 40e6, "tcp.retrans_pct": 2.0}
    found = diagnose(rules, run)[0]
    assert (found.cause, found.confidence) == ("policer", 0.5)
    (evidence,) = found.evidence_for
    assert "tcp.delivery_rate_bps (40 Mbit/s) < half (50 Mbit/s)" in evidence
    assert "half (50 Mbit/s) not > 1 Gbit/s" in evidence
    assert [term.text for term in rules.terms][1] == "path_rate / 2"
    (outcome,) = judge(rules, {"tcp.retrans_pct": 2.0}).rules
    assert outcome.outcome.lacks == ("tcp.delivery_rate_bps", "tcp.bdp_bytes", "tcp.min_rtt_us")


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        ("tcp.retrans_pct > 1%", "half > 1%", 9, 27, "cannot compare a rate and a percentage"),
        ("tcp.retrans_pct > 1%", "halve > 1gbit", 9, 20, "did you mean half?"),
        ("slow and", "half and", 9, 11, "`half`: is a quantity where a condition is needed"),
        ("tcp.retrans_pct > 1%", "slow > 1%", 9, 20, "`slow`: is a condition where a quantity is needed"),
        ("name: half", "name: path_rate", 4, 12, "already defined as `tcp.bdp_bytes / tcp.min_rtt_us`"),
        ("name: half", "name: max", 4, 12, "'max' is reserved in conditions"),
        ("name: half", "name: Half", 4, 12, "expected a name of lower-case letters"),
        ("path_rate / 2", "later_rate / 2", 4, 22, "'later_rate' is not a metric"),
        ("path_rate / 2", "path_rate / 2 +", 4, 37, "cannot be read"),
        ("is: path_rate / 2", "iss: path_rate / 2", 4, 18, "unknown key 'iss'; did you mean is?"),
        (", meaning: half of it", "", 4, 5, "the key 'meaning' is missing"),
    ],
)
def test_a_mistake_in_a_term_is_told_with_its_place(old: str, new: str, line: int, column: int, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        read_rules("my.yaml", TERMS.replace(old, new, 1))
    told = [str(problem) for problem in caught.value.problems]
    assert any(text.startswith(f"my.yaml:{line}:{column}: ") and message in text for text in told), told


def test_a_user_s_rules_may_use_the_shipped_terms(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        GOOD.replace(WHEN, "when: bursty_loss and no_queue").replace("lost\n", "gone\n", 1)
    )
    assert "mine" in {rule.name for rule in load_rules([tmp_path]).rules}


def test_a_user_adds_replaces_and_disables(tmp_path: Path) -> None:
    shipped = load_rules()
    (tmp_path / "mine.yaml").write_text(
        "schema: 1\n"
        "disable: [marks-at-work]\n"
        "rules:\n" + RULE + RULE.replace("mine", "loss-without-queue").replace("0.5", "0.9") + "    replace: true\n"
    )
    rules = load_rules([tmp_path])
    names = [rule.name for rule in rules.rules]
    assert "mine" in names
    assert "marks-at-work" not in names
    assert len(names) == len(shipped.rules)
    replaced = next(rule for rule in rules.rules if rule.name == "loss-without-queue")
    assert replaced.weight == 0.9
    assert replaced.origin == f"{tmp_path / 'mine.yaml'}:12"


def test_a_disabled_symptom_can_no_longer_be_explained(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("schema: 1\ndisable: [slow-handshake]\n")
    with pytest.raises(RuleError, match="'slow_connect' is not a symptom"):
        load_rules([tmp_path])


def test_a_directory_that_is_none_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="not a directory"):
        load_rules([tmp_path / "gone"])


def test_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"schema: \xff\xfe")
    with pytest.raises(RuleError, match="not UTF-8 text"):
        load_rules([tmp_path])
    (tmp_path / "a.yaml").unlink()
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(RuleError, match="cannot be read"):
        load_rules([tmp_path])


@pytest.mark.parametrize(
    ("text", "offset", "place"),
    [
        ("a: one two", 4, (1, 8)),
        ("a: 'one two'", 4, (1, 9)),
        ('a: "one two"', 4, (1, 9)),
        ("a:\n  one\n  two", 4, (3, 3)),
        ("a: >-\n  one\n  two", 4, (3, 3)),
        ("a: |\n  one\n    two", 6, (3, 5)),
        ("a: one", 99, (1, 7)),
        ("a: ''", 0, (1, 4)),
        ("a: [1]", 3, (1, 4)),
    ],
)
def test_a_character_of_a_value_is_found_in_the_file(text: str, offset: int, place: tuple[int, int]) -> None:
    read = read_located("x.yaml", text, YamlBounds(characters=100, values=10, depth=4, scalar=100))
    assert read.place_within(("a",), offset) == Place(line=place[0], column=place[1])


def _terms(*texts: str) -> str:
    lines = [f"  - {{name: t_{'x' * at}, is: '{text}', meaning: a}}" for at, text in enumerate(texts)]
    return "schema: 1\nterms:\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "texts",
    [
        ["tcp.rtt_us.p50", *(f"t_{'x' * at} + t_{'x' * at}" for at in range(39))],
        ["tcp.rtt_us.p50", *(f"{'(' * 20}1ms + t_{'x' * at}{') * 1' * 20}" for at in range(10))],
    ],
    ids=["doubling", "deepening"],
)
def test_terms_that_grow_without_end_are_refused(texts: list[str]) -> None:
    with pytest.raises(RuleError, match="when its terms are expanded"):
        read_rules("my.yaml", _terms(*texts))


@pytest.mark.parametrize("operator", ["*", "/"])
def test_powers_of_units_are_bounded(operator: str) -> None:
    power = f" {operator} ".join(["app.throughput_bps"] * 12)
    with pytest.raises(RuleError, match=r"no power above 8"):
        read_rules("my.yaml", _terms(power))
    assert read_rules("my.yaml", _terms(f" {operator} ".join(["app.throughput_bps"] * 8)))


def test_the_number_of_terms_rules_and_mistakes_is_bounded() -> None:
    many = "schema: 1\nterms:\n" + "".join(
        f"  - {{name: t_{chr(97 + at // 26)}{chr(97 + at % 26)}, is: '1', meaning: a}}\n" for at in range(201)
    )
    with pytest.raises(RuleError, match=r"my\.yaml:203:5: terms\[200\]: more than 200 terms in all files"):
        read_rules("my.yaml", many)
    rule = "  - {name: r%d, symptom: s, when: 'tcp.rtt_us.p50 > 1ms', weight: 0.5, evidence: e}\n"
    with pytest.raises(RuleError, match="more than 500 rules and symptoms in all files"):
        read_rules("my.yaml", "schema: 1\nsymptoms:\n" + "".join(rule % at for at in range(501)))
    with pytest.raises(RuleError) as refused:
        read_rules("my.yaml", "schema: 1\ndisable:\n" + "".join(f"  - no-rule-{at}\n" for at in range(300)))
    assert len(refused.value.problems) == 50
