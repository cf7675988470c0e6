"""`perfcheck calibrate`: sessions measured, noise told, the file patched."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfcheck.cli import calibration, main
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner import RunOptions
from perfcheck.scenario import load
from perfcheck.testing import make_record

RTT = "tcp.rtt_us.p50"
SCENARIO = """\
scenario: wan
hosts: {a: {}, b: {}}
links: [{between: [a, b], delay: 1ms}]
traffic: [{iperf3: {from: a, to: b, duration: 1s}}]
repeat: 12   # many
tolerance:
  tcp.rtt_us.p50: 1%   # too tight
"""


class NoisyRunner:
    """A Runner whose sessions vary by what `of` gives."""

    def __init__(self, of: Callable[[int], RunRecord]) -> None:
        self.of = of
        self.runs: list[int | None] = []

    def create(self, options: RunOptions, progress: object) -> NoisyRunner:
        self.options = options
        return self

    def __enter__(self) -> NoisyRunner:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def run(self, scenario: Scenario) -> RunRecord:
        self.runs.append(self.options.repeat)
        return self.of(len(self.runs))


def noisy(pct: float) -> Callable[[int], RunRecord]:
    rng = np.random.default_rng(3)

    def record(number: int) -> RunRecord:
        values = (20_000 * (1 + pct / 100 * rng.standard_normal(8))).tolist()
        return make_record({RTT: values, "app.throughput_bps": [9e7 + number] * 8})

    return record


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "wan.yaml"
    path.write_text(SCENARIO)
    return path


def with_runner(monkeypatch: pytest.MonkeyPatch, of: Callable[[int], RunRecord]) -> NoisyRunner:
    runner = NoisyRunner(of)
    monkeypatch.setattr(calibration, "Runner", runner)
    return runner


def test_a_patch_is_printed_and_the_file_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = with_runner(monkeypatch, noisy(6))
    assert main(["calibrate", "wan.yaml", "--repeat", "8", "--sessions", "3"]) == 0
    assert runner.runs == [8, 8, 8]
    out = capsys.readouterr().out
    assert "3 sessions of 8 runs" in out
    assert "-  tcp.rtt_us.p50: 1%   # too tight\n" in out
    assert "# too tight\n" in out.partition("+  tcp.rtt_us.p50: ")[2]
    assert file.read_text() == SCENARIO


def test_the_printed_patch_applies(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_runner(monkeypatch, noisy(6))
    main(["calibrate", "wan.yaml"])
    out = capsys.readouterr().out
    patch = out[out.index("--- a/") :]
    subprocess.run(["git", "apply", "-"], input=patch, text=True, check=True, cwd=file.parent)
    (scenario,) = load(file)
    assert 5 <= scenario.tolerance_pct[RTT] <= 15


def test_write_applies_it_and_keeps_comments_and_mode(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.chmod(0o640)
    with_runner(monkeypatch, noisy(6))
    assert main(["calibrate", "wan.yaml", "--write"]) == 0
    assert "written to wan.yaml" in capsys.readouterr().out
    text = file.read_text()
    assert "# many" in text
    assert "# too tight" in text
    assert file.stat().st_mode & 0o777 == 0o640
    (scenario,) = load(file)
    assert scenario.tolerance_pct[RTT] >= 5
    assert [path.name for path in file.parent.iterdir()] == ["wan.yaml"]
    with_runner(monkeypatch, noisy(6))
    assert main(["calibrate", "wan.yaml"]) == 0
    assert "nothing to change" in capsys.readouterr().out


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = noisy(6)

    def while_measured(number: int) -> RunRecord:
        file.write_text(SCENARIO + "# mine\n")
        return record(number)

    with_runner(monkeypatch, while_measured)
    assert main(["calibrate", "wan.yaml", "--write"]) == 2
    assert "the file changed during" in capsys.readouterr().err
    assert file.read_text() == SCENARIO + "# mine\n"


def test_a_matrix_gets_what_its_noisiest_point_needs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(SCENARIO + "matrix: {a.congestion: [cubic, reno]}\n")
    quiet, loud = noisy(0.1), noisy(6)
    with_runner(monkeypatch, lambda number: (quiet if number <= 4 else loud)(number))
    assert main(["calibrate", "wan.yaml", "--write"]) == 0
    assert {scenario.tolerance_pct[RTT] >= 5 for scenario in load(file)} == {True}


def test_too_few_sessions_that_count_is_no_calibration(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = noisy(1)
    invalid: dict[str, Any] = {"verdict": Verdict.INVALID, "invalid_reason": "the link was late"}
    with_runner(monkeypatch, lambda number: record(number).model_copy(update=invalid if number > 1 else {}))
    assert main(["calibrate", "wan.yaml"]) == 3
    assert "only 1 of 4 sessions count: the link was late" in capsys.readouterr().err
    with_runner(monkeypatch, lambda number: record(number).model_copy(update=invalid if number > 2 else {}))
    assert main(["calibrate", "wan.yaml"]) == 0
    assert "2 sessions of" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--sessions", "1"], ["--repeat", "0"], []])
def test_wrong_words_end_with_status_2(words: list[str], file: Path) -> None:
    arguments = ["calibrate", *(["wan.yaml", *words] if words else [])]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_bad_file_and_an_unknown_point_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "none.yaml"]) == 2
    assert main(["calibrate", "wan.yaml", "--select", "lan"]) == 2
    assert "'lan'" in capsys.readouterr().err
