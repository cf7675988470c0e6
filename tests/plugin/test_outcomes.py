"""What becomes of each verdict: outcome, letter, word, counts, exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

    from perfcheck.model.record import RunRecord

pytest_plugins = ("pytester", "plugin_suite")

COMPARISON = """
COMPARED = ("tcp.rtt_us.p99",)
ANSWERS["wan"] = answer(comparisons=[compared("tcp.rtt_us.p99", Verdict.{verdict}, {baseline}, 46e3{more})])
"""


def test_expectations_that_hold_pass(suite: Suite) -> None:
    result = suite.run("-v")
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "scenarios/wan.yaml::wan::expect:tcp.rtt_us.p99 PASSED*",
            "scenarios/wan.yaml::wan::expect:app.throughput_bps PASSED*",
        ]
    )


def test_an_expectation_that_does_not_hold_fails_alone(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer({"tcp.rtt_us.p99": (61e3, 62e3), "app.throughput_bps": (92e6,)})')
    result = suite.run("-v")
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["scenarios/wan.yaml::wan::expect:tcp.rtt_us.p99 FAILED*"])


def test_a_regression_fails(suite: Suite) -> None:
    suite.answers(COMPARISON.format(verdict="REGRESSED", baseline="30e3", more=""))
    result = suite.run("--baseline", "-v")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["scenarios/wan.yaml::wan::baseline:tcp.rtt_us.p99 FAILED*"])


def test_side_by_side_only_the_comparisons_are_judged(suite: Suite) -> None:
    suite.answers(
        COMPARISON.format(verdict="REGRESSED", baseline="30e3", more="").replace(
            "comparisons=", "expectations=(), sides=('file', 'congestion reno'), comparisons="
        )
    )
    result = suite.run("--ab", "file", "congestion reno", "-v")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "scenarios/wan.yaml::wan::ab:tcp.rtt_us.p99 FAILED*",
            "  expected   at most 31.5 ms (A + 5 %)",
            "  A          30 ms",
        ]
    )
    assert "baseline" not in result.stdout.str()


def test_side_by_side_what_does_not_regress_passes(suite: Suite) -> None:
    suite.answers(
        COMPARISON.format(verdict="PASS", baseline="46e3", more="").replace(
            "comparisons=", "expectations=(), sides=('file', 'file'), comparisons="
        )
    )
    result = suite.run("--ab", "file", "file")
    assert result.ret == 0
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("verdict", "baseline", "letter", "count"),
    [
        ("IMPROVED", "90e3", "+", "1 improved"),
        ("INCONCLUSIVE", "45e3", "i", "1 inconclusive"),
        ("NO_BASELINE", "None", "n", "1 no baseline"),
    ],
)
def test_verdicts_of_their_own_are_shown_and_counted(
    suite: Suite, verdict: str, baseline: str, letter: str, count: str
) -> None:
    suite.answers(COMPARISON.format(verdict=verdict, baseline=baseline, more=""))
    short = suite.run("--baseline", "-q")
    assert short.ret == 0
    short.stdout.fnmatch_lines([f"..{letter} *", f"*2 passed, {count} in *"])
    long = suite.run("--baseline", "-v")
    long.stdout.fnmatch_lines([f"*::baseline:tcp.rtt_us.p99 {verdict}*", f"1 {verdict}, 2 PASS"])


def test_the_reason_of_a_missing_baseline_is_told(suite: Suite) -> None:
    suite.answers(COMPARISON.format(verdict="NO_BASELINE", baseline="None", more=', reason="cpu_model: A -> B"'))
    result = suite.run("--baseline")
    result.stdout.fnmatch_lines(["NO_BASELINE  wan: tcp.rtt_us.p99: cpu_model: A -> B"])


def test_strict_fails_what_has_no_baseline(suite: Suite) -> None:
    suite.answers(COMPARISON.format(verdict="NO_BASELINE", baseline="None", more=""))
    result = suite.run("--baseline", "--baseline-strict")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["NO_BASELINE: no baseline is stored for this scenario"])


UNAVAILABLE = """
ANSWERS["wan"] = answer({"app.throughput_bps": (92e6,)}, unavailable={"tcp": "no kernel BTF; boot a kernel with it"})
"""


def test_a_metric_that_this_machine_cannot_measure_is_skipped_with_the_reason(suite: Suite) -> None:
    suite.answers(UNAVAILABLE)
    result = suite.run("-rs")
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] scenarios/wan.yaml:13: UNAVAILABLE: tcp.rtt_us.p99 was not measured"])


def test_strict_fails_what_this_machine_cannot_measure(suite: Suite) -> None:
    suite.answers(UNAVAILABLE)
    result = suite.run("--baseline-strict")
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)


def test_a_metric_that_the_traffic_does_not_produce_is_an_error(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer({"app.throughput_bps": (92e6,)})')
    result = suite.run()
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["could not measure: tcp.rtt_us.p99 was not measured"])


def test_what_could_not_be_measured_is_an_error_of_all_items_and_tried_once(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = InvalidLink("link 0: measured 23.1 ms, the file asks for 20 ms")')
    result = suite.run()
    assert result.ret == 1
    result.assert_outcomes(errors=2)
    assert suite.calls() == ["wan"]
    result.stdout.fnmatch_lines(["could not measure: link 0: measured 23.1 ms, the file asks for 20 ms"])
    result.stdout.fnmatch_lines(["wan * 2 assertions * INVALID"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*InvalidLink*")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_what_could_not_be_measured_leaves_its_record(suite: Suite, workers: tuple[str, ...]) -> None:
    suite.answers('ANSWERS["wan"] = InvalidLink("link 0: measured 23.1 ms, the file asks for 20 ms")')
    suite.scenario("zzz")
    result = suite.run("--perfcheck-json", "records.jsonl", "--history", "kept", *workers)
    result.assert_outcomes(errors=2, passed=2)
    found = {record.scenario.name: record for record in records(suite)}
    assert found["zzz"].verdict.value == "PASS"
    lost = found["wan"]
    assert (lost.verdict.value, lost.trials) == ("INVALID", ())
    assert lost.invalid_reason == "link 0: measured 23.1 ms, the file asks for 20 ms"
    assert lost.scenario.file == "scenarios/wan.yaml"
    assert [path.name for path in (suite.pytester.path / "kept").iterdir()] == ["zzz"]


def records(suite: Suite) -> tuple[RunRecord, ...]:
    from perfcheck.output import read_records

    return read_records(suite.pytester.path / "records.jsonl")


def test_a_defect_is_an_error_of_one_line_and_tried_once(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = ZeroDivisionError("a defect")')
    result = suite.run()
    result.assert_outcomes(errors=2)
    assert suite.calls() == ["wan"]
    result.stdout.fnmatch_lines(["could not measure: internal error: ZeroDivisionError: a defect (perfcheck/*.py:*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_invalid_run_is_an_error_of_all_items(suite: Suite) -> None:
    suite.answers(
        'ANSWERS["wan"] = answer(verdict=Verdict.INVALID, expectations=(), invalid_reason="only 1 of 6 runs count")'
    )
    result = suite.run()
    assert result.ret == 1
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["could not measure: only 1 of 6 runs count"])


def test_the_diagnosis_is_an_item_where_the_file_names_one(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer(cause="bufferbloat")')
    suite.scenario("wan", suite.EXPECT, "  diagnosis: none\n")
    result = suite.run("-v")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["scenarios/wan.yaml::wan::diagnosis FAILED*", "diagnosed bufferbloat (90 %), expected healthy"]
    )


def test_a_scenario_that_asserts_nothing_has_one_item_that_says_it_was_measured(suite: Suite) -> None:
    suite.scenario("wan", "")
    result = suite.run("-v")
    assert result.ret == 0
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["scenarios/wan.yaml::wan::measured PASSED*"])


def test_a_planned_comparison_that_the_run_does_not_give_is_an_error(suite: Suite) -> None:
    suite.answers('COMPARED = ("tcp.rtt_us.p50",)')
    result = suite.run("--baseline")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["could not measure: the run has no result for it"])


def test_stopped_by_a_signal_ends_the_session(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = Stopped("stopped by SIGTERM")')
    suite.scenario("zzz")
    result = suite.run("--perfcheck-json", "records.jsonl")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert suite.calls() == ["wan"]
    assert "exit" in (suite.pytester.path / "calls.log").read_text().split()
    (record,) = records(suite)
    assert (record.scenario.name, record.verdict.value) == ("wan", "INVALID")
    assert record.invalid_reason == "interrupted: stopped by SIGTERM"
    result.stdout.fnmatch_lines(["*stopped by SIGTERM while measuring wan*"])
