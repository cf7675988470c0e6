"""Tests in Python: how an assertion on a record ends, with the texts of scenario files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from python_suite import REGRESSED, SLOW, block, module, text_of

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


def test_a_comparison_with_a_quantity_passes_and_is_in_the_table(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    record = perfcheck.run("scenarios/wan.yaml", repeat=3)
    assert record["tcp.rtt_us.p99"] < ms(60)
    assert ms(40) < record["tcp.rtt_us.p99"]
    assert record["app.throughput_bps"] >= 85e6
    assert record["tcp.rtt_us.p99"].per_trial == (45e3, 46e3, 47e3)
    assert record["tcp.rtt_us.p99"].value == 46e3
    assert record["tcp.rtt_us.p99"] - ms(40) < ms(7)
    assert record.cause == "healthy" and record.diagnosis.confidence == 0.9
""")  # fmt: skip
    result.assert_outcomes(passed=1)
    assert suite.calls() == ["wan"]
    result.stdout.fnmatch_lines(["wan * tcp.rtt_us.p99 * 46 ms * < 60ms * PASS", "3 PASS"])


def test_a_failed_assert_has_the_text_of_the_same_line_in_a_scenario_file(suite: Suite) -> None:
    suite.answers(SLOW)
    yaml = text_of(suite.run())
    python = text_of(module(suite, """
def test_upload(perfcheck):
    record = perfcheck.run("scenarios/wan.yaml")
    assert record["tcp.rtt_us.p99"] <= ms(60)
""", answers=SLOW))  # fmt: skip
    headline = "tcp.rtt_us.p99 is 61.2 ms, expected <= 60ms"
    assert block(python, headline) == block(yaml, headline)
    assert len(block(yaml, headline)) == 11
    assert "  at         test_made.py:6\n" in python


def test_the_short_summary_carries_the_headline(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = module(suite, """
def test_upload(perfcheck):
    assert ms(60) >= perfcheck.run("scenarios/wan.yaml")["tcp.rtt_us.p99"], "the line is slow"
""", answers=SLOW)  # fmt: skip
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*the line is slow", "FAILED test_made.py::test_upload - tcp.rtt_us.p99 is 61.2 ms, expected <= 60ms"]
    )


def test_an_unexpected_cause_has_the_text_of_a_scenario_file(suite: Suite) -> None:
    suite.scenario("wan", "expect: {diagnosis: none}\n")
    suite.answers(SLOW)
    yaml = text_of(suite.run())
    python = text_of(module(suite, """
def test_upload(perfcheck):
    assert perfcheck.run("scenarios/wan.yaml").cause == "healthy"
""", answers=SLOW))  # fmt: skip
    headline = "diagnosed bufferbloat (93 %), expected healthy"
    assert block(python, headline) == block(yaml, headline)


def test_another_kind_of_quantity_is_a_type_error(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    record = perfcheck.run("scenarios/wan.yaml")
    with pytest.raises(TypeError, match=r"cannot compare a duration \\(46000us\\) with a rate \\(5mbit\\)"):
        record["tcp.rtt_us.p99"] < mbit(5)
    with pytest.raises(TypeError):
        record["tcp.rtt_us.p99"] == kb(5)
""")  # fmt: skip
    result.assert_outcomes(passed=1)


def test_a_wrong_metric_is_a_key_error_that_names_the_nearest(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    record = perfcheck.run("scenarios/wan.yaml")
    with pytest.raises(KeyError, match=r"^unknown metric 'tcp.rt_us.p99'; did you mean 'tcp.rtt_us.p99'\\?$"):
        record["tcp.rt_us.p99"]
    assert "tcp.rtt_us.p99" in record and record.get("tcp.rtt_us.p50") is None
""")  # fmt: skip
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "outcome"), [((), {"skipped": 1}), (("--baseline-strict",), {"failed": 1})], ids=["plain", "strict"]
)
def test_a_metric_that_this_machine_lacks_is_skipped(
    suite: Suite, options: tuple[str, ...], outcome: dict[str, int]
) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    assert perfcheck.run("scenarios/wan.yaml")["tcp.rtt_us.p50"] < ms(60)
""", *options, answers='ANSWERS["wan"] = answer(unavailable={"tcp": "this kernel has no BTF"})')  # fmt: skip
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["wan * tcp.rtt_us.p50 * UNAVAILABLE", "UNAVAILABLE * this kernel has no BTF"])


def test_a_metric_that_the_traffic_lacks_is_an_error(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    assert perfcheck.run("scenarios/wan.yaml")["udp.jitter_us"] < ms(60)
""")  # fmt: skip
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["could not measure: udp.jitter_us was not measured: *", "1 INVALID"])


