"""What `perfctl diagnose` is asked about is what the rules know."""

from __future__ import annotations

import pytest

from perfcheck.cli.perfctl import diagnose
from perfcheck.diagnose import load_rules
from perfcheck.live.diagnosis import PROBLEMS


@pytest.mark.parametrize("problem", diagnose.PROBLEMS)
def test_a_problem_stands_for_symptoms_of_the_rules(problem: str) -> None:
    known = {each.symptom for each in load_rules(()).symptoms}
    assert set(PROBLEMS[problem]) <= known


def test_the_command_line_knows_all_problems() -> None:
    assert tuple(PROBLEMS) == diagnose.PROBLEMS
