"""Hostile texts and defects in a pytest session: nothing raw on the terminal, no traceback, no false regression."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from perfcheck.model.printable import is_printable

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")

EVIL: Final = "x\\x1b[31m\\n::error file=a::b\\n##[group]c\\u202e[/b]<img src=x>@octocat"

HOSTILE: Final = f"""
EVIL = "{EVIL}"
ANSWERS["wan"] = answer(
    {{"tcp.rtt_us.p99": (61e3, 61e3, 61e3), "app.throughput_bps": (91e6, 92e6, 93e6)}},
    warnings=(EVIL,), reproduce=EVIL, environment={{"kernel": EVIL, EVIL: EVIL}},
    diagnosis=(DiagnosisRecord.model_validate(
        {{"cause": "bufferbloat", "confidence": 0.9, "for": [EVIL], "chain": [EVIL], "advice": EVIL}}),),
)
"""


def assert_shown_safely(lines: list[str]) -> None:
    assert not [each for each in "".join(lines) if each != "\t" and not is_printable(each)]
    assert not [line for line in lines if line.lstrip().startswith("::") and "scenarios/wan.yaml" not in line]
    assert not [line for line in lines if "##[" in line]


@pytest.mark.parametrize("words", [(), ("-v",), ("-rA", "--tb=short"), ("-q",)])
def test_what_a_run_says_is_shown_escaped(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    suite.answers(HOSTILE)
    summary = suite.pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = suite.run("--junit-xml=junit.xml", *words)
    assert result.ret == 1
    assert_shown_safely(result.outlines + result.errlines)
    assert "<img" not in summary.read_text()
    assert all(is_printable(each) or each in "\n\t" for each in (suite.pytester.path / "junit.xml").read_text())


def test_an_unmeasured_scenario_says_why_escaped(suite: Suite) -> None:
    suite.answers(f'def fail(scenario):\n    raise LabError("{EVIL}")\nANSWERS["wan"] = fail\n')
    result = suite.run()
    result.assert_outcomes(errors=2)
    assert_shown_safely(result.outlines)


@pytest.mark.parametrize("value", ["1\\n::error::x", "\\e[31m1", "1\\u202e"])
def test_collect_only_shows_no_value_that_is_a_command(suite: Suite, value: str) -> None:
    suite.scenario("wan", f'matrix: {{client.sysctl.net.ipv4.tcp_sack: ["0", "{value}"]}}\n')
    for words in ((), ("-q",), ("-qq",)):
        result = suite.run("--collect-only", *words)
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert_shown_safely(result.outlines)


@pytest.mark.parametrize("name", [b"a\xff.yaml", b"a\x1b[31m.yaml", b"\n::error::x.yaml", b"[b] [red].yaml"])
def test_a_file_of_any_name(suite: Suite, name: bytes) -> None:
    source = suite.pytester.path / "scenarios/wan.yaml"
    source.rename(source.parent / os.fsdecode(name))
    result = suite.run("-v")
    assert_shown_safely(result.outlines)
    if b"red" in name:
        result.assert_outcomes(passed=2)
    else:
        assert result.ret == pytest.ExitCode.INTERRUPTED
        result.stdout.fnmatch_lines(["*the file name contains*rename the file*"])
        result.stdout.no_fnmatch_line("*Traceback*")


DEFECTS: Final = {
    "run": 'def fail(scenario):\n    raise KeyError("lost")\nANSWERS["wan"] = fail\n',
    "collect": """
class Broken(FakeRunner):
    def planned_comparisons(self, scenario):
        raise KeyError("lost")

FakeRunner = Broken
""",
}


@pytest.mark.parametrize("where", DEFECTS)
def test_a_defect_is_an_error_of_one_line_and_no_regression(suite: Suite, where: str) -> None:
    suite.answers(DEFECTS[where])
    result = suite.run("--baseline")
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    result.stdout.fnmatch_lines(["*could not measure: internal error: KeyError: 'lost'*--perfcheck-debug*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*REGRESSED*")
    result.stdout.no_fnmatch_line("FAILED *")


@pytest.mark.parametrize("where", DEFECTS)
@pytest.mark.parametrize("asked", ["option", "environment"])
def test_debug_shows_the_traceback(suite: Suite, monkeypatch: pytest.MonkeyPatch, where: str, asked: str) -> None:
    suite.answers(DEFECTS[where])
    if asked == "environment":
        monkeypatch.setenv("PERFCHECK_DEBUG", "1")
    result = suite.run("--baseline", *(["--perfcheck-debug"] if asked == "option" else []))
    result.stdout.fnmatch_lines(["*Traceback (most recent call last):*"])
