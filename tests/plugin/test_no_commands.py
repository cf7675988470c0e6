"""Options for those who do not trust a scenario's author: --no-commands and --baseline-ref."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")

REFUSED = (
    "scenarios/wan.yaml:4:*: hosts.client.setup: this runs commands as root on this machine, "
    "which --no-commands forbids*"
)


def let_run_commands(suite: Suite) -> None:
    path = suite.pytester.path / "scenarios/wan.yaml"
    path.write_text(path.read_text().replace("client: {}", "client: {setup: [ip link]}", 1))


def test_a_file_that_runs_commands_is_a_collection_error(suite: Suite) -> None:
    let_run_commands(suite)
    suite.run().assert_outcomes(passed=2)
    result = suite.run("--no-commands")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*{REFUSED}"])
    assert len(suite.calls()) == 1


def test_the_configuration_file_can_say_so_too(suite: Suite) -> None:
    let_run_commands(suite)
    suite.pytester.makeini("[pytest]\nperfcheck_no_commands = true\n")
    suite.run().stdout.fnmatch_lines([f"*{REFUSED}"])


def test_a_file_without_commands_runs(suite: Suite) -> None:
    suite.run("--no-commands").assert_outcomes(passed=2)


@pytest.mark.parametrize("ref", ["--baseline-ref=-x", "--baseline-ref=a:b"])
def test_a_name_that_git_might_misread_is_a_wrong_option(suite: Suite, ref: str) -> None:
    result = suite.run(ref)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--baseline-ref: expected the name of a branch, tag or commit*"])


@pytest.mark.parametrize("keep", ["--baseline-save", "--baseline-update"])
def test_baselines_of_a_commit_cannot_be_saved(suite: Suite, keep: str) -> None:
    result = suite.run("--baseline-ref=main", keep)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--baseline-ref: baselines of a commit cannot be changed*"])
