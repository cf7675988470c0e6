"""The command line: words, exit statuses, and messages without tracebacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted_session import ScriptedSession

from perfcheck.baseline import HistoryStore
from perfcheck.cli import commands, main
from perfcheck.errors import LabError, Stopped, UsageError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import ExpectationRecord, RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.output import read_records
from perfcheck.runner.option_values import tolerance
from perfcheck.system.commands import missing
from perfcheck.testing import make_record

SCENARIO = """
scenario: {name}
hosts: {{a: {{}}, b: {{}}}}
links: [{{between: [a, b], delay: 1ms}}]
traffic: [{{iperf3: {{from: a, to: b, duration: 1s}}}}]
"""


class ScriptedRunner(ScriptedSession):
    """A Runner that gives a record, or raises, by the scenario's name."""

    def __init__(self, answers: dict[str, RunRecord | BaseException]) -> None:
        self.answers = answers

    def run(self, scenario: Scenario) -> RunRecord:
        answer = self.answers[scenario.name]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(SCENARIO.format(name=name))
    return tmp_path


def scripted(monkeypatch: pytest.MonkeyPatch, **answers: RunRecord | BaseException) -> ScriptedRunner:
    runner = ScriptedRunner(answers)
    monkeypatch.setattr(commands, "Runner", runner)
    return runner


def verdict(value: Verdict) -> RunRecord:
    return make_record({"tcp.rtt_us.p50": (20_000.0, 20_100.0, 20_050.0)}).model_copy(
        update={"verdict": value, "invalid_reason": "the link was late" if value is Verdict.INVALID else None}
    )


@pytest.mark.parametrize(
    ("one", "two", "status"),
    [
        (Verdict.PASS, Verdict.PASS, 0),
        (Verdict.PASS, Verdict.IMPROVED, 0),
        (Verdict.PASS, Verdict.INVALID, 3),
        (Verdict.FAIL, Verdict.INVALID, 1),
        (Verdict.PASS, Verdict.REGRESSED, 1),
    ],
)
def test_exit_status_follows_the_worst_verdict(
    folder: Path, monkeypatch: pytest.MonkeyPatch, one: Verdict, two: Verdict, status: int
) -> None:
    scripted(monkeypatch, one=verdict(one), two=verdict(two))
    assert main(["run", str(folder)]) == status


def test_a_scenario_that_cannot_be_measured_does_not_stop_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch, one=LabError("no namespaces here"), two=verdict(Verdict.PASS))
    report = folder / "records.jsonl"
    assert main(["run", str(folder), "--json", str(report)]) == 3
    assert "no namespaces here" in capsys.readouterr().out
    one, two = read_records(report)
    assert (one.scenario.name, one.verdict, one.invalid_reason) == ("one", Verdict.INVALID, "no namespaces here")
    assert (one.trials, one.metrics) == ((), {})
    assert two.verdict is Verdict.PASS


def test_annotations_name_the_line_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = "# why\n" + SCENARIO.format(name="one") + "expect:\n  diagnosis: healthy\n  tcp.rtt_us.p50: <= 1ms\n"
    (folder / "one.yaml").write_text(expected)
    line = ExpectationRecord(metric="tcp.rtt_us.p50", expected="<= 1ms", actual=20_000.0, verdict=Verdict.FAIL)
    file = str(folder / "one.yaml")
    failed = verdict(Verdict.FAIL)
    failed = failed.model_copy(
        update={"expectations": (line,), "scenario": failed.scenario.model_copy(update={"file": file})}
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    scripted(monkeypatch, one=failed, two=LabError("no namespaces here"))
    assert main(["run", str(folder)]) == 1
    commands = [text for text in capsys.readouterr().out.splitlines() if text.startswith("::error")]
    place = expected.splitlines().index("  tcp.rtt_us.p50: <= 1ms") + 1
    assert f"file={file},line={place}," in commands[0]
    assert f"two.yaml,line={SCENARIO.splitlines().index('scenario: {name}') + 1}," in commands[1]


def test_a_stop_ends_everything_with_status_3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, one=Stopped("stopped by SIGTERM"), two=verdict(Verdict.FAIL))
    assert main(["run", str(folder)]) == 3


def test_options_reach_the_runner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = scripted(monkeypatch, one=verdict(Verdict.PASS), two=verdict(Verdict.PASS))
    words = ["--baseline", "--repeat", "7", "--tolerance", "tcp.rtt_us.p99=5%", "--baseline-name", "lab"]
    assert main(["run", str(folder), *words]) == 0
    assert runner.options is not None
    assert runner.options.baseline
    assert runner.options.repeat == 7
    assert runner.options.tolerances == (("tcp.rtt_us.p99", 5.0),)
    assert runner.options.baseline_name == "lab"


