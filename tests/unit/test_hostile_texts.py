"""Hostile texts through every command and output: no control byte, no command of a CI service, no markup of others."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import duckdb
import pytest

from perfcheck.baseline import BaselineStore, HistoryStore
from perfcheck.cli import commands, main
from perfcheck.errors import LabError, ScenarioError
from perfcheck.model.printable import is_printable
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord, RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict
from perfcheck.runner.unmeasured import unmeasured
from perfcheck.scenario import load_text
from perfcheck.scenario.loader import read
from perfcheck.testing import make_record

OUR_COMMAND: Final = re.compile(r"::error file=(wan\.yaml|f\.yaml|s/x\\x1b[^:]*),line=[0-9]+,title=[^:]*::")

METRIC: Final = "tcp.rtt_us.p50"
EVIL: Final = (
    "x\x1b[31m\x1b]0;t\x07\r\n::error file=a::b\n  ::set-output name=c::d\n##[group]e\x00\x7f\x9b31m\x85"
    "\u202egpj.exe\u2066\u200b\ufeff\u2028\u2029\ue000\U000e0041\u3164[/b][link=http://evil]l[/link]:smile:"
    "<img src=x onerror=a>|`![i](http://evil)@octocat]]>\ud83d\n"
)
SCENARIO: Final = """\
scenario: wan
hosts: {a: {}, b: {}}
links: [{between: [a, b], delay: 1ms}]
traffic: [{iperf3: {from: a, to: b, duration: 1s}}]
"""


def evil_record(**changes: object) -> RunRecord:
    """Return a record as a run makes it, with the text wherever a text is free."""
    record = make_record({METRIC: (20_000.0, 20_100.0, 20_050.0)})
    scenario = record.scenario.model_copy(
        update={"name": "wan", "title": EVIL, "file": f"s/{EVIL}.yaml", "point": {f"a.{EVIL}": EVIL},
                "conditions": {EVIL: EVIL}},
    )  # fmt: skip
    return record.model_copy(
        update={
            "scenario": scenario, "environment": {"kernel": EVIL, EVIL: [EVIL], "x": {EVIL: EVIL}},
            "diagnosis": (DiagnosisRecord.model_validate(
                {"cause": EVIL, "confidence": 0.9, "for": [EVIL], "against": [EVIL], "chain": [EVIL], "advice": EVIL}
            ),),
            "expectations": (
                ExpectationRecord(metric=METRIC, expected=EVIL, actual=EVIL, verdict=Verdict.FAIL, reason=EVIL),
                ExpectationRecord(metric=EVIL, expected=EVIL, actual=None, verdict=Verdict.INCONCLUSIVE, reason=EVIL),
            ),
            "comparisons": (ComparisonRecord(
                metric=METRIC, baseline=1.0, current=2.0, change_pct=100.0, detectable_pct=1.0, margin_pct=2.0,
                verdict=Verdict.REGRESSED, reason=EVIL, unit=EVIL,
            ),),
            "changed_conditions": {EVIL: (EVIL, EVIL)}, "warnings": (EVIL,), "reproduce": EVIL, "virtme": EVIL,
            "unavailable": {EVIL: EVIL},
            "trials": (*record.trials, TrialRecord(index=3, metrics={}, valid=False, invalid_reason=EVIL)),
            "verdict": Verdict.FAIL,
        } | changes
    )  # fmt: skip


def assert_shown_safely(text: str, *, html: bool = False) -> None:
    """Fail where a terminal, a CI service or a reader would take the text for something else."""
    assert not [each for each in text if each not in "\n\t" and not is_printable(each)]
    lines = [line for line in text.split("\n") if not OUR_COMMAND.match(line)]
    assert not [line for line in lines if line.lstrip().startswith("::")]
    assert "##[" not in text
    if html:
        assert not re.search(r"<img|!\[|\]\(|(?<!&#64;<wbr>)@octocat", text)


class Scripted:
    """A runner that answers with a record, or raises."""

    def __init__(self, answer: RunRecord | Exception) -> None:
        self.answer = answer

    def create(self, *_: object) -> Scripted:
        return self

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, scenario: Scenario) -> RunRecord:
        del scenario
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def unmeasured(self, scenario: Scenario, reason: str, started_at: str) -> RunRecord:
        return unmeasured(scenario, reason, started_at)

    def ab(self, scenario: Scenario, **_: object) -> tuple[RunRecord, RunRecord]:
        record = self.run(scenario)
        return record, record


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the job summary of a step of GitHub Actions, in which all is run."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wan.yaml").write_text(SCENARIO)
    return summary


@pytest.mark.parametrize("answer", ["failed", "invalid", "unmeasured"])
@pytest.mark.parametrize(
    "words",
    [["run", "wan.yaml"], ["ab", "wan.yaml", "--a", "file", "--b", "sysctl net.ipv4.tcp_sack=0"]],
    ids=["run", "ab"],
)
def test_what_a_run_says_reaches_no_output_as_it_is(
    github: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], answer: str
) -> None:
    given: Mapping[str, RunRecord | Exception] = {
        "failed": evil_record(), "unmeasured": LabError(f"cannot: {EVIL}"),
        "invalid": evil_record(verdict=Verdict.INVALID, invalid_reason=EVIL),
    }  # fmt: skip
    monkeypatch.setattr(commands, "Runner", Scripted(given[answer]))
    main([*words, "--junit", "j.xml", "--json", "r.jsonl"])
    told = capsys.readouterr()
    assert told.out
    assert_shown_safely(told.out + told.err)
    assert_shown_safely(github.read_text(), html=True)
    report = Path("j.xml").read_bytes().decode()
    ET.fromstring(report)
    assert_shown_safely(report)
    for line in Path("r.jsonl").read_bytes().decode("ascii").split("\n")[:-1]:
        json.loads(line)


@pytest.mark.parametrize("side", [0, 1])
def test_compare(github: Path, capsys: pytest.CaptureFixture[str], side: int) -> None:
    other = make_record({METRIC: (10_000.0, 10_100.0, 10_050.0)})
    shown = {"title": "t", "file": "f.yaml", "point": {"a.b": "c"}}
    evil = evil_record()
    evil = evil.model_copy(update={"scenario": evil.scenario.model_copy(update=shown)})
    same = other.model_copy(update={"scenario": evil.scenario, "environment": evil.environment})
    files = [Path("a.json"), Path("b.json")]
    files[side].write_text(evil.to_json() + "\n")
    files[1 - side].write_text(same.to_json() + "\n")
    assert main(["compare", "a.json", "b.json"]) in (0, 1)
    told = capsys.readouterr()
    assert_shown_safely(told.out + told.err)
    assert_shown_safely(github.read_text(), html=True)


@pytest.mark.parametrize("field", ["name", "title", "file"])
def test_a_record_with_a_name_that_cannot_be_shown_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    record = make_record({METRIC: (1.0,)})
    record = record.model_copy(update={"scenario": record.scenario.model_copy(update={field: "a\x1b[31m"})})
    path = tmp_path / "a.json"
    path.write_text(record.to_json())
    assert main(["compare", str(path), str(path)]) == 2
    told = capsys.readouterr().err
    assert f"a.json:1:1: scenario.{field}: expected printable text, got the character U+001B in it" in told
    assert_shown_safely(told)


@pytest.mark.parametrize("column", ["scenario", "point", "machine", "emulators", "run_id", "started_at", "unit"])
def test_history_and_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str) -> None:
    store = HistoryStore(tmp_path / "good")
    for number in range(6):
        record = make_record({METRIC: (20_000.0 + number,)}, run_id=f"r{number}")
        written = store.append(record)
    folder = tmp_path / "h" / "example"
    folder.mkdir(parents=True)
    evil = EVIL.replace("\ud83d", "").replace("\x00", "").replace("'", "''")
    rows = f"SELECT * REPLACE ('{evil}' AS {column}) FROM read_parquet('{written.parent}/*.parquet')"  # noqa: S608
    duckdb.execute(f"COPY ({rows}) TO '{folder}/x.parquet' (FORMAT parquet)")
    page = tmp_path / "page.html"
    assert main(["history", METRIC, "--dir", str(folder.parent), "--html", str(page)]) == 0
    told = capsys.readouterr()
    assert_shown_safely(told.out + told.err)
    assert "<img" not in page.read_text()
    assert_shown_safely(page.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "title: \"a\\e[31mb\"", "title: \"a\\nb\"", "title: a\u202eb", "title: \"\\uD83D\"",
        "title: \"\\0\"", "tags: [\"a\\eb\"]",
        "reference: \"a\\u200bb\"", "matrix: {a.sysctl.net.ipv4.tcp_sack: [\"1\", \"0\\n::error::x\"]}",
        "matrix: {\"a.sysctl.net.\\e\": [1]}", "\"a\\eb\": 1", "expect: {\"tcp.\\e\": \"<= 1\"}", "title: \"a\\tb\"",
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_shown_is_refused_where_it_stands(text: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_text(f"{SCENARIO}{text}\n", "s/wan.yaml")
    told = str(caught.value)
    assert any(problem.line == 5 for problem in caught.value.problems)
    assert_shown_safely(told)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hosts: {a: {}", 'hosts: {a: {setup: ["ip \\0 link"]}'),
        ("hosts: {a: {}", 'hosts: {a: {setup: ["ip \\e link"]}'),
        ("hosts: {a: {}", 'hosts: {"a\\e": {}, a: {}'), ("delay: 1ms", 'delay: 1ms, trace: "t\\0.txt"'),
        ("iperf3: {from: a, to: b, duration: 1s}", 'command: {host: a, run: "true \\0"}'),
        ("iperf3: {from: a, to: b, duration: 1s}", 'command: {host: a, run: "true \\u202e"}'),
        ("from: a", 'from: "a\\e"'),
        ("hosts: {a: {}", 'hosts: {a: {sysctl: {"net.ipv4.\\0.tcp_sack": 1}}'),
    ],
)  # fmt: skip
def test_texts_of_hosts_links_and_traffic(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "wan.yaml"
    path.write_text(SCENARIO.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        read(path)
    assert_shown_safely(str(caught.value))


def test_a_command_may_be_of_several_lines_and_a_title_a_block() -> None:
    text = SCENARIO.replace("iperf3: {from: a, to: b, duration: 1s}", 'command: {host: a, run: "sleep\\n\\t1"}')
    (scenario,) = load_text(f"{text}title: >\n  Grüße an alle\n  日本\n", "s.yaml")
    assert scenario.title == "Grüße an alle 日本"


@pytest.mark.parametrize("name", [b"a\xff.yaml", b"a\x1b[31m.yaml", b"a\n::error::b.yaml", "a\u202e.yaml".encode()])
@pytest.mark.parametrize("words", [["list"], ["run"]])
def test_a_file_whose_name_cannot_be_shown_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: bytes, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(os.fsdecode(name)).write_text(SCENARIO)
    for given in (os.fsdecode(name), "."):
        assert main([*words, given]) == 2
        told = capsys.readouterr()
        assert "the file name contains" in told.err
        assert len(told.err.splitlines()) == 1
        assert_shown_safely(told.out + told.err)


def test_brackets_in_a_name_are_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("[").mkdir()
    Path("[/b] [red]:smile:.yaml").write_text(SCENARIO + "title: '[bold]x[/] [link=http://a]b[/link]'\n")
    assert main(["list", "."]) == 0
    out = capsys.readouterr().out
    assert "[/b] [red]:smile:.yaml" in out
    assert "[bold]x[/] [link=http://a]b[/link]" in out


def test_a_baseline_says_nothing_unescaped(tmp_path: Path) -> None:
    record = make_record({METRIC: (1.0, 2.0)})
    path = BaselineStore(tmp_path).save(record)
    path.write_text(path.read_text().replace("workload: workload-example", 'workload: "w\\e[31m\\n::error::x"'))
    from perfcheck.errors import BaselineError

    with pytest.raises(BaselineError) as caught:
        BaselineStore(tmp_path).of(record)
    assert_shown_safely(str(caught.value))
