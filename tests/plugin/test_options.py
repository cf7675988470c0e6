"""Options of the command line and of the ini file, and what the runner gets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


SHOW = """
import perfcheck.plugin.options as chosen

def pytest_sessionfinish(session):
    for options in OPTIONS:
        print(f"\\n{options!r}")
"""


@pytest.fixture
def told(suite: Suite) -> Suite:
    """Return a suite that prints the options that the runner got."""
    suite.answers(SHOW)
    return suite


def test_baseline_does_not_swallow_the_folder_after_it(suite: Suite) -> None:
    result = suite.run_at("--baseline", "scenarios/")
    result.assert_outcomes(passed=2)


def test_baseline_does_not_swallow_the_file_after_it(suite: Suite) -> None:
    suite.scenario("lan")
    result = suite.run_at("scenarios/wan.yaml", "--baseline", "scenarios/lan.yaml")
    result.assert_outcomes(passed=4)
    assert suite.calls() == ["wan", "lan"]


def test_defaults(told: Suite) -> None:
    expected = "PluginOptions(baseline=False, keep=None, ab=None, strict=False, baseline_name=None, */baselines')*"
    rest = "repeat=None, mode=None, tolerances=(), rule_dirs=(), *debug=False, kernel=None, time='virtual')"
    told.run("-s").stdout.fnmatch_lines([f"{expected}{rest}"])


def test_the_command_line_reaches_the_runner(told: Suite) -> None:
    result = told.run(
        "-s", "--baseline", "--baseline-name", "rel-1", "--baseline-dir", "kept", "--perfcheck-repeat", "7",
        "--perfcheck-mode", "detail", "--tolerance", "tcp.rtt_us.p99=5%", "--tolerance", "tcp.rtt_us.p50=7",
        "--perfcheck-rules", "rules", "--baseline-strict", "--perfcheck-budget", "5%",
    )  # fmt: skip
    path = told.pytester.path
    expected = (
        f"PluginOptions(baseline=True, keep=None, ab=None, strict=True, baseline_name='rel-1', *'{path}/kept')*"
        f"repeat=7, mode='detail', tolerances=(('tcp.rtt_us.p99', 5.0), ('tcp.rtt_us.p50', 7.0)), *'{path}/rules')*"
        "budget_pct=5.0, debug=False, *"
    )
    result.stdout.fnmatch_lines([expected])


def test_the_ini_file_gives_defaults_and_the_command_line_wins(told: Suite) -> None:
    told.pytester.makeini(
        """
        [pytest]
        perfcheck_baseline_dir = stored
        perfcheck_baseline_name = nightly
        perfcheck_baseline_strict = true
        perfcheck_repeat = 9
        perfcheck_mode = both
        perfcheck_rules = ours
        perfcheck_tolerance =
            tcp.rtt_us.p99=5%
            tcp.rtt_us.p50=6%
        """
    )
    path = told.pytester.path
    expected = (
        f"PluginOptions(baseline=False, keep=None, ab=None, strict=True, baseline_name='nightly', *'{path}/stored')*"
        "repeat=9, mode='both', tolerances=(('tcp.rtt_us.p99', 5.0), ('tcp.rtt_us.p50', 6.0)), *ours*"
    )
    told.run("-s").stdout.fnmatch_lines([expected])
    told.run("-s", "--baseline", "--perfcheck-repeat", "3", "--tolerance", "tcp.rtt_us.p99=8%").stdout.fnmatch_lines(
        ["PluginOptions(*repeat=3, mode='both', tolerances=(('tcp.rtt_us.p99', 8.0), ('tcp.rtt_us.p50', 6.0)), *"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tolerance", "tcp.rtt_us.p99"), "*expected METRIC=PCT*"),
        (("--tolerance", "tcp.rtt_us.p98=5%"), "*unknown metric 'tcp.rtt_us.p98'*tcp.rtt_us.p9*"),
        (("--tolerance", "tcp.rtt_us.p99=much"), "*expected a percentage*"),
        (("--perfcheck-repeat", "0"), "*expected a number of runs from 1 to 1000, got '0'*"),
        (("--perfcheck-repeat", "many"), "*expected a number of runs from 1 to 1000, got 'many'*"),
        (("--perfcheck-budget", "little"), "*expected a percentage*'little'*"),
        (("--perfcheck-mode", "fast"), "*invalid choice: 'fast'*"),
        (("--baseline-accept", "tcp.rtt_us.p50"), "*--baseline-accept tcp.rtt_us.p50: say why*--reason*"),
        (("--baseline-accept", "tcp.rtt_us.p50", "--reason", " "), "*say why*"),
        (("--baseline-accept", "tcp.rtt_us.p49", "--reason", "new"), "*unknown metric 'tcp.rtt_us.p49'*did you mean*"),
        (("--baseline-accept", "tcp.rtt_us.p50", "--baseline-update", "--reason", "new"), "*no earlier session*"),
        (("--reason", "new"), "*--reason: needs --baseline-accept METRIC*"),
        (("--baseline-name", "nightly"), "*--baseline-name: has no effect without --baseline*"),
        (("--baseline-dir=kept",), "*--baseline-dir: has no effect without --baseline*"),
        (("--tolerance", "tcp.rtt_us.p99=5%"), "*--tolerance: has no effect without --baseline*"),
        (("--ab", "file", "fast"), "*--ab: a side is one of: file*sysctl*got 'fast'"),
        (("--ab", "file", "congestion reno", "--baseline"), "*--ab: cannot be combined with --baseline,*"),
        (("--ab", "file", "congestion reno", "--baseline-save"), "*--ab: cannot be combined with --baseline-save,*"),
        (("--ab", "file", "congestion reno", "--history", "kept"), "*--ab: cannot be combined with --history,*"),
        (("--perfcheck-json", ""), "*--perfcheck-json: expected the name of a file or folder, got ''"),
        (("--history", ""), "*--history: expected the name of a file or folder, got ''"),
    ],
)
def test_wrong_options_are_told_before_anything_is_measured(
    suite: Suite, arguments: tuple[str, str], message: str
) -> None:
    result = suite.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()
    assert suite.calls() == []


@pytest.mark.parametrize("line", ["perfcheck_repeat = none", "perfcheck_mode = fast", "perfcheck_tolerance = x=1"])
def test_wrong_ini_values_are_told(suite: Suite, line: str) -> None:
    suite.pytester.makeini(f"[pytest]\n{line}\n")
    result = suite.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in result.stderr.str()


def test_help_names_the_options(suite: Suite) -> None:
    result = suite.run_at("--help")
    result.stdout.fnmatch_lines(["network performance scenarios:", "  --baseline *", "  --baseline-save *"])


def test_save_writes_baselines_and_says_where(suite: Suite) -> None:
    result = suite.run("--baseline-save")
    assert result.ret == 0
    assert (suite.pytester.path / "baselines/wan.json").exists()
    assert suite.calls("save") == ["wan"]
    result.stdout.fnmatch_lines(["wan: baseline written to baselines/wan.json"])


def test_save_says_loudly_that_the_run_fails(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer({"tcp.rtt_us.p99": (61e3, 62e3), "app.throughput_bps": (92e6,)})')
    result = suite.run("--baseline-save")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["wan: baseline written to baselines/wan.json, ALTHOUGH THE RUN FAILS its own expect: tcp.rtt_us.p99"]
    )


def test_save_says_loudly_that_the_run_moved(suite: Suite) -> None:
    suite.answers('MOVED = (compared("tcp.rtt_us.p99", Verdict.REGRESSED, 40e3, 60e3),)')
    result = suite.run("--baseline-save")
    result.stdout.fnmatch_lines(["wan: baseline written to *, ALTHOUGH IT MOVED * tcp.rtt_us.p99 (+50.0 %). *"])
    updated = suite.run("--baseline-update")
    updated.stdout.no_fnmatch_line("*ALTHOUGH*")


def test_save_refuses_an_invalid_run(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer(verdict=Verdict.INVALID, expectations=(), invalid_reason="link too slow")')
    result = suite.run("--baseline-save")
    assert result.ret == 1
    assert suite.calls("save") == []
    result.stdout.fnmatch_lines(["wan: baseline not written, the run is invalid: link too slow"])


def full(suite: Suite) -> str:
    """Return a file on a disk without room; pytest would take the device itself for a path below which tests are."""
    (suite.pytester.path / "full.jsonl").symlink_to("/dev/full")
    return "full.jsonl"


@pytest.mark.parametrize("option", ["--baseline-update", "--baseline-save"])
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_baseline_is_not_touched_where_the_run_cannot_be_kept(
    suite: Suite, option: str, workers: tuple[str, ...]
) -> None:
    result = suite.run(option, "--perfcheck-json", full(suite), *workers)
    result.assert_outcomes(errors=2)
    assert suite.calls() == ["wan"]
    assert suite.calls(option.removeprefix("--baseline-")) == []
    result.stdout.fnmatch_lines(
        [
            "could not measure: */full.jsonl: cannot write run records: No space left on device",
            "wan: baseline not written, because the run was not kept: */full.jsonl: cannot write run records: *",
        ]
    )


def test_a_failure_stays_one_where_the_run_cannot_be_kept(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer({"tcp.rtt_us.p99": (61e3, 62e3), "app.throughput_bps": (92e6,)})')
    suite.run("--perfcheck-json", full(suite)).assert_outcomes(failed=1, errors=1)


def test_what_one_output_cannot_write_is_written_to_the_other(suite: Suite) -> None:
    from perfcheck.baseline import HistoryStore

    suite.run("--perfcheck-json", full(suite), "--history", "kept").assert_outcomes(errors=2)
    (found,) = HistoryStore(suite.pytester.path / "kept").series("tcp.rtt_us.p99")
    assert found.values == (46e3,)


def test_update_replaces_what_was_stored(suite: Suite) -> None:
    result = suite.run("--baseline-update")
    assert result.ret == 0
    assert suite.calls("update") == ["wan"]
    result.stdout.fnmatch_lines(["wan: baseline written to baselines/wan.json, replacing all earlier sessions"])


def test_a_known_change_is_kept_with_its_reason(suite: Suite) -> None:
    accepted = ("--baseline-accept", "tcp.rtt_us.p99", "--baseline-accept", "app.throughput_bps")
    result = suite.run(*accepted, "--reason", "a longer queue")
    assert result.ret == 0
    assert suite.calls("accept") == ["wan tcp.rtt_us.p99,app.throughput_bps a longer queue"]
    result.stdout.fnmatch_lines(["wan: baseline written to *, tcp.rtt_us.p99, app.throughput_bps accepted as of*queue"])


def test_the_long_name_of_the_reason_is_the_same(suite: Suite) -> None:
    suite.run("--baseline-accept", "tcp.rtt_us.p99", "--baseline-reason", "x")
    assert suite.calls("accept") == ["wan tcp.rtt_us.p99 x"]


def test_only_metrics_that_the_run_has_are_accepted(suite: Suite) -> None:
    both = ("--baseline-accept", "udp.loss_pct", "--baseline-accept", "tcp.rtt_us.p99", "--reason", "x")
    suite.run(*both)
    assert suite.calls("accept") == ["wan tcp.rtt_us.p99 x"]
    result = suite.run("--baseline-accept", "udp.loss_pct", "--reason", "x")
    assert suite.calls("accept") == ["wan tcp.rtt_us.p99 x"]
    result.stdout.fnmatch_lines(["wan: baseline not written, the run has no udp.loss_pct to accept"])


@pytest.mark.parametrize("how", ["--history", "ini"])
def test_history_keeps_each_run(suite: Suite, how: str) -> None:
    from perfcheck.baseline import HistoryStore

    if how == "ini":
        suite.pytester.makeini("[pytest]\nperfcheck_history = kept\n")
    for _ in range(2):
        suite.run(*(("--history", "kept") if how == "--history" else ()))
    (found,) = HistoryStore(suite.pytester.path / "kept").series("tcp.rtt_us.p99")
    assert found.scenario == "wan"
    assert set(found.values) == {46e3}
    assert len(found.values) == len(set(found.run_ids))


def test_history_that_cannot_be_written_is_an_error_before_anything_is_measured(suite: Suite) -> None:
    (suite.pytester.path / "kept").write_text("a file")
    result = suite.run("--history", "kept")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["could not measure: */kept: cannot write the history: *"])
    assert suite.calls() == []


def test_save_that_cannot_be_written_is_an_error(suite: Suite) -> None:
    (suite.pytester.path / "baselines").write_text("a file")
    result = suite.run("--baseline-save")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["could not measure: */baselines/wan.json: cannot write the baseline: *"])


def test_json_appends_one_record_a_line(suite: Suite) -> None:
    from perfcheck.output import read_records

    suite.scenario("lan")
    for _ in range(2):
        suite.run("--perfcheck-json", "out/records.jsonl").assert_outcomes(passed=4)
    path = suite.pytester.path / "out/records.jsonl"
    assert [record.scenario.name for record in read_records(path)] == ["lan", "wan", "lan", "wan"]


def test_json_that_cannot_be_written_is_an_error_with_its_path(suite: Suite) -> None:
    (suite.pytester.path / "out").write_text("a file")
    result = suite.run("--perfcheck-json", "out/records.jsonl")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["could not measure: *out/records.jsonl: cannot write run records: *"])
    assert suite.calls() == []