def test_history_keeps_what_was_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, one=LabError("no namespaces here"), two=verdict(Verdict.PASS))
    assert main(["run", str(folder), "--history", str(folder / "kept")]) == 3
    (series,) = HistoryStore(folder / "kept").series("tcp.rtt_us.p50")
    assert series.values == (20_050.0,)


def test_select_runs_only_what_it_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(monkeypatch, two=verdict(Verdict.PASS))
    assert main(["run", str(folder), "--select", "two"]) == 0
    assert main(["run", str(folder), "--select", "three"]) == 2
    assert "three" in capsys.readouterr().err


def test_a_malformed_file_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text(SCENARIO.format(name="bad").replace("delay: 1ms", "delay: 1"))
    for command in ("run", "list"):
        assert main([command, str(tmp_path)]) == 2
        assert "bad.yaml:4:" in capsys.readouterr().err


def test_a_missing_file_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["fly"], ["run"], ["run", "x.yaml", "--repeat", "0"], ["run", "x", "--mode", "y"]]
)
def test_wrong_words_end_with_status_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_compare_exits_1_on_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    before.write_text(make_record({"tcp.rtt_us.p50": tuple(20_000.0 + i for i in range(8))}).to_json() + "\n")
    after.write_text(make_record({"tcp.rtt_us.p50": tuple(30_000.0 + i for i in range(8))}).to_json() + "\n")
    assert main(["compare", str(before), str(before)]) == 0
    assert main(["compare", str(before), str(after)]) == 1
    assert "REGRESSED" in capsys.readouterr().out
    assert main(["compare", str(after), str(before)]) == 0
    assert "IMPROVED" in capsys.readouterr().out


def test_compare_never_judges_a_run_that_could_not_be_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, report = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "r.xml"
    values = {"tcp.rtt_us.p50": tuple(20_000.0 + i for i in range(8))}
    good.write_text(make_record(values).to_json() + "\n")
    bad.write_text(make_record(values, verdict=Verdict.INVALID, invalid_reason="link 0 late").to_json() + "\n")
    assert main(["compare", str(good), str(bad), "--junit", str(report)]) == 3
    assert 'errors="1"' in report.read_text()
    assert "link 0 late" in capsys.readouterr().out
    assert main(["compare", str(bad), str(good)]) == 3
    assert "is INVALID: link 0 late" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}\n', "[]\n"])
def test_compare_of_what_is_no_record_is_a_located_error(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "torn.json"
    path.write_text(content)
    assert main(["compare", str(path), str(path)]) == 2
    assert "torn.json" in capsys.readouterr().err


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


@pytest.mark.parametrize(
    "text", ["", "tcp.rtt_us.p99", "tcp.rtt_us.p99=", "tcp.rtt_us.p9=5%", "tcp.rtt_us.p99=x", "tcp.rtt_us.p99=-1%",
             "tcp.rtt_us.p99=nan", "tcp.rtt_us.p99=inf"],
)  # fmt: skip
def test_a_wrong_tolerance_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="--tolerance"):
        tolerance(text)


@pytest.mark.parametrize("command", ["run", "list"])
def test_a_folder_without_scenarios_is_no_pass(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path)]) == 2
    assert "no scenario in" in capsys.readouterr().err


def test_the_list_shows_each_point_of_a_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.yaml").write_text(SCENARIO.format(name="m") + "matrix: {links.0.delay: [1ms, 2ms]}\n")
    assert main(["list", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "m[delay=1ms]" in shown
    assert "m[delay=2ms]" in shown


def doctored(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *absent: str) -> str:
    """Say what doctor prints where all is there but these tools."""

    def find(tool: str) -> str:
        if tool in absent:
            raise missing(tool)
        return tool

    monkeypatch.setattr("perfcheck.system.commands.find", find)
    monkeypatch.setattr(commands, "collect_checks", tuple)
    monkeypatch.setattr(commands, "system_checks", tuple)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    return capsys.readouterr().out


def test_doctor_names_the_package_of_a_missing_generator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for tool, package in (("h2load", "nghttp2-client"), ("nghttpd", "nghttp2-server"), ("sockperf", "sockperf")):
        assert f"apt-get install {package}" in doctored(monkeypatch, capsys, tool)
    assert "apt-get" not in doctored(monkeypatch, capsys)


def test_a_metric_is_lacking_only_where_no_generator_reports_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # `load`, whose program may be kept already, has neither percentiles of the 99.9th kind nor any without a compiler.
    for absent, lacking in (((), 0), (("sockperf",), 0), (("h2load",), 0), (("h2load", "sockperf"), 0)):
        assert f"{len(CATALOGUE) - lacking} of {len(CATALOGUE)} metrics" in doctored(monkeypatch, capsys, *absent)
