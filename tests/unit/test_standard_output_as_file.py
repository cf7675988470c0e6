"""`-` as the name of a file to write: standard output where an option says so, else bad usage, and never a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcheck.cli import main
from perfcheck.cli.perfctl.options import output_of
from perfcheck.cli.perfctl.registry import parse
from perfcheck.errors import UsageError
from perfcheck.system.apart import require_files
from perfcheck.testing import make_record


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.jsonl"
    path.write_text(make_record({"tcp.rtt_us.p50": tuple(20_000.0 + i for i in range(8))}).to_json() + "\n")
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run x.yaml --junit -", "--junit -: only --json writes to standard output ('-'); name a file"),
        ("run x.yaml --series - --json -", "--series -: only --json writes to standard output ('-'); name a file"),
        ("run x.yaml --events -", "--events -: only --json writes to standard output ('-'); name a file"),
        ("run x.yaml --report -", "--report -: only --json writes to standard output ('-'); name a file"),
        ("run x.yaml --prometheus-textfile -", "--prometheus-textfile -: only --json writes to standard output"),
        ("ab x.yaml --a file --b file --junit -", "--junit -: only --json writes to standard output"),
        ("compare a.jsonl a.jsonl --html -", "--html -: only --md writes to standard output ('-'); name a file"),
        ("compare a.jsonl a.jsonl --junit -", "--junit -: only --md writes to standard output ('-'); name a file"),
        ("report a.jsonl --pdf -", "--pdf -: only --md writes to standard output ('-'); name a file"),
        ("history tcp.rtt_us.p50 --html -", "--html -: '-' is no file here; name a file"),
        ("faults run --json -", "--json -: '-' is no file here; name a file"),
        ("compare a.jsonl a.jsonl --md - --output ktap", "--md -: standard output is taken by --output ktap"),
    ],
)
def test_an_option_that_does_not_stream_refuses_it(
    records: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    assert main(words.split()) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in records.parent.iterdir()] == [records.name]


def test_a_comparison_as_markdown_goes_to_standard_output_alone(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", records.name, records.name, "--md", "-"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("# ")
    assert "1 scenario: 1 PASS" in told.err
    assert "1 scenario: 1 PASS" not in told.out
    assert not Path("-").exists()


def test_a_pytest_session_refuses_it_too() -> None:
    from perfcheck.plugin.output_paths import require_own_files

    with pytest.raises(pytest.UsageError, match="--perfcheck-json -: '-' is no file here; name a file"):
        require_own_files({"--perfcheck-json": Path("-"), "--perfcheck-events": None})


def test_options_that_stream_take_it_with_any_other() -> None:
    require_files({"--json": Path("-"), "--junit": Path("a.xml"), "--events": None}, ["--json"])
    with pytest.raises(UsageError, match="--junit -: only --json writes to standard output"):
        require_files({"--json": Path("-"), "--junit": Path("-")}, ["--json"])


@pytest.mark.parametrize("words", ["tcp --output json --output-file -", "observe --output influx --output-file -"])
def test_perfctl_writes_to_standard_output(words: str) -> None:
    args, command = parse(words.split())
    assert output_of(args, command).file is None


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("record --output-file -", "--output-file"),
        ("latency --detail --save -", "--save"),
        ("tcp --history-file -", "--history-file"),
        ("observe --alert-output file:-", "--alert-output"),
    ],
)
def test_perfctl_makes_no_file_of_that_name(capsys: pytest.CaptureFixture[str], words: str, option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words.split())
    assert ended.value.code == 2
    assert f"{option}: '-' is no file here" in capsys.readouterr().err
