"""Suites without scenarios notice nothing of the plugin, which is loaded in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


ORDINARY = """
import sys
import pytest

@pytest.mark.parametrize("value", [1, 2])
def test_passes(value):
    assert value

def test_skips():
    pytest.skip("not today")

def test_fails():
    assert 1 == 2

def test_nothing_heavy_is_loaded():
    packages = ("perfcheck", "pydantic", "rich", "yaml", "numpy")
    loaded = {name for name in sys.modules if name.partition(".")[0] in packages}
    assert loaded <= {"perfcheck", "perfcheck.version", "perfcheck.plugin", "perfcheck.plugin.hookspecs",
                      "perfcheck.plugin.output_paths",
                      "perfcheck.plugin.options", "perfcheck.plugin.workers", "perfcheck.plugin.current",
                      "perfcheck.plugin.ini"}
"""


@pytest.fixture
def ordinary(suite: Suite) -> Suite:
    """Return a suite of plain tests, with YAML files that are no scenarios."""
    suite.pytester.makepyfile(test_ordinary=ORDINARY)
    suite.pytester.path.joinpath("conftest.py").unlink()
    (suite.pytester.path / "scenarios/wan.yaml").write_text("data:\n  scenario: [1, 2]\n")
    (suite.pytester.path / "broken.yaml").write_text("{[}\n")
    (suite.pytester.path / "binary.yaml").write_bytes(bytes(range(256)))
    return suite


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_outcomes_and_output_are_pytests_own(ordinary: Suite, workers: tuple[str, ...]) -> None:
    result = ordinary.pytester.runpytest_subprocess(
        "-W", "error", "-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--strict-markers", *workers
    )
    result.assert_outcomes(passed=3, skipped=1, failed=1)
    assert result.ret == 1
    result.stdout.no_fnmatch_line("*= perfcheck =*")


def test_scenarios_and_tests_share_a_run(suite: Suite) -> None:
    suite.pytester.makepyfile(test_plain="def test_plain(capsys): print('x'); assert capsys.readouterr().out == 'x\\n'")
    result = suite.run_at()
    result.assert_outcomes(passed=3)


def test_the_plugin_can_be_switched_off(suite: Suite) -> None:
    suite.pytester.path.joinpath("conftest.py").unlink()
    assert suite.run("-p", "no:perfcheck").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("absent", ["no:terminal", "no:xdist", "no:junitxml"])
def test_pytests_own_plugins_may_be_absent(suite: Suite, absent: str) -> None:
    suite.pytester.path.joinpath("junit.xml").touch()
    assert suite.run("-p", absent).ret == 0
