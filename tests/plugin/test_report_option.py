"""`--perfcheck-report PATH`: one report of the whole session, written when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Sessions within this process forget what they loaded, and numpy cannot be loaded twice.
import perfcheck.report.html
import perfcheck.report.run  # noqa: F401

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")


def test_the_report_has_every_scenario_of_the_session(suite: Suite) -> None:
    suite.scenario("lan", suite.EXPECT, suite.MATRIX)
    result = suite.run("--perfcheck-report", "report.md")
    text = (suite.pytester.path / "report.md").read_text()
    assert "wan" in text
    assert text.count("\n## ") >= 3
    assert result.outlines[-1].startswith("perfcheck: report written to")


def test_two_workers_make_one_report(suite: Suite) -> None:
    suite.scenario("lan", suite.EXPECT, suite.MATRIX)
    suite.run("-n", "2", "--perfcheck-report", "report.html")
    names = [path.name for path in suite.pytester.path.glob("report*")]
    assert names == ["report.html"]
    page = (suite.pytester.path / "report.html").read_text()
    assert page.count('id="run-1-') > 0
    assert page.count('id="run-3-') > 0


def test_what_could_not_be_measured_is_in_the_report(suite: Suite) -> None:
    suite.answers('ANSWERS["zzz"] = InvalidLink("link 0 is not what the file asks for")')
    suite.scenario("zzz")
    suite.run("--perfcheck-report", "report.md")
    assert "link 0 is not what the file asks for" in (suite.pytester.path / "report.md").read_text()


@pytest.mark.parametrize(
    ("path", "said"), [("report.txt", "ends with .html, .md or .pdf"), ("there/is/no", "ends with .html, .md or .pdf")]
)
def test_a_path_that_cannot_be_is_refused_before_anything_is_measured(suite: Suite, path: str, said: str) -> None:
    result = suite.run("--perfcheck-report", path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any(said in line for line in [*result.errlines, *result.outlines])
    assert suite.calls() == []


def test_the_file_can_name_it(suite: Suite) -> None:
    suite.run("-o", "perfcheck_report=named.md")
    assert (suite.pytester.path / "named.md").exists()


def test_nothing_is_left_in_the_temporary_folder(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite.pytester.mkdir("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    suite.run("--perfcheck-report", "report.md").assert_outcomes(passed=2)
    assert [path.name for path in folder.iterdir() if path.name.startswith("perfcheck")] == []


def test_two_options_do_not_write_to_one_file(suite: Suite) -> None:
    result = suite.run("--perfcheck-json", "report.html", "--perfcheck-report", "report.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--perfcheck-report *report.html: --perfcheck-json writes to the same file*"])
