"""Tests in Python: scenarios that they build, files that they name, and where their records go."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from python_suite import BUILT, HEAD, SLOW, module, text_of

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


def test_a_scenario_is_built_parametrized_and_named(suite: Suite) -> None:
    body = (
        BUILT
        + """
@pytest.mark.parametrize("delay", [ms(10), ms(50)])
def test_delay(perfcheck, delay):
    record = perfcheck.run(OFFICE.with_({"links[0].delay": delay}), repeat=2)
    assert record["tcp.rtt_us.p99"] < ms(60)

@pytest.mark.parametrize("scenario", [OFFICE, OFFICE.with_({"client.congestion": "bbr"})])
def test_scenario(perfcheck, scenario):
    perfcheck.run(scenario).assert_expectations()
"""
    )
    result = module(suite, body, "-v", answers='METRICS["app.throughput_bps"] = (91e6,)')
    result.assert_outcomes(passed=4)
    assert suite.calls() == ["office[delay=10ms]", "office[delay=50ms]", "office", "office[congestion=bbr]"]
    result.stdout.fnmatch_lines(["*::test_delay[[]10ms[]] *", "*::test_scenario[[]office[[]congestion=bbr[]][]] *"])


def test_a_built_scenario_is_reproduced_by_its_test(suite: Suite) -> None:
    result = module(suite, BUILT + """
@pytest.mark.parametrize("limit", [ms(60)])
def test_upload(perfcheck, limit):
    assert perfcheck.run(OFFICE)["tcp.rtt_us.p99"] < limit
""", "--perfcheck-json=records.jsonl", answers=SLOW)  # fmt: skip
    assert "  reproduce  pytest 'test_made.py::test_upload[60ms]'\n" in text_of(result)
    record = json.loads((suite.pytester.path / "records.jsonl").read_text())
    assert record["scenario"]["file"] == "test_made.py"


def test_a_mistake_in_a_built_scenario_is_located(suite: Suite) -> None:
    result = module(suite, BUILT.replace("ms(10)", "5"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E*Scenario(...): links[[]0[]].delay: expected a duration such as 10ms, got '5'"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('perfcheck.run("scenarios/wam.yaml")', "*did you mean 'scenarios/wan.yaml'?"),
        ('perfcheck.run("scenarios/wan.yaml", repeat="3")', "*repeat: expected a number of runs *, got '3'"),
        ('perfcheck.run("scenarios/wan.yaml", select="lan")', "*label contains 'lan'; did you mean 'wan'?"),
        ('perfcheck.run("broken.yaml")', "*ScenarioError: broken.yaml:1:12: *"),
        ('perfcheck.run(OFFICE.with_({"links[0].delay": 5}))', "*links[[]0[]].delay: expected a duration *, got '5'"),
        ('perfcheck.ab("scenarios/wan.yaml", a="file", b="bbr")', "*UsageError: b: a side is one of: *; got 'bbr'"),
        ('perfcheck.run("scenarios/wan.yaml")["tcp.rtt"]', "*unknown metric 'tcp.rtt'; did you mean 'tcp.rtt_us.*'?"),
        ('perfcheck.run("scenarios/wan.yaml")["tcp.rtt_us.p99"] < mbit(5)', "*TypeError: cannot compare a duration *"),
        ("ms('5')", "*TypeError: expected a finite number of ms, got '5'"),
    ],
)
def test_a_mistake_is_shown_at_the_tests_line_and_nowhere_else(suite: Suite, line: str, told: str) -> None:
    (suite.pytester.path / "broken.yaml").write_text("scenario: [")
    result = module(suite, BUILT + f"""
def test_upload(perfcheck):
    {line}
""")  # fmt: skip
    assert result.ret == 1
    result.stdout.fnmatch_lines([f">       {line.replace('[', '[[]')}", f"E  {told}"])
    result.stdout.no_fnmatch_line("*perfcheck/*.py*")
    result.stdout.no_fnmatch_line("* at 0x*")


def test_one_name_means_one_workload(suite: Suite) -> None:
    result = module(suite, BUILT + """
def test_one(perfcheck):
    perfcheck.run(OFFICE)

def test_other(perfcheck):
    perfcheck.run(OFFICE.with_(traffic=[{"iperf3": {"from": "server", "to": "client", "duration": "1s"}}]))
""")  # fmt: skip
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*office was run with other hosts, links or traffic in test_made.py: *"])


def test_a_matrix_needs_a_choice(suite: Suite) -> None:
    suite.scenario("lan", suite.MATRIX)
    result = module(suite, """