@pytest.mark.parametrize(
    "answer",
    [
        'ANSWERS["wan"] = InvalidLink("link 0 is not what the file asks for")',
        'ANSWERS["wan"] = answer(verdict=Verdict.INVALID, invalid_reason="link 0 is not what the file asks for")',
    ],
    ids=["raised", "recorded"],
)
def test_what_could_not_be_measured_is_an_error_and_no_failure(suite: Suite, answer: str) -> None:
    body = """
def test_upload(perfcheck):
    record = perfcheck.run("scenarios/wan.yaml")
    assert record["tcp.rtt_us.p99"] < ms(1)
"""
    result = module(suite, body, "--junitxml=report.xml", answers=answer)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["could not measure: link 0 is not what the file asks for", "*  at *test_made.py:5"])
    (case,) = ET.parse(suite.pytester.path / "report.xml").getroot().iter("testcase")
    assert case.find("failure") is None
    assert case.find("error") is not None


def test_expectations_of_the_scenario_fail_as_in_its_file(suite: Suite) -> None:
    suite.answers(SLOW)
    yaml = text_of(suite.run())
    python = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml").assert_expectations()
""", answers=SLOW)  # fmt: skip
    python.assert_outcomes(failed=1)
    headline = "tcp.rtt_us.p99 is 61.2 ms, expected <= 60ms"
    assert block(text_of(python), headline) == block(yaml, headline)
    assert "  at         scenarios/wan.yaml:13" in text_of(python)
    python.stdout.fnmatch_lines(["1 FAIL, 1 PASS"])


def test_a_scenario_that_expects_nothing_cannot_pass(suite: Suite) -> None:
    suite.scenario("wan", "tags: [bulk]\n".replace("tags", "reference").replace("[bulk]", "T-1"))
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml").assert_expectations()
""")  # fmt: skip
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*wan has no expectations: give it expect=*"])


def test_a_regression_has_the_text_of_the_scenario_file(suite: Suite) -> None:
    suite.answers(REGRESSED)
    yaml = text_of(suite.run("--baseline"))
    python = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml").assert_no_regression()
""", answers=REGRESSED)  # fmt: skip
    python.assert_outcomes(failed=1)
    headline = "tcp.rtt_us.p99 went from 36 ms to 46 ms (+27.8 %), margin 5 %"
    assert block(text_of(python), headline) == block(yaml, headline)
    python.stdout.fnmatch_lines(["*  at *test_made.py:5", "1 REGRESSED, 1 PASS"])


NO_BASELINE = """
ANSWERS["wan"] = answer(comparisons=[compared("tcp.rtt_us.p99", Verdict.NO_BASELINE, None, 46e3, reason="none here")])
"""


@pytest.mark.parametrize(
    ("options", "outcome"), [((), {}), (("--baseline-strict",), {"failed": 1})], ids=["plain", "strict"]
)
def test_without_a_baseline_it_is_skipped_and_counted(
    suite: Suite, options: tuple[str, ...], outcome: dict[str, int]
) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml").assert_no_regression()
""", *options, answers=NO_BASELINE)  # fmt: skip
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["1 NO_BASELINE"] if options else ["1 NO_BASELINE", "*1 no baseline in *"])


def test_an_inconclusive_comparison_passes_and_is_counted(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    perfcheck.run("scenarios/wan.yaml").assert_no_regression()
""", answers=NO_BASELINE.replace("NO_BASELINE, None", "INCONCLUSIVE, 40e3"))  # fmt: skip
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 INCONCLUSIVE", "*1 inconclusive in *"])


def test_a_comparison_with_a_named_set_or_another_record(suite: Suite) -> None:
    result = module(suite, """
def test_upload(perfcheck):
    before = perfcheck.run("scenarios/wan.yaml")
    after = perfcheck.run("scenarios/wan.yaml", baseline=before)
    after.assert_no_regression()
    after.assert_no_regression("old-kernel")
    assert after._run.asked == [before.raw, "old-kernel"]
    assert after.comparisons["tcp.rtt_us.p99"].verdict == "PASS"
""", answers=NO_BASELINE.replace("NO_BASELINE, None", "PASS, 46e3"))  # fmt: skip
    result.assert_outcomes(passed=1)
