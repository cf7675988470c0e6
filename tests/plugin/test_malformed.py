"""Files that cannot be read end as collection errors with their places, without tracebacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


def test_a_malformed_file_is_a_located_collection_error(suite: Suite) -> None:
    path = suite.scenario("bad")
    path.write_text(path.read_text().replace("delay: 10ms", "delay: 5").replace("tcp.rtt_us.p99", "tcp.rtt_us.p98"))
    result = suite.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "*ERROR collecting scenarios/bad.yaml*",
            "scenarios/bad.yaml:7:12: links[[]0[]].delay: expected a duration such as 10ms, got '5'",
            "scenarios/bad.yaml:13:*tcp.rtt_us.p98*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*.py:*")
    assert suite.calls() == []


def test_the_other_files_run_when_pytest_is_told_to_go_on(suite: Suite) -> None:
    suite.scenario("bad", "expect: [\n")
    result = suite.run("--continue-on-collection-errors")
    assert result.ret == 1
    result.assert_outcomes(passed=2, errors=1)


def test_a_name_that_two_files_use_is_an_error_of_the_second(suite: Suite) -> None:
    text = (suite.pytester.path / "scenarios/wan.yaml").read_text()
    (suite.pytester.path / "scenarios/wan2.yaml").write_text(text)
    result = suite.run()
    result.stdout.fnmatch_lines(["scenarios/wan2.yaml:1:*duplicate name 'wan', first in scenarios/wan.yaml:1*"])


def test_one_file_given_twice_is_not_its_own_double(suite: Suite) -> None:
    node = "scenarios/wan.yaml::wan::expect:"
    suite.run_at(f"{node}tcp.rtt_us.p99", f"{node}app.throughput_bps").assert_outcomes(passed=2)


def test_a_baseline_that_cannot_be_read_is_a_collection_error(suite: Suite) -> None:
    suite.answers(
        """
class Unreadable(FakeRunner):
    def planned_comparisons(self, scenario):
        problem = Problem(file="baselines/wan.yaml", line=3, column=1, path="runs", message="expected a list")
        raise BaselineError(problem)

FakeRunner = Unreadable
"""
    )
    result = suite.run("--baseline")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["baselines/wan.yaml:3:1: runs: expected a list"])
    result.stdout.no_fnmatch_line("*Traceback*")