def test_matrix(perfcheck):
    with pytest.raises(UsageError, match="has 2 scenarios: lan.congestion=cubic., lan.congestion=reno.; choose one"):
        perfcheck.run("scenarios/lan.yaml")
    assert perfcheck.run("scenarios/lan.yaml", select="reno").label == "lan[congestion=reno]"
    assert [record.label for record in perfcheck.run_all("scenarios/lan.yaml")] == [
        "lan[congestion=cubic]", "lan[congestion=reno]"]
""")  # fmt: skip
    result.assert_outcomes(passed=1)


def test_a_missing_file_names_the_nearest(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wam.yaml")
""")  # fmt: skip
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*there is no scenario file 'scenarios/wam.yaml' in *did you mean 'scenarios/wan.yaml'*"]
    )


def test_a_path_is_taken_from_the_tests_folder_first(suite: Suite) -> None:
    folder = suite.pytester.path / "tests"
    folder.mkdir()
    (folder / "near.yaml").write_text((suite.pytester.path / "scenarios/wan.yaml").read_text().replace("wan", "near"))
    (folder / "test_made.py").write_text(HEAD + """
def test_paths(perfcheck):
    assert perfcheck.run("near.yaml").raw.scenario.file == "tests/near.yaml"
    assert perfcheck.run("scenarios/wan.yaml").raw.scenario.file == "scenarios/wan.yaml"
""")  # fmt: skip
    suite.run_at("tests/test_made.py").assert_outcomes(passed=1)


PAIRS = """
ANSWERS["wan"] = answer(comparisons=[
    compared("tcp.rtt_us.p99", Verdict.REGRESSED, 36e3, 46e3),
    compared("app.throughput_bps", Verdict.IMPROVED, 80e6, 92e6),
    compared("tcp.rtt_us.p50", Verdict.PASS, 36e3, 36e3)])
"""


def test_two_settings_side_by_side(suite: Suite) -> None:
    result = module(suite, """
def compared(perfcheck):
    return perfcheck.ab("scenarios/wan.yaml", a="file", b="congestion bbr", tolerance={"tcp.rtt_us.p50": pct(4)})

def test_verdicts(perfcheck):
    found = compared(perfcheck)
    assert found["app.throughput_bps"].verdict == "IMPROVED" and found.verdict == "REGRESSED"
    found.assert_improved("app.throughput_bps")
    with pytest.raises(KeyError, match="'app.throughput' was not compared; did you mean 'app.throughput_bps'"):
        found["app.throughput"]

def test_regression(perfcheck):
    compared(perfcheck).assert_no_regression()

def test_no_improvement(perfcheck):
    compared(perfcheck).assert_improved("tcp.rtt_us.p50")
""", "--perfcheck-json=records.jsonl", "--baseline-save", answers=PAIRS)  # fmt: skip
    result.assert_outcomes(passed=1, failed=2)
    text = text_of(result)
    assert "tcp.rtt_us.p99 went from 36 ms to 46 ms (+27.8 %), margin 5 %" in text
    assert "  A          36 ms\n" in text
    assert "tcp.rtt_us.p50 is 36 ms, expected better than A by more than 5 %, with certainty" in text
    assert suite.calls("save") == []
    assert len((suite.pytester.path / "records.jsonl").read_text().splitlines()) == 6


