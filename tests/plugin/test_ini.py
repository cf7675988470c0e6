"""Options from a file: the ini format, [tool.pytest.ini_options], and the typed tables of pytest 9."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from perfcheck.plugin.options import OPTIONS, PluginOptions
from perfcheck.runner.keeping import Keep

if TYPE_CHECKING:
    from plugin_suite import Suite

pytest_plugins = ("pytester", "plugin_suite")

DOCS: Final = Path(__file__).parents[2] / "docs/pytest-options.md"
NATIVE: Final = pytest.mark.skipif(pytest.version_tuple < (9,), reason="[tool.pytest] came with pytest 9")
INT: Final = pytest.version_tuple >= (8, 4)

SHOW: Final = """
def pytest_sessionfinish(session):
    for options in OPTIONS:
        print(f"\\nCHOSEN {options!r}")
"""

FORMATS: Final = (
    "pytest.ini", "tox.ini", "ini_options", pytest.param("tool.pytest", marks=NATIVE),
    pytest.param("pytest.toml", marks=NATIVE),
)  # fmt: skip

EVERY: Final[dict[str, Any]] = {
    "perfcheck_baseline": True,
    "perfcheck_baseline_accept": ["tcp.rtt_us.p99", "app.throughput_bps"],
    "perfcheck_baseline_reason": "a longer queue",
    "perfcheck_baseline_name": "nightly",
    "perfcheck_baseline_dir": "stored",
    "perfcheck_baseline_strict": True,
    "perfcheck_no_commands": True,
    "perfcheck_trace_outside": True,
    "perfcheck_debug": True,
    "perfcheck_kernel": "6.12-cloud",
    "perfcheck_time": "real",
    "perfcheck_history": "kept",
    "perfcheck_json": "out/records.jsonl",
    "perfcheck_repeat": 9,
    "perfcheck_mode": "both",
    "perfcheck_budget": "5%",
    "perfcheck_events": "out/events.jsonl",
    "perfcheck_series": "out/series.parquet",
    "perfcheck_prometheus_textfile": "out/perfcheck.prom",
    "perfcheck_report": "out/report.md",
    "perfcheck_why": True,
    "perfcheck_rules": ["ours", "theirs"],
    "perfcheck_tolerance": ["tcp.rtt_us.p99=5%", "tcp.rtt_us.p50=6%"],
}
"""All options that go together."""

APART: Final[dict[str, Any]] = {
    "perfcheck_baseline_save": True,
    "perfcheck_baseline_update": True,
    "perfcheck_ab": ["file", "congestion reno"],
    "perfcheck_baseline_ref": "main",
}


def write(folder: Path, form: str, values: dict[str, Any]) -> Path:
    """Write the values to a file of this form and return it."""
    name = form if form.endswith((".ini", ".toml")) else "pyproject.toml"
    heading = {"pytest.ini": "pytest", "tox.ini": "pytest", "ini_options": "tool.pytest.ini_options",
               "tool.pytest": "tool.pytest", "pytest.toml": "pytest"}[form]  # fmt: skip
    lines = [f"[{heading}]"]
    for key, value in values.items():
        lines.append(f"{key} = {json.dumps(value) if name.endswith('.toml') else in_ini(value)}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def in_ini(value: Any) -> str:
    """Write a value as ini files have it: lists one a line."""
    return "".join(f"\n    {each}" for each in value) if isinstance(value, list) else str(value).replace("True", "true")


def chosen(suite: Suite, *arguments: str) -> PluginOptions:
    """Return the options that the runner got."""
    result = suite.run("-s", *arguments)
    (line,) = [line for line in result.outlines if line.startswith("CHOSEN ")] or [result.stderr.str()]
    names = {"PluginOptions": PluginOptions, "PosixPath": Path, "Keep": Keep}
    found = eval(line.removeprefix("CHOSEN "), names)  # noqa: S307 - the repr of a dataclass
    assert isinstance(found, PluginOptions)
    return found


@pytest.fixture
def told(suite: Suite) -> Suite:
    """Return a suite that prints the options that the runner got."""
    suite.answers(SHOW)
    return suite


def test_every_option_has_a_key_and_is_tried_here() -> None:
    assert {option.key for option in OPTIONS} == {*EVERY, *APART}


@pytest.mark.parametrize("form", FORMATS)
def test_every_option_can_stand_in_a_file(told: Suite, form: str) -> None:
    path = told.pytester.path
    write(path, form, EVERY)
    assert chosen(told) == PluginOptions(
        baseline=True,
        keep=Keep(accept=("tcp.rtt_us.p99", "app.throughput_bps"), reason="a longer queue"),
        ab=None,
        strict=True,
        baseline_name="nightly",
        baseline_dir=path / "stored",
        commands=False,
        trace_outside=True,
        repeat=9,
        mode="both",
        tolerances=(("tcp.rtt_us.p99", 5.0), ("tcp.rtt_us.p50", 6.0)),
        rule_dirs=(path / "ours", path / "theirs"),
        json_path=path / "out/records.jsonl",
        history_dir=path / "kept",
        kernel="6.12-cloud",
        time="real",
        events_path=path / "out/events.jsonl",
        series_path=path / "out/series.parquet",
        textfile_path=path / "out/perfcheck.prom",
        report_path=path / "out/report.md",
        budget_pct=5.0,
        debug=True,
    )


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_line_wins_over_the_file(told: Suite, form: str) -> None:
    path = told.pytester.path
    write(path, form, {key: value for key, value in EVERY.items() if "accept" not in key and "reason" not in key})
    found = chosen(
        told, "--baseline-name", "mine", "--baseline-dir", "here", "--history", "there", "--perfcheck-json", "r.jsonl",
        "--perfcheck-repeat", "3", "--perfcheck-mode", "detail", "--perfcheck-budget", "7%", "--perfcheck-events",
        "e.jsonl", "--perfcheck-rules", "more", "--tolerance", "tcp.rtt_us.p99=8%", "--kernel", "6.1",
        "--perfcheck-time", "virtual",
    )  # fmt: skip
    assert (found.baseline_name, found.baseline_dir, found.history_dir) == ("mine", path / "here", path / "there")
    assert (found.json_path, found.events_path) == (path / "r.jsonl", path / "e.jsonl")
    assert (found.repeat, found.mode, found.budget_pct) == (3, "detail", 7.0)
    assert (found.kernel, found.time) == ("6.1", "virtual")
    assert found.rule_dirs == (path / "ours", path / "theirs", path / "more")
    assert found.tolerances == (("tcp.rtt_us.p99", 8.0), ("tcp.rtt_us.p50", 6.0))


@pytest.mark.parametrize("form", FORMATS)
def test_options_that_exclude_others_can_stand_in_a_file(told: Suite, form: str) -> None:
    folder = told.pytester.path
    write(folder, form, {"perfcheck_baseline_save": True}).rename(folder / "off")
    (folder / "off").unlink()
    for key, keep in (("perfcheck_baseline_save", Keep()), ("perfcheck_baseline_update", Keep(update=True))):
        write(folder, form, {key: True})
        assert chosen(told).keep == keep
    write(folder, form, {"perfcheck_baseline_ref": APART["perfcheck_baseline_ref"]})
    found = chosen(told)
    assert (found.baseline, found.baseline_ref) == (True, "main")
    write(folder, form, {"perfcheck_ab": APART["perfcheck_ab"], "perfcheck_history": "kept"})
    found = chosen(told)
    assert (found.ab, found.history_dir) == (("file", "congestion reno"), None)
    # The command line's way wins over the file's.
    found = chosen(told, "--baseline-save")
    assert (found.ab, found.keep) == (None, Keep())
    write(folder, form, {"perfcheck_baseline": True, "perfcheck_baseline_update": True})
    found = chosen(told, "--ab", "file", "congestion reno")
    assert (found.ab, found.baseline, found.keep) == (("file", "congestion reno"), False, None)
    write(folder, form, {"perfcheck_baseline": False, "perfcheck_history": ""})
    found = chosen(told)
    assert (found.baseline, found.history_dir) == (False, None)


WRONG: Final[tuple[tuple[str, Any, str], ...]] = (
    ("perfcheck_repeat", "none", "expected a *number*, got 'none'"),
    ("perfcheck_repeat", 0, "expected a number of runs from 1 to 1000, got '0'"),
    ("perfcheck_mode", "fast", "expected summary, detail, both, got 'fast'"),
    ("perfcheck_tolerance", ["x=1"], "unknown metric 'x'*"),
    ("perfcheck_tolerance", ["tcp.rtt_us.p99"], "expected METRIC=PCT*"),
    ("perfcheck_budget", "little", "expected a percentage*'little'*"),
    ("perfcheck_mode", "##[error]x", "expected summary, detail, both, got '#\\#[[]error]x'"),
    ("perfcheck_baseline", "perhaps", "expected true or false, got *perhaps*"),
    ("perfcheck_ab", ["file"], "expected two settings, A and B, got 1"),
    ("perfcheck_ab", ["file", "fast"], "a side is one of: file*got 'fast'"),
)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("key", "value", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_wrong_values_of_a_file_are_told_with_their_place(
    suite: Suite, form: str, key: str, value: Any, message: str
) -> None:
    path = write(suite.pytester.path, form, {"addopts": "-q" if form.endswith("ini") else ["-q"], key: value})
    result = suite.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{path.name}:3:1: {key}: {message}"])
    assert "Traceback" not in result.stderr.str()
    assert suite.calls() == []


@NATIVE
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
@pytest.mark.parametrize("value", [True, 5, 1.5, "text", ["a"], [1], {"a": 1}], ids=repr)
def test_a_value_of_the_wrong_type_is_no_traceback(suite: Suite, option: Any, value: Any) -> None:
    text = "{a = 1}" if isinstance(value, dict) else json.dumps(value)
    (suite.pytester.path / "pyproject.toml").write_text(f"[tool.pytest]\n{option.key} = {text}\n")
    result = suite.run("--collect-only")
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()
    fits = {"flag": bool, "count": int, "text": str}.get(option.kind, list)
    if not isinstance(value, fits) or (option.kind == "count" and value is True) or value == [1]:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*pyproject.toml:2:1: {option.key}: expected *"])


def test_a_value_of_an_override_is_told_as_one(suite: Suite) -> None:
    result = suite.run("-o", "perfcheck_mode=fast")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*-o: perfcheck_mode: expected summary, detail, both, got 'fast'"])


def test_what_addopts_say_for_all_sessions_is_not_refused_where_it_does_nothing(suite: Suite) -> None:
    suite.pytester.makeini("[pytest]\naddopts = --baseline-name nightly --tolerance tcp.rtt_us.p99=5%\n")
    suite.run().assert_outcomes(passed=2)


def test_the_documentation_lists_every_option() -> None:
    kinds = {
        "flag": "true or false", "text": "text", "count": "whole number", "lines": "list of texts",
        "folders": "list of folders", "pair": "list of two texts",
    }  # fmt: skip
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `--")]
    expected = []
    for option in OPTIONS:
        values = f" {option.metavar if isinstance(option.metavar, str) else ' '.join(option.metavar or ())}".rstrip()
        values = values or (f" {'/'.join(option.choices)}" if option.choices else "")
        told = option.help.replace("%%", "%")
        expected.append(f"| `{option.flags[0]}{values}` | `{option.key}` | {kinds[option.kind]} | {told} |")
    assert rows == expected
