"""Which items there are, how they are named and chosen, and that only what is chosen is measured, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


@pytest.fixture
def two(suite: Suite) -> Suite:
    """Return wan and a matrix of two points, lan."""
    suite.scenario("lan", suite.EXPECT, "  diagnosis: none\n", suite.MATRIX)
    return suite


def ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("scenarios/") and "::" in line]


def test_node_ids(two: Suite) -> None:
    assert ids(two.run("--collect-only", "-q")) == [
        "scenarios/lan.yaml::lan[congestion=cubic]::expect:tcp.rtt_us.p99",
        "scenarios/lan.yaml::lan[congestion=cubic]::expect:app.throughput_bps",
        "scenarios/lan.yaml::lan[congestion=cubic]::diagnosis",
        "scenarios/lan.yaml::lan[congestion=reno]::expect:tcp.rtt_us.p99",
        "scenarios/lan.yaml::lan[congestion=reno]::expect:app.throughput_bps",
        "scenarios/lan.yaml::lan[congestion=reno]::diagnosis",
        "scenarios/wan.yaml::wan::expect:tcp.rtt_us.p99",
        "scenarios/wan.yaml::wan::expect:app.throughput_bps",
    ]
    assert two.calls() == []


def test_every_point_is_measured_once(two: Suite) -> None:
    result = two.run()
    result.assert_outcomes(passed=8)
    assert two.calls() == ["lan[congestion=cubic]", "lan[congestion=reno]", "wan"]
    assert two.calls("enter") == [""]
    assert two.calls("exit") == [""]


@pytest.mark.parametrize(
    ("words", "passed", "measured"),
    [
        ("rtt", 3, ["lan[congestion=cubic]", "lan[congestion=reno]", "wan"]),
        ("diagnosis", 2, ["lan[congestion=cubic]", "lan[congestion=reno]"]),
        ("wan", 2, ["wan"]),
        ("reno and throughput", 1, ["lan[congestion=reno]"]),
        ("bulk and not lan", 2, ["wan"]),
    ],
)
def test_k_chooses_and_the_rest_is_not_measured(two: Suite, words: str, passed: int, measured: list[str]) -> None:
    result = two.run("-k", words)
    assert result.parseoutcomes() == {"passed": passed, "deselected": 8 - passed}
    assert two.calls() == measured


@pytest.mark.parametrize(
    ("node", "passed"),
    [
        ("scenarios/wan.yaml::wan::expect:tcp.rtt_us.p99", 1),
        ("scenarios/wan.yaml::wan", 2),
        ("scenarios/lan.yaml::lan[congestion=reno]::expect:tcp.rtt_us.p99", 1),
        ("scenarios/lan.yaml::lan", 6),
    ],
)
def test_printed_node_ids_can_be_given_back(two: Suite, node: str, passed: int) -> None:
    two.run_at(node).assert_outcomes(passed=passed)


def test_the_marker_chooses(two: Suite) -> None:
    two.pytester.makepyfile(test_other="def test_other(): pass")
    result = two.run_at("--strict-markers", "-m", "not perfcheck")
    assert result.parseoutcomes() == {"passed": 1, "deselected": 8}
    assert two.calls() == []


def test_comparisons_are_items_only_with_baseline(suite: Suite) -> None:
    suite.answers('COMPARED = ("tcp.rtt_us.p99", "tcp.min_rtt_us")')
    assert not [each for each in ids(suite.run("--collect-only", "-q")) if "baseline:" in each]
    compared = [each for each in ids(suite.run("--baseline", "--collect-only", "-q")) if "baseline:" in each]
    assert compared == [
        "scenarios/wan.yaml::wan::baseline:tcp.rtt_us.p99",
        "scenarios/wan.yaml::wan::baseline:tcp.min_rtt_us",
    ]


def test_all_scenarios_are_of_one_xdist_group(two: Suite) -> None:
    items, _ = two.pytester.inline_genitems("-p", "no:hypothesispytest", "scenarios")
    groups = {mark.args for item in items for mark in item.iter_markers("xdist_group")}
    assert len(items) == 8
    assert groups == {("perfcheck",)}


def test_last_failed_runs_only_what_failed(suite: Suite) -> None:
    suite.answers('ANSWERS["wan"] = answer({"tcp.rtt_us.p99": (61e3, 62e3), "app.throughput_bps": (92e6,)})')
    suite.pytester.runpytest("-p", "no:hypothesispytest", "scenarios").assert_outcomes(passed=1, failed=1)
    again = suite.pytester.runpytest("-p", "no:hypothesispytest", "scenarios", "--last-failed")
    again.assert_outcomes(failed=1)


@pytest.mark.parametrize("head", ["{scenario: wan}", "# comment\n\n'scenario': wan\n", "\ufeffscenario: wan\n"])
def test_scenarios_are_known_by_their_key_however_written(suite: Suite, head: str) -> None:
    (suite.pytester.path / "scenarios/wan.yaml").write_text(head, encoding="utf-8")
    result = suite.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["scenarios/wan.yaml:*"])


@pytest.mark.parametrize("text", ["a: scenario\n", "scenarios: [a]\n", "x:\n  scenario: wan\n", "{a: scenario}\n"])
def test_other_yaml_is_left_alone(suite: Suite, text: str) -> None:
    (suite.pytester.path / "scenarios/wan.yaml").write_text(text)
    assert suite.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED


COST = """\
scenario: cost-bulk
hosts: {client: {}, server: {}}
links: [{between: [client, server]}]
traffic: [{load: {from: client, to: server, kind: stream, count: 64, size: 1kb}}]
measure: {mode: cost}
"""


@pytest.fixture
def with_cost(suite: Suite) -> Suite:
    """Return wan beside a scenario that guests alone measure."""
    (suite.scenario("wan").parent / "cost.yaml").write_text(COST)
    return suite


def test_what_guests_alone_measure_is_deselected_and_told(with_cost: Suite) -> None:
    result = with_cost.run()
    assert result.parseoutcomes() == {"passed": 2, "deselected": 1}
    assert with_cost.calls() == ["wan"]
    result.stdout.fnmatch_lines(["1 scenario of mode: cost is deselected: * add --kernel NAME *"])
    assert result.ret == pytest.ExitCode.OK


def test_a_session_of_it_alone_runs_nothing_and_does_not_pass(with_cost: Suite) -> None:
    result = with_cost.run_at("scenarios/cost.yaml")
    assert result.parseoutcomes() == {"deselected": 1}
    result.stdout.fnmatch_lines(["1 scenario of mode: cost is deselected: *"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_in_another_mode_it_is_measured_here(with_cost: Suite) -> None:
    result = with_cost.run("--perfcheck-mode", "summary")
    assert result.parseoutcomes() == {"passed": 3}
    assert with_cost.calls() == ["cost-bulk", "wan"]
    assert "deselected" not in result.stdout.str()


@pytest.mark.parametrize(
    "words",
    [("--kernel", "6.12-cloud"), ("--ab", "kernel=6.1-cloud", "kernel=6.12-cloud"), ("--ab", "file", "cmdline a=b")],
)
def test_where_a_kernel_is_named_it_is_measured(with_cost: Suite, words: tuple[str, ...]) -> None:
    result = with_cost.run(*words)
    assert "cost-bulk" in with_cost.calls()
    assert "deselected" not in result.stdout.str()


def test_a_kernel_that_the_store_lacks_ends_the_session_before_it_measures(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PERFCHECK_KERNELS", str(tmp_path))
    suite.scenario("wan")
    # perfcheck's own runner, without the suite's fake.
    suite.pytester.path.joinpath("conftest.py").write_text("")
    for words in (("--kernel", "nope"), ("--ab", "kernel=nope", "kernel=nope")):
        result = suite.run(*words)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: no kernel is called 'nope' in *; it is empty: `perfcheck kernel fetch*"])
    result = suite.run("--kernel", "../nope")
    result.stderr.fnmatch_lines(["*argument --kernel: expected a kernel's name of at most 64 letters*got '../nope'"])


def test_without_such_scenarios_nothing_is_said(suite: Suite) -> None:
    assert "deselected" not in suite.run().stdout.str()
