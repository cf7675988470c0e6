"""What is wrong with options is told before anything is measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scenario_texts import COST, VALID, changed

from perfcheck.errors import BaselineError, UsageError
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.options import check_files, check_subjects
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


def test_files_into_which_nothing_would_be_written() -> None:
    (cost,) = load_text(COST, "cost.yaml")
    for options in (RunOptions(events=Path("e")), RunOptions(series=Path("s"))):
        with pytest.raises(UsageError, match=r"has no effect with measure: \{mode: cost\}"):
            check_files(options, [cost])
        check_files(options, [cost, SCENARIO])
    check_files(RunOptions(series=Path("s"), mode="summary"), [cost])
    check_files(RunOptions(), [cost])


(PHASED,) = load_text(changed(("expect:\n", "phases: {before: 500ms, after: 1s}\nexpect:\n")), "phased.yaml")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("app.throughput_bps/aftr", "no scenario has a phase 'aftr'; did you mean 'after'?"),
        ("app.throughput_bps@iperf3-2/after", "no scenario has a subject 'iperf3-2'; did you mean 'iperf3-1'?"),
    ],
)
def test_a_tolerance_of_what_no_scenario_has(key: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        check_subjects([(key, 5.0)], [SCENARIO, PHASED])


def test_a_tolerance_of_a_phase_belongs_to_the_scenarios_that_have_it() -> None:
    options = RunOptions(tolerances=(("app.throughput_bps@iperf3-1/after", 5.0), ("app.throughput_bps", 3.0)))
    check_subjects(options.tolerances, [SCENARIO, PHASED])
    assert options.applied_to(PHASED).tolerance_pct == dict(options.tolerances)
    assert options.applied_to(SCENARIO).tolerance_pct == {"app.throughput_bps": 3.0}
