"""`perfcheck report`: its forms, and one clear line for each error."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import failed_record, run_record, with_series

from perfcheck.cli import main
from perfcheck.model.record import RunRecord


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return written(tmp_path / "runs.jsonl", with_series(run_record(), tmp_path / "s.parquet"), failed_record())


def written(path: Path, *records: RunRecord) -> Path:
    path.write_text("".join(f"{record.to_json()}\n" for record in records))
    return path


def test_several_forms_are_written_at_once(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html, markdown = tmp_path / "a.html", tmp_path / "b.md"
    assert main(["report", str(records), "--html", str(html), "--md", str(markdown)]) == 0
    assert html.read_text().startswith("<!DOCTYPE html>")
    assert "tcp.rtt_us.p99 is 21 ms" in markdown.read_text()
    assert capsys.readouterr().out == f"written to {html}\nwritten to {markdown}\n"


def test_markdown_goes_to_standard_output(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(records), "--md", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Network performance of 2 scenarios")


def test_records_of_several_files_are_one_report(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "other.jsonl", run_record("third", 8))
    assert main(["report", str(records), str(other), "--md", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Network performance of 3 scenarios")


def test_a_run_that_is_in_several_files_is_one_run(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = written(tmp_path / "all.jsonl", failed_record(), run_record("third", 8))
    assert main(["report", str(records), str(again), str(records), "--md", "-"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Network performance of 3 scenarios")
    assert [out.index(f'"run-{number}-') for number in (1, 2, 3)]


def test_the_history_of_what_a_scenario_asserts_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from perfcheck.baseline import HistoryStore

    store = HistoryStore(tmp_path / "history")
    runs = [run_record(number=number) for number in range(1, 9)]
    for record in runs:
        store.append(record)
    records = written(tmp_path / "runs.jsonl", runs[-1])
    assert main(["report", str(records), "--history", str(tmp_path / "history"), "--md", "-"]) == 0
    assert "tcp.rtt_us.p99 over all stored runs" in capsys.readouterr().out.replace("\\", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "no form of the report is named: add --html PATH, --md PATH or --pdf PATH"),
        (["--html", "-"], "only --md writes to standard output"),
        (["--html", "same", "--md", "same"], "writes to the same file; name another file"),
        (["--md", "a.md", "--history", "nowhere"], "--history: no history in nowhere"),
        (["--html", "same.md", "--md", "./same.md"], "writes to the same file; name another file"),
        (["--md", "runs.jsonl"], "--md runs.jsonl: would take the place of a file that is read; name another file"),
        (["--html", "b.html", "--baseline-record", "./b.html"], "--html b.html: would take the place of a file"),
        (["--html", "/proc/no/report.html"], "/proc/no/report.html: cannot write a report"),
        (["--md", "a.md", "--baseline-record", "nowhere.jsonl"], "nowhere.jsonl:1:1: cannot read run records"),
    ],
)
def test_an_error_is_one_line(
    records: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(records.parent)
    assert main(["report", str(records), *options]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert said in told[0]


@pytest.mark.parametrize("options", [["--md", "a.jsonl"], ["--html", "./b.jsonl"], ["--html", "x", "--md", "x"]])
def test_a_page_of_two_sides_replaces_neither_them_nor_itself(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [written(tmp_path / name, run_record()).read_bytes() for name in ("a.jsonl", "b.jsonl")]
    assert main(["compare", "a.jsonl", "b.jsonl", *options]) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert "name another file" in told or "cannot be written to one file" in told
    assert [(tmp_path / name).read_bytes() for name in ("a.jsonl", "b.jsonl")] == before


def test_a_baseline_record_of_other_scenarios_is_refused(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "other.jsonl", run_record("third", 8))
    assert main(["report", str(records), "--baseline-record", str(other), "--md", "-"]) == 2
    assert "it has third, the report office, slow" in capsys.readouterr().err


def test_a_scenario_that_the_baseline_record_lacks_is_told(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "other.jsonl", run_record("office", 8))
    assert main(["report", str(records), "--baseline-record", str(other), "--md", "-"]) == 0
    assert "has no record of slow" in capsys.readouterr().out


def test_a_file_that_is_no_record_is_a_located_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text("nonsense\n")
    assert main(["report", str(path), "--md", "-"]) == 2
    assert f"{path}:1:1" in capsys.readouterr().err
