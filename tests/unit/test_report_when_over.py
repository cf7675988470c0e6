"""The report of a session is written when all is over, also when the session is cut short."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import failed_record, run_record, with_series

from perfcheck.errors import UsageError
from perfcheck.report.when_over import ReportWhenOver


def test_it_has_what_was_kept_and_the_series_that_were_closed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    with ReportWhenOver(path) as report:
        report.open()
        record = with_series(run_record(), tmp_path / "s.parquet")
        (tmp_path / "s.parquet").rename(tmp_path / "hidden")
        report.write(record)
        report.write(failed_record())
        report.close()
        assert not path.exists()
        (tmp_path / "hidden").rename(tmp_path / "s.parquet")
    assert report.problems == ()
    text = path.read_text()
    assert "tcp.rtt_us.p99 is 21 ms" in text
    assert "Drawn is trial 1 of 3" in text


def test_an_interrupted_session_has_its_report(tmp_path: Path) -> None:
    path = tmp_path / "report.md"

    def session() -> None:
        with ReportWhenOver(path) as report:
            report.open()
            report.write(run_record())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session()
    assert "office" in path.read_text()


def test_a_session_without_records_has_none(tmp_path: Path) -> None:
    with ReportWhenOver(tmp_path / "report.md") as report:
        report.open()
        report.close()
    assert not (tmp_path / "report.md").exists()


def test_a_name_without_a_form_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"ends with \.html, \.md or \.pdf"), ReportWhenOver(Path("report.txt")):
        pytest.fail("entered")


def test_what_cannot_be_written_at_the_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "there"
    with ReportWhenOver(folder / "report.md") as report:
        report.open()
        report.write(run_record())
        folder.rmdir()
        folder.write_text("in the way")
    assert len(report.problems) == 1
    assert "report.md" in capsys.readouterr().err


def test_without_a_path_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ReportWhenOver(None) as report:
        report.open()
        report.write(run_record())
        report.close()
    assert list(tmp_path.iterdir()) == []
