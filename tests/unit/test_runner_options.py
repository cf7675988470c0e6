"""What is wrong with options is told before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario_texts import VALID

from perfcheck.errors import BaselineError, UsageError
from perfcheck.runner import Runner, RunOptions
from perfcheck.scenario import load_text

(SCENARIO,) = load_text(VALID, "valid.yaml")


def test_the_name_of_a_set_of_baselines(tmp_path: Path) -> None:
    options = RunOptions(baseline=True, baseline_dir=tmp_path, baseline_name="../x")
    with pytest.raises(UsageError, match="--baseline-name"):
        Runner.create(options).run(SCENARIO)


def test_a_baseline_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / SCENARIO.name / "base@00000000-000000.yaml"
    file.parent.mkdir()
    file.write_bytes(b"\xff")
    with pytest.raises(BaselineError, match="UTF-8"):
        Runner.create(RunOptions(baseline=True, baseline_dir=tmp_path)).run(SCENARIO)
