"""GitHub's commands and job summary."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.output import GithubOutput
from perfcheck.output.cases import Case, Status, unmeasured_case
from perfcheck.output.github import MOST_ANNOTATIONS, error_commands, publish
from perfcheck.output.job_summary import markdown
from perfcheck.output.rows import Row
from perfcheck.testing import make_record, make_unmeasured_record


def failed(scenario: str = "wan", name: str = "expect:app.errors", headline: str = "too many") -> Case:
    row = Row(scenario=scenario, metric="app.errors", value="3", against="== 0", verdict="FAIL")
    return Case(
        scenario=scenario, name=name, metric="app.errors", file=f"scenarios/{scenario}.yaml", line=7,
        status=Status.FAILED, row=row,
        headline=headline, details="  expected   == 0",
    )  # fmt: skip


def test_one_command_a_failure_with_its_place() -> None:
    (command,) = error_commands([failed(headline="100 % too\nmany")])
    assert command == (
        "::error file=scenarios/wan.yaml,line=7,title=wan expect%3Aapp.errors::"
        "100 %25 too%0Amany%0A%0A  expected   == 0%0A  at         scenarios/wan.yaml:7"
    )


def test_a_case_without_a_line_points_at_the_first() -> None:
    (command,) = error_commands([unmeasured_case("lan", "measured", "no iperf3", file="lan.yaml")])
    assert command.startswith("::error file=lan.yaml,line=1,title=lan::could not measure: no iperf3")


def test_paths_are_relative_to_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net").mkdir()
    monkeypatch.chdir(tmp_path / "net")
    assert "file=net/scenarios/wan.yaml," in error_commands([failed()], str(tmp_path))[0]
    assert "file=scenarios/wan.yaml," in error_commands([failed()], str(tmp_path / "elsewhere"))[0]


@pytest.mark.parametrize(
    ("scenarios", "each", "commands", "last"),
    [
        (2, 5, 10, "title=s1 expect"),
        (2, 6, 2, "title=s1%3A 6 failed"),
        (10, 2, 10, "title=s9%3A 2 failed"),
        (11, 1, 10, "title=2 more scenarios failed"),
        (40, 1, 10, "title=31 more scenarios failed"),
    ],
)
def test_at_most_ten_commands_and_nothing_is_dropped(scenarios: int, each: int, commands: int, last: str) -> None:
    found = [failed(f"s{number}") for number in range(scenarios) for _ in range(each)]
    lines = error_commands(found)
    assert len(lines) == commands <= MOST_ANNOTATIONS
    assert last in lines[-1]
    assert all(f"s{number}" in "".join(lines) for number in range(scenarios))


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmno"), st.text(max_size=20)), max_size=60))
def test_commands_are_bounded_single_lines(parts: list[tuple[str, str]]) -> None:
    lines = error_commands([failed(scenario, headline=headline) for scenario, headline in sorted(parts)])
    assert len(lines) <= MOST_ANNOTATIONS
    assert (lines == ()) is (not parts)
    assert all(line.startswith("::error file=") and "\n" not in line and "\r" not in line for line in lines)


def test_the_summary() -> None:
    case = failed(headline="a <tag> & more")
    assert markdown([case]) == (
        "## perfcheck: 1 FAIL\n\n"
        "| scenario | metric | verdict | value | against | change | detectable |\n"
        "|---|---|---|---|---|---|---|\n"
        "| wan | app.errors | FAIL | 3 | == 0 |  |  |\n"
        "\n<details><summary>wan expect:app.errors: a &lt;tag&gt; &amp; more</summary>\n\n"
        "<pre>\na &lt;tag&gt; &amp; more\n\n  expected   == 0\n"
        "  at         scenarios/wan.yaml:7\n</pre>\n\n</details>\n"
    )


@given(st.integers(min_value=300, max_value=6000), st.integers(min_value=0, max_value=30))
def test_the_summary_keeps_to_its_room(room: int, count: int) -> None:
    found = [failed(f"s{number}", headline="ü" * 50) for number in range(count)]
    text = markdown(found, room)
    assert len(text.encode()) <= room
    assert ("is omitted" in text) is (text != markdown(found))


def test_nothing_is_published_elsewhere(tmp_path: Path) -> None:
    stream = io.StringIO()
    publish([failed()], {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}, stream)
    assert stream.getvalue() == ""
    assert not (tmp_path / "summary.md").exists()


def test_the_summary_is_appended_within_what_the_step_has_left(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (1024 * 1024 - 600))
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(path)}
    publish([failed(f"s{number}") for number in range(40)], environ, io.StringIO())
    assert 1024 * 1024 - 600 < path.stat().st_size <= 1024 * 1024


def test_a_summary_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    stream = io.StringIO()
    publish([failed()], {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}, stream)
    assert "::warning title=perfcheck::cannot write the job summary: " in stream.getvalue()


def test_the_output_publishes_once_when_closed() -> None:
    stream = io.StringIO()
    output = GithubOutput({"GITHUB_ACTIONS": "true"}, stream, {"scenarios/lan.yaml": {"scenario": 4}})
    output.open()
    output.write(make_record())
    output.write(make_unmeasured_record("no iperf3", name="lan"))
    assert stream.getvalue() == ""
    output.close()
    output.close()
    assert stream.getvalue().count("::error") == 1
    assert "file=scenarios/lan.yaml,line=4," in stream.getvalue()


MARKUP = (
    "![x](http://evil/x.png)", "[x](javascript:1)", "<img src=x>", "a | b", "`c`", "@octocat", "*b*", "# h", "_e_",
    "www.evil.example", "http://evil.example", "a@evil.example", "\n\n# h\n", "\x1b[31m", "::error::x", "</pre>",
)  # fmt: skip


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_is_markup_in_the_summary(text: str) -> None:
    case = replace(failed(f"wan[x={text}]", headline=text), details=f"{text}\n~~~~\n</details>")
    case = replace(case, row=replace(case.row, note=text, value=text, verdict="NO_BASELINE"))
    shown = markdown([case])
    table = [line for line in shown.split("\n") if line.startswith("|")]
    assert all(line.count("|") == 8 for line in table)
    for line in (*table[2:], *(line for line in shown.split("\n") if line.startswith("- "))):
        inner = re.sub(r"</?code>|<wbr>", "", line)
        assert not set("<`[]@*!\x1b") & set(inner)
        assert not re.search(r"\bwww\.|://|(?<!&)#|\b_|_\b", inner)
    assert not set("`@\x1b") & set(shown)
    assert not re.search(r"<(?!/?(details|summary|pre|code|wbr)>)|!\[|\]\(", shown)
    assert shown.count("<pre>") == shown.count("</pre>") == shown.count("</details>") == 1
    assert not any(line.lstrip().startswith(("::", "~~~~")) for line in shown.split("\n"))


@pytest.mark.parametrize("text", ["61.2 ms", "<= 60ms", "+29.0 to +33.0 %", "tcp.rtt_us.p99", "72 Mbit/s", "at 0.12 %"])
def test_plain_cells_stay_readable(text: str) -> None:
    assert f"| {text} |" in markdown([replace(failed(), row=replace(failed().row, value=text))])


def test_a_summary_that_is_a_pipe_without_a_reader_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "summary.md"
    os.mkfifo(pipe)
    stream = io.StringIO()
    publish([failed()], {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(pipe)}, stream)
    assert "::warning title=perfcheck::cannot write the job summary: " in stream.getvalue()
