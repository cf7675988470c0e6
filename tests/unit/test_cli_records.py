"""Each scenario leaves a record, and what one output cannot write keeps no other from being written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

import pytest

from perfcheck.baseline import HistoryStore
from perfcheck.cli import commands, main
from perfcheck.errors import (
    BaselineError,
    CouldNotMeasure,
    InvalidLink,
    LabError,
    OutputError,
    Problem,
    Stopped,
    TrafficError,
    Unavailable,
    UsageError,
)
from perfcheck.model.record import ComparisonRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output import read_records
from perfcheck.runner import RunOptions
from perfcheck.runner.sides import Side
from perfcheck.runner.unmeasured import unmeasured
from perfcheck.testing import make_judged_record, make_record, make_unmeasured_record

RTT = "tcp.rtt_us.p50"
NAMES = ("one", "three", "two")  # in the order of the files
SCENARIO = """\
# a comment first
scenario: {name}
hosts: {{a: {{}}, b: {{}}}}
links: [{{between: [a, b], delay: 1ms}}]
traffic: [{{iperf3: {{from: a, to: b, duration: 1s}}}}]
expect:
  tcp.rtt_us.p50: <= 30ms
"""


class ScriptedRunner:
    """A Runner that measures 20 ms in each scenario but those that `answers` names; it may refuse to begin."""

    def __init__(self, answers: dict[str, BaseException | float], refusal: Exception | None = None) -> None:
        self.answers = answers
        self.refusal = refusal
        self.asked: list[str] = []
        self.saved: list[tuple[str, bool]] = []

    def create(self, options: RunOptions, progress: object) -> Self:
        del options, progress
        return self

    def __enter__(self) -> Self:
        if self.refusal is not None:
            raise self.refusal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(self, scenario: Scenario) -> RunRecord:
        self.asked.append(scenario.name)
        answer = self.answers.get(scenario.name, 20_000.0)
        if isinstance(answer, BaseException):
            raise answer
        return make_judged_record(scenario, {RTT: (answer, answer + 1, answer + 2)}, run_id=f"{len(self.asked):032x}")

    def unmeasured(self, scenario: Scenario, reason: str, started_at: str) -> RunRecord:
        return unmeasured(scenario, reason, started_at)

    def save_baseline(
        self, record: RunRecord, *, update: bool = False, accept: Sequence[str] = (), reason: str = ""
    ) -> Path:
        del accept, reason
        self.saved.append((record.scenario.name, update))
        return Path(f"baselines/{record.scenario.name}.yaml")

    def moved_since_saved(self, scenario: Scenario, record: RunRecord) -> tuple[ComparisonRecord, ...]:
        del scenario, record
        return ()

    def ab(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        del b
        record = self.run(scenario)
        return record, record.model_copy(update={"sides": (a.text, "b")})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scenarios"
    made.mkdir()
    for name in NAMES:
        (made / f"{name}.yaml").write_text(SCENARIO.format(name=name))
    return made


def scripted(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception | None = None, **answers: BaseException | float
) -> ScriptedRunner:
    runner = ScriptedRunner(answers, refusal)
    monkeypatch.setattr(commands, "Runner", runner)
    return runner


REASONS = (
    LabError("no namespaces here"), InvalidLink("link 0 is not 10 ms"), TrafficError("iperf3: unable to connect"),
    Unavailable("iperf3", "it is not installed", "apt-get install iperf3"),
)  # fmt: skip


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: type(reason).__name__)
def test_a_scenario_that_cannot_be_measured_leaves_its_record_everywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: CouldNotMeasure
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    scripted(monkeypatch, three=reason)
    json_path, junit = folder / "records.jsonl", folder / "report.xml"
    words = ["--json", str(json_path), "--junit", str(junit), "--history", str(folder / "kept")]
    assert main(["run", str(folder), *words]) == 3
    records = read_records(json_path)
    assert [record.scenario.name for record in records] == list(NAMES)
    lost = records[1]
    assert (lost.verdict, lost.invalid_reason, lost.trials) == (Verdict.INVALID, str(reason), ())
    assert lost.scenario.file == str(folder / "three.yaml")
    assert lost.scenario.workload == records[1].scenario.workload != ""
    assert lost.environment["arch"]
    root = ElementTree.fromstring(junit.read_text())
    assert {key: root.attrib[key] for key in ("tests", "errors", "failures")} == {
        "tests": "3", "errors": "1", "failures": "0",
    }  # fmt: skip
    shown = capsys.readouterr().out
    assert f"ERROR  three: could not measure: {reason}" in shown
    assert "3 scenarios: 1 INVALID, 2 PASS" in shown
    (annotation,) = [line for line in shown.splitlines() if line.startswith("::error")]
    assert f"three.yaml,line={SCENARIO.splitlines().index('  tcp.rtt_us.p50: <= 30ms') + 1}," in annotation
    assert {series.scenario for series in HistoryStore(folder / "kept").series(RTT)} == {"one", "two"}


def test_missing_privileges_leave_a_record_of_each_scenario_and_are_explained_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = scripted(monkeypatch, Unavailable("privileges", "this is user 1000", "run as root (sudo)"))
    path = folder / "records.jsonl"
    assert main(["run", str(folder), "--json", str(path)]) == 3
    assert runner.asked == []
    assert [record.verdict for record in read_records(path)] == [Verdict.INVALID] * 3
    assert all("user 1000" in (record.invalid_reason or "") for record in read_records(path))
    assert capsys.readouterr().out.count("reproduce") == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Stopped("stopped by SIGTERM")], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_run_leaves_a_record_of_each_scenario(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    runner = scripted(monkeypatch, three=stop)
    json_path, junit = folder / "records.jsonl", folder / "report.xml"
    assert main(["run", str(folder), "--json", str(json_path), "--junit", str(junit)]) == 3
    assert runner.asked == ["one", "three"]
    one, three, two = read_records(json_path)
    assert (one.verdict, three.verdict, two.verdict) == (Verdict.PASS, Verdict.INVALID, Verdict.INVALID)
    assert str(three.invalid_reason).startswith("interrupted")
    assert str(two.invalid_reason).startswith("not measured: the run was interrupted")
    assert ElementTree.fromstring(junit.read_text()).attrib["errors"] == "2"


def test_a_wrong_baseline_costs_only_its_scenario(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(file="baselines/one/x.yaml", line=3, column=1, path="", message="invalid YAML")
    scripted(monkeypatch, one=BaselineError(problem))
    path = folder / "records.jsonl"
    assert main(["run", str(folder), "--json", str(path)]) == 2
    assert [record.verdict for record in read_records(path)] == [Verdict.INVALID, Verdict.PASS, Verdict.PASS]
    scripted(monkeypatch, one=BaselineError(problem), two=40_000.0)
    assert main(["run", str(folder)]) == 1


def test_bad_usage_that_the_first_scenario_shows_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, one=UsageError("--events: no detail mode"))
    path = folder / "records.jsonl"
    assert main(["run", str(folder), "--json", str(path)]) == 2
    assert path.read_text() == ""


def test_pairs_that_cannot_be_measured_leave_both_records(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, one=LabError("no namespaces here"))
    path = folder / "records.jsonl"
    sides = ["--a", "file", "--b", "congestion reno"]
    assert main(["ab", str(folder / "one.yaml"), *sides, "--json", str(path)]) == 3
    before, after = read_records(path)
    assert (before.verdict, after.verdict) == (Verdict.INVALID, Verdict.INVALID)
    assert (before.sides, after.sides) == (None, ("file", "congestion reno"))
    assert after.reproduce.startswith("perfcheck ab ")


def test_pairs_go_to_standard_output_as_runs_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch)
    monkeypatch.chdir(folder)
    assert main(["ab", "one.yaml", "--a", "file", "--b", "congestion reno", "--json", "-"]) == 0
    assert [json.loads(line)["scenario"]["name"] for line in capsys.readouterr().out.splitlines()] == ["one", "one"]
    assert not Path("-").exists()


@pytest.mark.parametrize("which", ["baseline", "current"])
def test_a_comparison_with_an_unmeasured_record_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    good, lost = tmp_path / "good.json", tmp_path / "lost.json"
    good.write_text(make_record({RTT: tuple(20_000.0 + i for i in range(8))}).to_json() + "\n")
    lost.write_text(make_unmeasured_record("iperf3: unable to connect").to_json() + "\n")
    pair = (lost, good) if which == "baseline" else (good, lost)
    assert main(["compare", str(pair[0]), str(pair[1])]) == 3
    out = capsys.readouterr().out
    assert "iperf3: unable to connect" in out
    assert "1 scenario: 1 INVALID" in out


class Failing:
    """An Output that fails at one of its calls."""

    name = "failing"

    def __init__(self, at: str) -> None:
        self._at = at

    def open(self) -> None:
        return None

    def write(self, record: RunRecord) -> None:
        del record
        if self._at == "write":
            raise OutputError("/full/x: cannot write: No space left on device")

    def close(self) -> None:
        if self._at == "close":
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("at", ["write", "close"])
def test_what_one_output_cannot_write_is_told_after_the_others_were_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    scripted(monkeypatch)
    monkeypatch.setattr(commands, "HistoryOutput", lambda _folder: Failing(at))
    json_path, junit = folder / "records.jsonl", folder / "report.xml"
    words = ["--history", "x", "--json", str(json_path), "--junit", str(junit)]
    assert main(["run", str(folder), *words]) == 3
    assert len(read_records(json_path)) == 3
    assert ElementTree.fromstring(junit.read_text()).attrib["tests"] == "3"
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "No space left on device" in told


def test_a_regression_outranks_an_output_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, two=40_000.0)
    assert main(["run", str(folder), "--json", "/dev/full"]) == 1
    scripted(monkeypatch)
    assert main(["run", str(folder), "--json", "/dev/full"]) == 3


def test_what_cannot_be_written_from_the_beginning_is_bad_usage_and_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = scripted(monkeypatch)
    (folder / "file").touch()
    junit = folder / "report.xml"
    junit.write_text("the last report")
    assert main(["run", str(folder), "--junit", str(junit), "--json", str(folder / "file/x.jsonl")]) == 2
    assert main(["run", str(folder), "--junit", str(junit), "--history", str(folder / "file")]) == 2
    assert runner.asked == []
    assert junit.read_text() == "the last report"
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "update"), [("--baseline-save", False), ("--baseline-update", True)])
def test_runs_become_baselines_as_in_pytest(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, update: bool
) -> None:
    runner = scripted(monkeypatch, three=LabError("no namespaces here"))
    assert main(["run", str(folder), option]) == 3
    assert runner.saved == [("one", update), ("two", update)]
    told = capsys.readouterr().out
    assert "one: baseline written to baselines/one.yaml" in told
    assert "three: baseline not written, the run is invalid: no namespaces here" in told


def test_a_baseline_is_not_replaced_where_the_run_could_not_be_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = scripted(monkeypatch)
    assert main(["run", str(folder), "--baseline-update", "--json", "/dev/full"]) == 3
    assert runner.saved == []
    assert "one: baseline not written, because the run was not kept" in capsys.readouterr().out


def test_of_files_with_no_scenario_in_common_only_the_first_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(make_record(name="alone").to_json())
    Path("b.json").write_text("\n".join(make_record(name=f"n{number:02}").to_json() for number in range(40)))
    assert main(["compare", "a.json", "b.json"]) == 2
    told = capsys.readouterr().err
    assert "a.json has alone, b.json has n00, n01" in told
    assert told.endswith("n09 and 30 more\n")
