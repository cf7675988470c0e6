"""docs/diagnosis.md lists the rules that ship, and its example of a rule file loads."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Final

from perfcheck.diagnose import explain, load_rules

PAGE: Final = Path(__file__).parents[2] / "docs" / "diagnosis.md"
LISTING: Final = re.compile(r"<!-- rules: begin [^>]*-->\n(.*)<!-- rules: end -->", re.DOTALL)


def test_the_page_lists_the_shipped_rules() -> None:
    found = LISTING.search(PAGE.read_text())
    assert found is not None
    assert found[1].strip() == explain(load_rules()).strip(), "put the output of explain(load_rules()) into the page"


def test_the_example_of_a_rule_file_loads(tmp_path: Path) -> None:
    section = PAGE.read_text().partition("## Writing rules\n\n")[2]
    example = textwrap.dedent(section.partition("\n\nConditions")[0])
    (tmp_path / "example.yaml").write_text(example.replace("replace: false", "replace: false\n"))
    names = {rule.name for rule in load_rules([tmp_path]).rules}
    assert "voice-needs-short-queues" in names
    assert "marks-at-work" not in names


def test_the_example_of_evidence_loads(tmp_path: Path) -> None:
    section = PAGE.read_text().partition("### Writing evidence\n\n")[2].partition(":\n\n")[2]
    (tmp_path / "example.yaml").write_text(textwrap.dedent(section.partition("\n\nHow to choose")[0]))
    rules = load_rules([tmp_path])
    assert rules.evidence[-1].says == {"policer": 0.8, "queue_overflow": 0.3}
    assert rules.prior("policer") == 0.05


def test_every_rule_and_symptom_is_explained() -> None:
    rules = load_rules()
    text = explain(rules)
    for rule in rules.rules:
        assert f"**{rule.name}**" in text
        assert rule.text in text
        assert rule.advice in text
    for symptom in rules.symptoms:
        assert symptom.evidence in text