def test_records_go_where_those_of_scenario_files_go(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = suite.pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = module(suite, """
def test_upload(perfcheck):
    assert perfcheck.run("scenarios/wan.yaml")["tcp.rtt_us.p99"] < ms(60)
""", "--perfcheck-json=records.jsonl", "--history=past", "--baseline-save", "--junitxml=report.xml",
        answers=SLOW)  # fmt: skip
    result.assert_outcomes(failed=1)
    folder = suite.pytester.path
    assert json.loads((folder / "records.jsonl").read_text())["scenario"]["name"] == "wan"
    assert list((folder / "past").rglob("*.*"))
    assert suite.calls("save") == ["wan"]
    result.stdout.fnmatch_lines(["wan: baseline written to baselines/wan.json*"])
    result.stdout.fnmatch_lines(["::error file=test_made.py,line=5,title=wan expect%3Atcp.rtt_us.p99::*"])
    assert "| wan | tcp.rtt_us.p99 | FAIL | 61.2&nbsp;ms<br>" in summary.read_text()
    (case,) = ET.parse(folder / "report.xml").getroot().iter("testcase")
    known = {found.get("name"): found.get("value") for found in case.iter("property")}
    assert known["perfcheck.expect:tcp.rtt_us.p99.verdict"] == "FAIL"
    assert known["tcp.rtt_us.p99"] == "61200.0"
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "tcp.rtt_us.p99 is 61.2 ms, expected < 60ms"
    assert "because    queue delay 41 ms" in (failure.text or "")


def test_tests_and_scenario_files_share_a_session(suite: Suite) -> None:
    suite.answers("")
    suite.pytester.makepyfile(test_made=HEAD + """
@pytest.fixture(scope="module")
def upload(perfcheck):
    return perfcheck.run("scenarios/wan.yaml")

def test_latency(upload):
    assert upload["tcp.rtt_us.p99"] < ms(60)

def test_throughput(upload):
    assert upload["app.throughput_bps"] > mbit(85)
""")  # fmt: skip
    result = suite.run_at()
    result.assert_outcomes(passed=4)
    assert suite.calls() == ["wan", "wan"]
    assert suite.calls("enter") == [""]
    result.stdout.fnmatch_lines(["4 PASS"])


def test_a_run_under_ab_is_skipped(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml")
""", "--ab", "file", "congestion bbr")  # fmt: skip
    result.assert_outcomes(skipped=1)
    assert suite.calls() == []


def test_what_cannot_be_saved_is_an_error_of_the_test(suite: Suite) -> None:
    (suite.pytester.path / "baselines").write_text("in the way")
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml")
""", "--baseline-save")  # fmt: skip
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*cannot write the baseline*"])


def test_options_of_the_command_line_hold(suite: Suite) -> None:
    module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml", repeat=7)
""", "--perfcheck-repeat=2", answers='''
def told(scenario):
    assert OPTIONS[0].repeat == 2 and scenario.repeat == 7
    return make_judged_record(scenario, METRICS)
ANSWERS["wan"] = told
''').assert_outcomes(passed=1)  # fmt: skip


def test_only_the_fixtures_tests_are_marked(suite: Suite) -> None:
    result = module(suite, """
def test_plain(): pass

def test_upload(perfcheck): perfcheck.run("scenarios/wan.yaml")
""", "-m", "perfcheck")  # fmt: skip
    result.assert_outcomes(passed=1, deselected=1)
    assert re.search(r"wan +measured +3 runs", text_of(result))


def test_what_a_test_could_not_measure_leaves_its_record(suite: Suite) -> None:
    from perfcheck.output import read_records

    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml")
""", "--perfcheck-json=records.jsonl", answers='ANSWERS["wan"] = LabError("no namespaces here")')  # fmt: skip
    result.assert_outcomes(errors=1)
    (record,) = read_records(suite.pytester.path / "records.jsonl")
    assert (record.verdict.value, record.invalid_reason, record.trials) == ("INVALID", "no namespaces here", ())


def test_a_baseline_is_not_touched_where_the_run_cannot_be_kept(suite: Suite) -> None:
    (suite.pytester.path / "full.jsonl").symlink_to("/dev/full")
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml")
""", "--perfcheck-json=full.jsonl", "--baseline-update")  # fmt: skip
    result.assert_outcomes(passed=1, errors=1)
    assert suite.calls("update") == []


COMMANDS = """
def test_shaped(perfcheck):
    perfcheck.run(OFFICE.with_(hosts={"client": {"setup": ["true"]}, "server": {}}))
"""


def test_no_commands_is_told_to_the_runner(suite: Suite) -> None:
    """The runner refuses the scenario, wherever it was built; the fake one only sees the option."""
    result = module(suite, BUILT + COMMANDS, "--no-commands", answers='''
def told(scenario):
    from perfcheck.runner import RunOptions
    return make_judged_record(RunOptions(commands=OPTIONS[0].commands).applied_to(scenario), METRICS)
ANSWERS["office"] = told
''')  # fmt: skip
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*runs commands as root on this machine, which --no-commands forbids*"])


def test_no_commands_refuses_a_side_that_a_test_runs(suite: Suite) -> None:
    body = """
def test_shaped(perfcheck):
    perfcheck.ab("scenarios/wan.yaml", a="file", b="command modprobe tcp_bbr")
"""
    result = module(suite, body, "--no-commands")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*side 'command modprobe tcp_bbr' runs as root on this machine, which --no-commands forbids*"]
    )
