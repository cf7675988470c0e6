"""docs/diagnosis.md lists the rules that ship, and its example of a rule file loads."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import pages, renewed

from perfcheck.diagnose import explain, load_rules
from perfcheck.model.causes import CAUSES

PAGE: Final = Path(__file__).parents[2] / "docs" / "diagnosis.md"


@pytest.mark.parametrize(("path", "made"), [pytest.param(*page, id=page[0].stem) for page in pages()])
def test_what_pages_have_from_the_rules_is_up_to_date(path: Path, made: str) -> None:
    text = path.read_text()
    assert renewed(text, made) == text, "run `make pages`"


def test_every_cause_has_a_page_that_the_overview_names() -> None:
    for cause in CAUSES:
        assert f"[{cause}](causes/{cause}.md)" in PAGE.read_text()
        text = (PAGE.parent / "causes" / f"{cause}.md").read_text()
        for heading in ("## Told apart", "## What to do"):
            assert heading in text


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="made: begin"):
        renewed("# A page", "text")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_is_made_stands_in_the_page_and_can_be_renewed(made: str) -> None:
    marks = "# A page\n\n<!-- made: begin (x) -->\n<!-- made: end -->\n"
    assert renewed(renewed(marks, "before"), made.replace("<!--", "")) == renewed(marks, made.replace("<!--", ""))


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
