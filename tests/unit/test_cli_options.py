"""One name for one thing: options that several commands have are the same everywhere."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import pytest

from perfcheck.cli import arguments, main
from perfcheck.plugin import options as plugin_options

OTHER_MEANING = {("metrics", "--json"): "prints the catalogue itself as JSON"}
"""Options that share no more than a name, and what they are."""


def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    found: dict[str, argparse.ArgumentParser] = {}

    def keep(parser: argparse.ArgumentParser, argv: object) -> argparse.Namespace:
        del argv
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found.update(action.choices)
        return argparse.Namespace()

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
    arguments.parse([])
    return found


def visible(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {
        action.option_strings[-1]: action
        for action in parser._actions
        if action.option_strings and action.help != argparse.SUPPRESS and action.dest != "help"
    }


def test_an_option_of_several_commands_is_the_same_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[object]] = defaultdict(set)
    for name, parser in commands(monkeypatch).items():
        for option, action in visible(parser).items():
            if (name, option) not in OTHER_MEANING:
                seen[option].add((action.metavar, action.type, type(action), tuple(action.choices or ())))
    assert {option for option, forms in seen.items() if len(forms) > 1} == set()
    assert {"--history", "--json", "--junit", "--select", "--repeat", "--rules", "--tolerance"} <= set(seen)


def test_pytest_has_each_option_of_run_under_the_same_name_and_metavar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parser = pytest.Parser(_ispytest=True)
    plugin_options.add_options(parser)
    of_pytest = {
        name.removeprefix("--perfcheck-").removeprefix("--"): option.attrs()
        for option in parser.getgroup("perfcheck").options
        for name in option.names()
    }
    run = {name.removeprefix("--"): action for name, action in visible(commands(monkeypatch)["run"]).items()}
    own = {"junit": "pytest has --junitxml", "select": "pytest has -k", "output": "the terminal is pytest's"}
    assert set(run) - set(of_pytest) == set(own)
    for name in set(run) - set(own):
        assert of_pytest[name].get("metavar") == run[name].metavar, name
        assert of_pytest[name].get("choices") == run[name].choices, name


@pytest.mark.parametrize(
    ("words", "now"),
    [
        (("history", "tcp.rtt_us.p50", "--dir", "kept"), "--history"),
        (("calibrate", "wan.yaml", "--runs", "3"), "--repeat"),
    ],
)
def test_former_names_still_work_with_a_note(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    now: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    main(words)
    told = capsys.readouterr()
    assert f"note: {words[2]} is now called {now}" in told.err
    with pytest.raises(SystemExit):
        main((words[0], "--help"))
    assert f"{words[2]} " not in capsys.readouterr().out
    asked = arguments.parse(words)
    assert str(getattr(asked, now.removeprefix("--"))) == words[3]


@pytest.mark.parametrize(
    "words",
    [
        ("--baseline-name", "nightly"),
        ("--baseline-name", ""),
        ("--baseline-dir", "kept"),
        ("--tolerance", "tcp.rtt_us.p50=5%"),
    ],
)
def test_an_option_that_would_do_nothing_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    assert main(["run", str(tmp_path), *words]) == 2
    assert f"{words[0]}: has no effect without --baseline" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "1001", "-1", "many", "", "\N{ARABIC-INDIC DIGIT THREE}", "9" * 5000])
def test_counts_are_checked_alike(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "x.yaml", "--repeat", value])
    assert ended.value.code == 2
    assert "expected a number of runs from 1 to 1000" in capsys.readouterr().err
    parse = plugin_options.REPEAT.parse
    assert parse is not None
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number of runs from 1 to 1000"):
        parse(value)


@pytest.mark.parametrize(
    "words",
    [
        ("run", ""),
        ("run", "x.yaml", "--json", ""),
        ("run", "x.yaml", "--history", ""),
        ("run", "x.yaml", "--events", ""),
        ("ab", "", "--a", "file", "--b", "file"),
        ("list", ""),
        ("history", "tcp.rtt_us.p50", "--html", ""),
    ],
)
def test_an_empty_name_is_not_the_working_directory(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(words)
    assert ended.value.code == 2
    assert "expected the name of a file or folder, got ''" in capsys.readouterr().err


def test_a_wrong_side_is_told_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(("ab", "x.yaml", "--a", "file", "--b", "bbr"))
    assert ended.value.code == 2
    assert "argument --b: a side is one of: file (as the file says)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run x.yaml --json a --report ./a", "--report a: --json writes to the same file; name another file"),
        ("run x.yaml --series b.parquet --events b.parquet", "--events b.parquet: --series writes to the same file"),
        ("run x.yaml --junit x.yaml", "--junit x.yaml: would take the place of a file that is read"),
        (
            "ab x.yaml --a file --b file --json a.html --report a.html",
            "--report a.html: --json writes to the same file",
        ),
        ("compare one.jsonl two.jsonl --md two.jsonl", "--md two.jsonl: would take the place of a file that is read"),
        ("compare one.jsonl two.jsonl --html a --pdf a", "--pdf a: --html writes to the same file"),
    ],
)
def test_a_file_is_written_by_one_option_and_never_where_it_is_read(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.yaml", "two.jsonl"):
        Path(name).write_text("kept")
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(f"perfcheck: {said}")
    assert {Path(name).read_text() for name in ("x.yaml", "two.jsonl")} == {"kept"}


def test_names_that_cannot_be_are_told_where_they_are_opened(tmp_path: Path) -> None:
    loop, long = tmp_path / "loop", tmp_path / ("x" * 300)
    loop.symlink_to(loop)
    given = arguments.parse(["run", str(loop), "--json", str(long), "--junit", str(loop / "a")])
    assert given.json == long


@pytest.mark.parametrize("words", ["run x --json /dev/null --junit /dev/null", "run x --json - --report a.md"])
def test_devices_and_standard_output_take_more_than_one(words: str) -> None:
    assert arguments.parse(words.split()).json is not None
