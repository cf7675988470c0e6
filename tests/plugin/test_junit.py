"""What --junitxml carries, read back as XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")

MIXED = """
COMPARED = ("tcp.rtt_us.p99", "app.throughput_bps", "tcp.min_rtt_us")
ANSWERS["wan"] = answer(
    environment={"kernel": "6.1.0", "cpu": {"model": "Fast", "count": 2}, "offloads": ["gro", "tso"]},
    comparisons=[
        compared("tcp.rtt_us.p99", Verdict.REGRESSED, 30e3, 46e3),
        compared("app.throughput_bps", Verdict.NO_BASELINE, None, 92e6, reason="another machine"),
        compared("tcp.min_rtt_us", Verdict.IMPROVED, 30e3, 20e3),
    ],
)
ANSWERS["zzz"] = TrafficError("iperf3: unable to connect")
"""


@pytest.fixture
def mixed(suite: Suite) -> Suite:
    """Return a suite with every outcome."""
    suite.answers(MIXED)
    suite.scenario("zzz")
    return suite


@pytest.fixture
def report(mixed: Suite) -> ElementTree.Element:
    """Run the mixed suite and give its JUnit report."""
    return run(mixed)


def run(mixed: Suite, *arguments: str) -> ElementTree.Element:
    """Return the report's suite element."""
    assert mixed.run("--baseline", "--junitxml=report.xml", *arguments).ret == 1
    text = (mixed.pytester.path / "report.xml").read_text()
    found = ElementTree.fromstring(text).find("testsuite")
    assert found is not None
    return found


def test_two_workers_report_what_one_process_reports(mixed: Suite) -> None:
    alone, together = run(mixed), run(mixed, "-n", "2")
    assert {describe(case) for case in together.findall("testcase")} == {
        describe(case) for case in alone.findall("testcase")
    }
    assert properties(together) == properties(alone)


def describe(case: ElementTree.Element) -> tuple[str, str, tuple[str, ...], frozenset[tuple[str, str]]]:
    outcomes = tuple(child.tag + child.attrib["message"] for child in case if child.tag != "properties")
    told = {name: value for name, value in properties(case).items() if name != "perfcheck.run_id"}
    return case.attrib["classname"], case.attrib["name"], outcomes, frozenset(told.items())


def properties(element: ElementTree.Element) -> dict[str, str]:
    return {each.attrib["name"]: each.attrib["value"] for each in element.findall("properties/property")}


def test_counts(report: ElementTree.Element) -> None:
    counts = {name: report.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "10", "failures": "1", "errors": "5", "skipped": "1"}


def test_a_regression_is_a_failed_test_case_with_its_values(report: ElementTree.Element) -> None:
    case = one(report, "scenarios.wan.yaml.wan", "baseline:tcp.rtt_us.p99")
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "tcp.rtt_us.p99 went from 30 ms to 46 ms (+53.3 %), margin 5 %"
    assert "at         scenarios/wan.yaml:13" in (failure.text or "")
    found = properties(case)
    assert {name: value for name, value in found.items() if name.startswith("perfcheck.")} == {
        "perfcheck.scenario": "wan",
        "perfcheck.metric": "tcp.rtt_us.p99",
        "perfcheck.verdict": "REGRESSED",
        "perfcheck.unit": "us",
        "perfcheck.actual": "46000.0",
        "perfcheck.baseline": "30000.0",
        "perfcheck.change_pct": found["perfcheck.change_pct"],
        "perfcheck.detectable_pct": "1.2",
        "perfcheck.margin_pct": "5.0",
        "perfcheck.run_id": "run-wan",
    }
    assert float(found["perfcheck.change_pct"]) == pytest.approx(53.33, abs=0.01)


def test_every_case_of_a_run_carries_its_metrics(report: ElementTree.Element) -> None:
    for case in report.findall("testcase"):
        if case.attrib["classname"] == "scenarios.wan.yaml.wan":
            found = properties(case)
            assert float(found["tcp.rtt_us.p99"]) == 46e3
            assert float(found["app.throughput_bps"]) == 92e6
            assert found["diagnosis"] == "healthy (90 %)"


def test_no_baseline_is_skipped_with_the_reason(report: ElementTree.Element) -> None:
    skipped = one(report, "scenarios.wan.yaml.wan", "baseline:app.throughput_bps").find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "NO_BASELINE: another machine"


def test_improved_is_no_failure(report: ElementTree.Element) -> None:
    case = one(report, "scenarios.wan.yaml.wan", "baseline:tcp.min_rtt_us")
    assert properties(case)["perfcheck.verdict"] == "IMPROVED"
    assert [child.tag for child in case] == ["properties"]


def test_what_could_not_be_measured_is_an_error(report: ElementTree.Element) -> None:
    error = one(report, "scenarios.zzz.yaml.zzz", "expect:tcp.rtt_us.p99").find("error")
    assert error is not None
    assert "iperf3: unable to connect" in error.attrib["message"]


def test_the_suite_carries_the_environment(report: ElementTree.Element) -> None:
    # The scenario that was not measured tells this machine's own.
    assert (
        properties(report).items()
        >= {
            "environment.kernel": "6.1.0",
            "environment.cpu.model": "Fast",
            "environment.cpu.count": "2",
            "environment.offloads": "gro, tso",
        }.items()
    )


def one(report: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    found = [
        case
        for case in report.findall("testcase")
        if (case.attrib["classname"], case.attrib["name"]) == (classname, name)
    ]
    assert len(found) == 1
    return found[0]
